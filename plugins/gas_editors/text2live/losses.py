"""What Text2LIVE asks of an edit layer: CLIP's losses on the composite and on the layer alone, structure, sparsity, and
the place where the layer begins (Bar-Tal et al. 2022, arXiv 2204.02491; `util/losses.py` of its code)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gas.diffusion.clip import Clip

Criterion = Literal["spherical", "cosine"]

TEMPLATES = (
    "photo of {}.",
    "high quality photo of {}.",
    "a photo of {}.",
    "the photo of {}.",
    "image of {}.",
    "an image of {}.",
    "high quality image of {}.",
    "a high quality image of {}.",
    "the {}.",
    "a {}.",
    "{}.",
    "{}",
    "{}!",
    "{}...",
)
SCREEN_TEMPLATES = ("{} over a green screen.", "{} in front of a green screen.")
PLAIN = ("{}",)
SCREEN = (0.0, 177 / 255, 64 / 255)
"""Colour of the green screen (`models/image_model.py`)."""


def over(layer: Tensor, below: Tensor) -> Tensor:
    """`(n, 3, H, W)`: a layer `(n, 4, H, W)` of colour and opacity over a picture; `below` itself where it is clear."""
    colour, alpha = layer[:, :3], layer[:, 3:]
    return below + alpha * (colour - below)


def on_screen(layer: Tensor) -> Tensor:
    """The layer over a green screen."""
    return over(layer, layer.new_tensor(SCREEN).view(1, 3, 1, 1).expand_as(layer[:, :3]))


def distance(pictures: Tensor, texts: Tensor, criterion: Criterion = "spherical") -> Tensor:
    """`(n, m)`: how far n embeddings are from m others, all of length 1: twice the square of half their angle, or 1.2
    times one less their cosine (`util/util.py`). 0 for the same."""
    if criterion == "cosine":
        return 1.2 * (1 - pictures @ texts.T)
    chord = (pictures[:, None] - texts[None]).square().sum(-1).clamp(min=1e-12).sqrt()
    return 2 * torch.arcsin((chord / 2).clamp(max=1 - 1e-6)).square()


def direction_loss(before: Tensor, after: Tensor, change: Tensor) -> Tensor:
    """One less the cosine between how embeddings of pictures changed, `(n, dim)` each, and how the texts' did, `(m,
    dim)`; a mean, 0 when they went the same way, 1 when they did not move (StyleGAN-NADA, arXiv 2108.00946, eq. 3).

    The published code takes differences of embeddings of any length; these are of length 1, as in StyleGAN-NADA.
    """
    moved = F.normalize(after - before, dim=-1, eps=1e-4)
    return (1 - moved @ F.normalize(change, dim=-1).T).mean()


def structure_loss(before: Tensor, after: Tensor) -> Tensor:
    """Mean squared difference of the self-similarities `(n, tokens, tokens)` of two pictures; 0 for the same."""
    return F.mse_loss(after, before)


def sparsity(alpha: Tensor, l1: float, l0: float) -> Tensor:
    """`l1` times the mean of the opacity and `l0` times that of `2 sigmoid(5 alpha) - 1`, which counts more than it
    measures; 0 for a clear layer."""
    return l1 * alpha.mean() + l0 * (2 * torch.sigmoid(5 * alpha) - 1).mean()


def bootstrap_weight(step: int, steps: int) -> float:
    """What is left at `step` (from 0) of a weight that falls from 1 to 0 in `steps` steps."""
    return max(0.0, 1 - (step + 1) / steps) if steps > 0 else 0.0


@dataclass(frozen=True)
class Wanted:
    """What a picture is and what it is to be: embeddings `(n, dim)` of one text in n wordings each."""

    source: Tensor
    target: Tensor

    @classmethod
    def of(cls, clip: Clip, source: str, target: str, templates: Sequence[str]) -> Wanted:
        both = clip.texts([one.format(text) for text in (source, target) for one in templates])
        return cls(both[: len(templates)], both[len(templates) :])


def some(rng: np.random.Generator, count: int) -> list[int]:
    """As many of `count` wordings as is drawn, each drawn on its own."""
    return rng.integers(count, size=int(rng.integers(1, count + 1))).tolist()


def composition_loss(
    before: Tensor, after: Tensor, wanted: Wanted, rng: np.random.Generator, criterion: Criterion
) -> Tensor:
    """How far the views `after` `(n, dim)` are from the target text, plus how far the way from the same views `before`
    is from the texts' way; each against wordings drawn anew."""
    first, second = some(rng, len(wanted.target)), some(rng, len(wanted.target))
    change = wanted.target[second] - wanted.source[second]
    far = distance(after, wanted.target[first], criterion).mean()
    return far + direction_loss(before, after, change)
