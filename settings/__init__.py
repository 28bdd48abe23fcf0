"""The parts of config.py: kinds of values, sections, where values come from, what can be wrong."""
