"""The operator's commands, one file per group; ``app/cli.py`` puts them together."""
