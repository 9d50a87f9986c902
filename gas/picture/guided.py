"""The guided filter: a rough mask that takes on the edges of its picture (K. He, J. Sun, X. Tang, 2013).

In every window the mask is fitted as a linear function of the picture's colour; the means of those functions, applied
to the picture, are the answer. Fitted on a reduced picture and applied to the full one it is the fast variant (2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures

from gas.picture.oklab import Array, to_linear

if TYPE_CHECKING:
    from gas.types import Image

_ROOTS = np.sqrt(to_linear(np.arange(256, dtype=np.uint8)))
BAND = 256
"""Rows that are filtered at once at full size, so that a large picture needs no second copy in floats."""


def guide_of(image: Image) -> Array:
    """The picture `(H, W, 3)` as a guide: the square root of linear light, in which noise is even and edges are as
    people see them."""
    return _ROOTS[image]


@dataclass(frozen=True)
class Fit:
    """The linear functions `(h, w)` of a fit: slopes for the three channels of the guide, and a constant."""

    slopes: Array
    constant: Array

    def apply(self, image: Image) -> Array:
        """The mask `(H, W)`, not cut to [0, 1], of the fitted picture `(H, W, 3)`, perhaps at a larger size."""
        height, width = image.shape[:2]
        low_height, low_width = self.constant.shape
        if (height, width) == (low_height, low_width):
            return np.asarray((self.slopes * guide_of(image)).sum(axis=-1) + self.constant, np.float32)
        out = np.empty((height, width), np.float32)
        planes = [*np.moveaxis(self.slopes, -1, 0), self.constant]
        for top in range(0, height, BAND):
            rows = np.s_[top : min(top + BAND, height)]
            at = (np.arange(rows.start, rows.stop) + 0.5) * low_height / height - 0.5
            guide = guide_of(image[rows])
            *slopes, total = (_enlarged(plane, at, width, low_width) for plane in planes)
            for channel, slope in enumerate(slopes):
                total += slope * guide[..., channel]
            out[rows] = total
        return out


def _enlarged(plane: Array, at: np.ndarray, width: int, low_width: int) -> Array:
    """The rows `at` of a plane, bilinear, its columns enlarged to `width`."""
    at = np.clip(at, 0, len(plane) - 1)
    first = np.minimum(at.astype(int), max(len(plane) - 2, 0))
    second = np.minimum(first + 1, len(plane) - 1)
    share = (at - first).astype(np.float32)[:, None]
    rows = np.ascontiguousarray(plane[first] * (1 - share) + plane[second] * share, np.float32)
    if width == low_width:
        return rows
    return np.array(Pictures.fromarray(rows).resize((width, len(rows)), Pictures.Resampling.BILINEAR))


def fit(image: Image, mask: Array, radius: int, epsilon: float = 2e-4) -> Fit:
    """The fit of `mask` `(H, W)` to the colours of `image` `(H, W, 3)` in windows of 2·radius + 1 pixels.

    A larger `epsilon` smooths more: it is the variance of the guide that counts as noise.
    """
    guide = guide_of(image)
    size = 2 * max(radius, 1) + 1
    mean = np.stack([_box(guide[..., c], size) for c in range(3)], axis=-1)
    mean_mask = _box(mask, size)
    both = np.stack([_box(guide[..., c] * mask, size) for c in range(3)], axis=-1) - mean * mean_mask[..., None]
    spread = np.empty((*mask.shape, 3, 3), np.float32)
    for i in range(3):
        for j in range(i, 3):
            value = _box(guide[..., i] * guide[..., j], size) - mean[..., i] * mean[..., j]
            spread[..., i, j] = spread[..., j, i] = value
        spread[..., i, i] += epsilon
    slopes = _solved(spread, both)
    constant = mean_mask - (slopes * mean).sum(axis=-1)
    return Fit(np.stack([_box(slopes[..., c], size) for c in range(3)], axis=-1), _box(constant, size))


def _solved(m: Array, v: Array) -> Array:
    """x of m x = v for symmetric 3x3 matrices, by cofactors: numpy's solver takes ten times as long on a picture."""
    a, b, c, d, e, f = m[..., 0, 0], m[..., 0, 1], m[..., 0, 2], m[..., 1, 1], m[..., 1, 2], m[..., 2, 2]
    aa, ab, ac = d * f - e * e, c * e - b * f, b * e - c * d
    bb, bc, cc = a * f - c * c, b * c - a * e, a * d - b * b
    scale = 1 / np.maximum(a * aa + b * ab + c * ac, 1e-12)
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    rows = (aa * x + ab * y + ac * z, ab * x + bb * y + bc * z, ac * x + bc * y + cc * z)
    return np.stack([row * scale for row in rows], axis=-1)


def _box(plane: Array, size: int) -> Array:
    from scipy.ndimage import uniform_filter  # slow to import

    return np.asarray(uniform_filter(np.ascontiguousarray(plane, np.float32), size, mode="nearest"))
