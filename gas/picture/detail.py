"""Detail for a part of a picture that was made coarse and enlarged: the fine structure of another picture of the same
place, as light and shade on the colours that are there.

Colours and everything broader than the coarse picture's own pixels stay: what comes in can be finer, and neither
another thing nor another colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from gas.bands import bands
from gas.masks import mask_box

if TYPE_CHECKING:
    from gas.types import Image, Mask

BROAD = 2.0
"""Standard deviation of the blur that parts detail from what is broader, in pixels of the coarse picture: what these
show is still the coarse picture's."""
AROUND = 4.0
"""Standard deviation of the window in which sharpness is compared, in the same pixels."""
_REACH = 3.0
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_DARK = 8.0
"""Levels that are added to both lumas: their ratio says nothing near black."""
_MOST = 2.0
"""Detail makes no pixel brighter or darker than by this factor."""


def with_detail(coarse: Image, fine: Image, mask: Mask, scale: float, like: Image | None = None) -> Image:
    """`coarse` with the detail of `fine`, both `(H, W, 3)` uint8, blended in by `mask` `(H, W)`.

    `scale` says how many pixels each pixel of the coarse picture was enlarged to. Detail is what a Gaussian of twice
    `scale` pixels takes away from the luma of `fine`; it replaces that of `coarse`, whose colours are multiplied by the
    ratio of the lumas after and before. Only what is inside the mask counts. Where the mask is 0 the picture is
    `coarse`, bit for bit.

    With `like`, the photograph before the edit, detail is made fainter wherever the place would become sharper than it
    was there, in the mean square of the luma's gradient around each pixel: a sky stays smooth and what was out of focus
    stays so, and a thing that stands out of its place does not come in.
    """
    if coarse.shape != fine.shape or mask.shape != coarse.shape[:2]:
        raise ValueError(f"shapes differ: {coarse.shape}, {fine.shape}, mask {mask.shape}")
    out = coarse.copy()
    reach = BROAD + (AROUND if like is not None else 0)
    for here, seen in _parts(mask, math.ceil(_REACH * reach * scale) + 2):
        inside = mask[seen] > 0
        before = coarse[seen].astype(np.float32) @ _LUMA
        change = np.where(inside, fine[seen].astype(np.float32) @ _LUMA - before, np.float32(0))
        change = np.where(inside, change - _blurred(change, inside, BROAD * scale), np.float32(0))
        if like is not None:
            change *= _allowed(before, change, like[seen].astype(np.float32) @ _LUMA, inside, AROUND * scale)
        own = _within(here, seen)
        change, before, alpha, old = change[own], before[own], mask[here], coarse[here]
        ratio = np.clip((before + change + _DARK) / (before + _DARK), 1 / _MOST, _MOST)
        new = old * (1 + alpha * (ratio - 1))[..., None]
        out[here] = np.where(alpha[..., None] > 0, np.clip(np.rint(new), 0, 255), old).astype(np.uint8)
    return out


def _allowed(before: np.ndarray, change: np.ndarray, like: np.ndarray, inside: np.ndarray, sigma: float) -> np.ndarray:
    """The factor, in [0, 1], by which `change` may be added to the luma `before`, `(h, w)` each, so that it becomes no
    sharper than `like`. Squares of gradients add up where two pictures have nothing to do with each other."""
    unedited, coarse, fine = (_blurred(_energy(one, inside), inside, sigma) for one in (like, before, before + change))
    room, wanted = np.maximum(unedited - coarse, 0), np.maximum(fine - coarse, 1e-6)
    return np.where(fine <= unedited, np.float32(1), np.sqrt(np.minimum(room / wanted, 1)))


def _energy(luma: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The square of the gradient's length `(h, w)`, 0 outside and where it leads out of what is inside."""
    out = np.zeros_like(luma)
    out[:, :-1] += np.square(np.diff(luma, axis=1)) * (inside[:, :-1] & inside[:, 1:])
    out[:-1] += np.square(np.diff(luma, axis=0)) * (inside[:-1] & inside[1:])
    return out


def sharpness(image: Image, where: np.ndarray) -> float:
    """The mean length of the gradient of the luma, in levels for each pixel, over the pixels `where` `(H, W)` bool is
    set at together with the next ones right and below. NaN where there are none."""
    luma = image.astype(np.float32) @ _LUMA
    across, down = np.diff(luma, axis=1)[:-1], np.diff(luma, axis=0)[:, :-1]
    all_three = where[:-1, :-1] & where[:-1, 1:] & where[1:, :-1]
    return float(np.hypot(across, down)[all_three].mean()) if all_three.any() else math.nan


def _blurred(values: np.ndarray, inside: np.ndarray, sigma: float) -> np.ndarray:
    """The Gaussian mean of `values` over what is inside."""
    weight = ndimage.gaussian_filter(inside.astype(np.float32), sigma, truncate=_REACH, mode="constant")
    return ndimage.gaussian_filter(values, sigma, truncate=_REACH, mode="constant") / np.maximum(weight, 1e-6)


def _parts(mask: Mask, halo: int) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """The box around the mask in bands: each with what must be looked at for it, `halo` pixels more on every side."""
    if not mask.any():
        return
    x0, y0, x1, y1 = (int(side) for side in mask_box(mask))
    height, width = mask.shape
    columns, wide = slice(x0, x1), slice(max(x0 - halo, 0), min(x1 + halo, width))
    for rows in bands(y1 - y0, x1 - x0):
        top, bottom = y0 + rows.start, y0 + rows.stop
        yield (slice(top, bottom), columns), (slice(max(top - halo, 0), min(bottom + halo, height)), wide)


def _within(inner: tuple[slice, slice], outer: tuple[slice, slice]) -> tuple[slice, slice]:
    """`inner` counted from the beginning of `outer`."""
    down, across = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True))
    return down, across
