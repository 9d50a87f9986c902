"""JPEG in, JPEG out: blocks that an edit does not touch keep their coefficients."""
