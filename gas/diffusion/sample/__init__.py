"""Sampling, inversion, and the phases of an edit by sampling."""
