"""How things are typed in a shell, and what a run reused: what the command line and the page say in the same words."""
