"""Editors that sample."""
