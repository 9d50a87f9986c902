"""How things are typed in a shell: what the command line and the page say of it in the same words."""
