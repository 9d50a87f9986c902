"""Editors by instruction."""
