"""Latents of rectified-flow transformers as their pipelines hand them over: tokens of two by two cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from gas.masks import Size
    from gas_editors.pipelines.row import Row

CELL = 16
"""Pixels of a token's side: eight of the autoencoder, times two."""


def count(size: Size) -> int:
    """How many tokens a picture of `size` (width, height) has."""
    return (size[0] // CELL) * (size[1] // CELL)


def on_grid(tokens: Tensor, size: Size) -> Tensor:
    """The tokens `(1, n, C)` as `(1, C, h, w)`."""
    return tokens.transpose(1, 2).unflatten(2, (size[1] // CELL, size[0] // CELL))


def unpacked(tokens: Tensor, size: Size) -> Tensor:
    """The latent `(1, C / 4, 2 h, 2 w)` of tokens that hold two by two cells of it."""
    return F.pixel_shuffle(on_grid(tokens, size), 2).clone()


def from_latents(tokens: Tensor, done: int, steps: int, row: Row, size: Size) -> dict[str, Any]:
    """The arguments with which a pipeline goes on after the first `done` of its `steps`, from the `tokens` `(1, n, C)`
    that they have left. It shifts the noise levels itself, as it would those of a whole run."""
    levels = np.linspace(1.0, 1 / steps, steps)[done:].tolist()
    return {"latents": tokens if row.latents == "tokens" else on_grid(tokens, size), "sigmas": levels}
