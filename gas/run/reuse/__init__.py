"""Stages of a run that are not computed again where all that they depend on is the same (docs/cache.md)."""
