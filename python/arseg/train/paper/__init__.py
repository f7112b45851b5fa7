"""The recipes of the paper."""
