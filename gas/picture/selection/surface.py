"""What a selected surface looks like, and the medians that say so."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gas.picture.oklab import Array, chroma, hue, hue_difference

Bools = NDArray[np.bool_]
LIT = 0.85
"""Share of a surface that is darker than where the light falls on it."""
MEDIAN_OF = 40_000
"""Pixels that a median is taken of."""


@dataclass(frozen=True)
class Surface:
    """What the selected surface looks like: its median lightness, hue in degrees and saturation C/L, and its lightness
    where the light falls on it (`lit`; None: as the median)."""

    lightness: float
    hue: float
    saturation: float
    lit: float | None = None

    @property
    def chroma(self) -> float:
        return self.lightness * self.saturation


def surface_of(lab: Array, weight: Array) -> Surface:
    """What the pixels of `lab` `(..., 3)` look like, each counting `weight` `(...)`."""
    lightness = weighted_median(lab[..., 0], weight)
    c = chroma(lab)
    a, b = (float((lab[..., i] * weight).sum()) for i in (1, 2))
    turned = hue_difference(hue(lab), math.degrees(math.atan2(b, a)))
    middle = math.degrees(math.atan2(b, a)) + weighted_median(turned, weight * c)
    saturation = weighted_median(c / np.maximum(lab[..., 0], 0.02), weight)
    return Surface(lightness, middle % 360, saturation, weighted_quantile(lab[..., 0], weight, LIT))


def weighted_median(values: Array, weight: Array) -> float:
    """The value below which half of the weight lies, of at most MEDIAN_OF of them; 0 where there is no weight."""
    return weighted_quantile(values, weight, 0.5)


def weighted_quantile(values: Array, weight: Array, share: float) -> float:
    """The value below which that share of the weight lies, of at most MEDIAN_OF of them; 0 where there is no weight."""
    values, weight = np.ravel(values), np.ravel(weight)
    kept = weight > 0
    values, weight = values[kept], weight[kept]
    if not len(values):
        return 0.0
    thin = -(-len(values) // MEDIAN_OF)
    values, weight = values[::thin], weight[::thin]
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weight[order], dtype=np.float64)
    return float(values[order[int(np.searchsorted(total, total[-1] * share))]])


def steps(lab: Array, labels: NDArray[np.int32], touching: Bools, kept: Bools, count: int, *, size: int = 3) -> Array:
    """The mean step of colour between each part's border and what is kept beside it."""
    from scipy import ndimage

    weight = ndimage.uniform_filter(kept.astype(np.float32), size)
    beside = np.stack([ndimage.uniform_filter(lab[..., i] * kept, size) for i in range(3)], axis=-1)
    beside /= np.maximum(weight, 1e-6)[..., None]
    difference = np.linalg.norm(lab - beside, axis=-1)
    total = np.bincount(labels[touching], weights=difference[touching], minlength=count + 1)
    number = np.bincount(labels[touching], minlength=count + 1)
    return np.where(number > 0, total / np.maximum(number, 1), np.inf).astype(np.float32)
