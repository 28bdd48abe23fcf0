"""Spans for OpenTelemetry; its SDK is loaded only where they are wanted."""
