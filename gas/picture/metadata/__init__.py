"""What stands in a picture's file beside its pixels: what is kept, changed and left out of it when it is edited."""
