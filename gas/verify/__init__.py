"""What verifiers share: what of a picture has changed, which part of it to look at, and words for what they find."""
