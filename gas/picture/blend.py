"""Blends what was edited into the photograph through a mask; measures how far two pictures differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gas.bands import bands

if TYPE_CHECKING:
    from gas.types import Image, Mask


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


class Tally:
    """Adds up, band by band, how far two pictures differ where a mask is 0."""

    def __init__(self) -> None:
        self._largest, self._total, self._count = 0.0, 0.0, 0

    def add(self, old: np.ndarray, new: np.ndarray, mask: np.ndarray) -> None:
        """Counts some rows `(h, W)` or `(h, W, C)` of both, in any number format, where `mask` `(h, W)` is 0."""
        outside = mask == 0
        if old.ndim == 3:
            outside = outside[..., None]
        if old.dtype == np.uint8:
            change = np.maximum(old, new) - np.minimum(old, new)
        else:
            same = (old == new) | ((old != old) & (new != new))  # NaN is no number, but unchanged
            change = np.abs(np.where(same | ~outside, 0.0, new.astype(np.float64) - old))
        # Multiplied, not indexed: several times faster, and large photographs have hundreds of millions of values.
        change *= outside
        self._largest = max(self._largest, float(change.max()))
        self._total += float(change.sum(dtype=np.float64 if change.dtype == np.float64 else np.int64))
        self._count += int(outside.sum()) * (old.shape[2] if old.ndim == 3 else 1)

    def difference(self, scale: float = 1.0) -> Difference:
        """What was counted, times `scale`; zero when there was no such place."""
        mean = self._total / self._count if self._count else 0.0
        return Difference(self._largest * scale, mean * scale)


def outside_difference(before: Image, after: Image, mask: Mask) -> Difference:
    """The largest and mean difference of two images of one size where the mask is 0; zero when there is no such place.

    Any number of channels and any number format. ValueError when the shapes differ.
    """
    if before.shape != after.shape or before.shape[:2] != mask.shape:
        raise ValueError(f"shapes differ: {before.shape}, {after.shape}, mask {mask.shape}")
    tally = Tally()
    for rows in bands(*mask.shape):
        tally.add(before[rows], after[rows], mask[rows])
    return tally.difference()


def inside_change(before: Image, after: Image, mask: Mask) -> float:
    """The mean absolute difference of two images where the mask is set, in levels of 255; zero if nowhere."""
    total, count = 0, 0
    for rows in bands(*mask.shape):
        inside = mask[rows] > 0
        if inside.any():
            old, new = before[rows], after[rows]
            change = np.maximum(old, new) - np.minimum(old, new)
            total += int((change * inside[..., None]).sum(dtype=np.int64))
            count += int(inside.sum()) * before.shape[2]
    return total / count if count else 0.0


def is_same(one: np.ndarray, other: np.ndarray, where: np.ndarray | None = None) -> bool:
    """Whether two pictures of one size are equal, value by value; NaN equals NaN. `where` `(H, W)` bool or a mask: only
    where that is 0."""
    if one.shape != other.shape:
        return False
    for rows in bands(*one.shape[:2]):
        old, new = one[rows], other[rows]
        same = old == new
        if old.dtype.kind == "f":
            same |= np.isnan(old) & np.isnan(new)
        if where is not None:
            kept = where[rows] > 0
            same |= kept if same.ndim == 2 else kept[..., None]
        if not same.all():
            return False
    return True


def set_share(*masks: np.ndarray, but: np.ndarray | None = None) -> float:
    """The share of a picture's pixels, in [0, 1], that all of the masks are set at, and `but` is not."""
    height, width = masks[0].shape
    count = 0
    for rows in bands(height, width):
        inside = masks[0][rows] > 0
        for mask in masks[1:]:
            inside &= mask[rows] > 0
        if but is not None:
            inside &= but[rows] == 0
        count += int(inside.sum())
    return count / (height * width)
