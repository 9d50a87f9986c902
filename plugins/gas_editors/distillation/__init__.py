"""Editors by score distillation."""
