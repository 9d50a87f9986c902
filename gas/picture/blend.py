"""Blends what was edited into the photograph through a mask; measures how far two pictures differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from gas.types import Image, Mask

ROWS_AT_ONCE = 512
"""Rows of a picture that are worked on together, so that a large one needs no second copy in floats."""


class Difference(NamedTuple):
    """The largest and the mean absolute difference of two images, in levels of 255 over all channels."""

    max: float
    mean: float


def blend(before: Image, after: Image, alpha: Mask) -> Image:
    """`before` with `after` blended in by `alpha` `(H, W)`; where that is 0 it is `before`, bit for bit."""
    mixed = before + alpha[..., None] * (after.astype(np.float32) - before)
    return np.where(alpha[..., None] > 0, np.rint(mixed), before).astype(np.uint8)


def unblend(first: Image, last: Image, kept: Mask, outside: Image) -> tuple[Image, Mask]:
    """The image and the mask `(H, W)` that, blended once into `first`, give `last`.

    `kept` `(H, W)` in [0, 1] says how much of `first` still shows in `last` after several blends; where that is all,
    the image is that of `outside`.
    """
    share = (1 - kept).astype(np.float32)
    before = first.astype(np.float32)
    colour = before + (last - before) / np.maximum(share, 1e-6)[..., None]
    image = np.where(share[..., None] > 0, np.clip(np.rint(colour), 0, 255), outside).astype(np.uint8)
    return image, share


def outside_difference(before: Image, after: Image, mask: Mask) -> Difference:
    """The largest and mean difference of two images of one size where the mask is 0; zero when there is no such place.

    Any number of channels and any number format. ValueError when the shapes differ.
    """
    if before.shape != after.shape or before.shape[:2] != mask.shape:
        raise ValueError(f"shapes differ: {before.shape}, {after.shape}, mask {mask.shape}")
    largest, total, count = 0.0, 0.0, 0
    for top in range(0, before.shape[0], ROWS_AT_ONCE):
        rows = np.s_[top : top + ROWS_AT_ONCE]
        outside = mask[rows] == 0
        if before.ndim == 3:
            outside = outside[..., None]
        old, new = before[rows], after[rows]
        if old.dtype == np.uint8:
            change = np.maximum(old, new) - np.minimum(old, new)
        else:
            same = (old == new) | ((old != old) & (new != new))  # NaN is no number, but unchanged
            change = np.abs(np.where(same | ~outside, 0.0, new.astype(np.float64) - old))
        # Multiplied, not indexed: several times faster, and large photographs have hundreds of millions of values.
        change *= outside
        largest = max(largest, float(change.max()))
        total += float(change.sum(dtype=np.float64 if change.dtype == np.float64 else np.int64))
        count += int(outside.sum()) * (before.shape[2] if before.ndim == 3 else 1)
    return Difference(largest, total / count if count else 0.0)


def inside_change(before: Image, after: Image, mask: Mask) -> float:
    """The mean absolute difference of two images in 8 bits where the mask is set, in levels of 255; zero if nowhere."""
    total = count = 0
    for top in range(0, before.shape[0], ROWS_AT_ONCE):
        rows = np.s_[top : top + ROWS_AT_ONCE]
        inside = mask[rows] > 0
        number = int(inside.sum())
        if number:
            old, new = before[rows], after[rows]
            total += int(((np.maximum(old, new) - np.minimum(old, new)) * inside[..., None]).sum(dtype=np.int64))
            count += number * before.shape[2]
    return total / count if count else 0.0
