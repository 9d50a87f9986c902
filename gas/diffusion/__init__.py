"""Score distillation on latent diffusion models. Needs the `diffusion` extra; only editors import it."""
