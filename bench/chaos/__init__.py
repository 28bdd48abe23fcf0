"""Faults under load, and a checker that reads only what the simulators recorded."""
