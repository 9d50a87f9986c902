"""Editors that hand each subtask to another."""
