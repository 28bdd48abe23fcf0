"""
What ``start.py`` does: make the environment, start the playground, run the tests.

Standard library only, since nothing else is installed when it runs.
"""
