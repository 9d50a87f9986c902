"""Which pixels are of a colour, as one surface in light and in shade."""
