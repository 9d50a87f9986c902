"""Diffusion models: the seam for a model, distillation, sampling, attention. Needs the `diffusion` extra."""
