"""The plan as a file, and the phrases in it."""
