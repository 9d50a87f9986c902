"""Asking a model in words and pictures: one connection for whoever asks, with bounds, and replies read safely."""
