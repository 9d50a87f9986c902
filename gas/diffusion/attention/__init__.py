"""Attention: looked at, controlled, aligned with words."""
