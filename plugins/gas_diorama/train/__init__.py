"""How the networks are trained, and how good they are."""
