"""The `gas` command line."""
