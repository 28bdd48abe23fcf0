"""Markdown as models write it: read into tokens, and the parts that become lines of a chat."""
