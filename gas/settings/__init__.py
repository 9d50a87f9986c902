"""Settings in layers, keys, and the catalogue of known models."""
