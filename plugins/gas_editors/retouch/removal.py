"""A thing taken out, and the hole filled with what is around it (PatchMatch, C. Barnes and others, 2009)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gas.errors import InputRefused, ModelUnavailable
from gas.masks import mask_box
from gas.picture.oklab import to_lab
from gas.remedies import install

if TYPE_CHECKING:
    from gas.types import Image, Mask

LARGE, TOO_LARGE = 0.02, 0.06
"""Shares of the picture from which a filled hole can be seen, and from which it will be."""
MOST_OF_IT = 0.6
"""Share of the picture from which there is too little left to copy from."""
LINES = 0.12
"""Share of a hole's rim with strong edges from which lines cross the hole, which is filled without knowing of them."""
EDGE = 0.05
CELLS, RARE = 24, 1e-4
"""Cells along each axis of OKLab in which the colours of a hole's rim are counted, and the share that is none."""


def removed(image: Image, mask: Mask, *, patch_size: int, reach: int, seed: int) -> Image:
    """`image` `(H, W, 3)` with the hole `mask` > 0 filled from what is within `reach` pixels of it.

    ModelUnavailable (exit 6) without the package; InputRefused (exit 3) when the hole leaves nothing to copy from.
    """
    hole = mask > 0
    share = 100 * float(hole.mean())
    if share > 100 * MOST_OF_IT:
        raise InputRefused(
            f"what is to be removed covers {share:.0f} % of the picture: too little is left to fill it from",
            "draw a tighter mask",
        )
    try:
        import patchmatch
    except ImportError:
        raise ModelUnavailable("removal needs the package PyPatchMatch", install("PyPatchMatch")) from None
    if not patchmatch.patchmatch_available:
        raise ModelUnavailable("PyPatchMatch has no library for this system", "use an editor with a model")
    x0, y0, x1, y1 = (int(side) for side in mask_box(mask))
    height, width = hole.shape
    window = np.s_[max(y0 - reach, 0) : min(y1 + reach, height), max(x0 - reach, 0) : min(x1 + reach, width)]
    patchmatch.set_random_seed(seed)
    part = np.ascontiguousarray(image[window])
    inside = hole[window].astype(np.uint8)
    foreign = _foreign(part, hole[window]).astype(np.uint8)
    filled = patchmatch.inpaint(part, inside, global_mask=foreign if foreign.any() else None, patch_size=patch_size)
    out = image.copy()
    # Its own result is unchanged outside the hole too; here that is a promise.
    out[window][hole[window]] = filled[hole[window]]
    return out


def _foreign(image: Image, hole: np.ndarray) -> np.ndarray:
    """What must not be copied into the hole, `(h, w)` bool: colours that its rim has nowhere, as of another person.

    Nothing where that would leave less to copy from than the hole is large.
    """
    from scipy import ndimage

    room = max(round(0.15 * math.sqrt(float(hole.sum()))), 3)
    rim = ndimage.binary_dilation(hole, iterations=room) & ~ndimage.binary_dilation(hole, iterations=2)
    nothing = np.zeros(hole.shape, bool)
    if not rim.any():
        return nothing
    low, high = np.array([0.0, -0.4, -0.4]), np.array([1.0, 0.4, 0.4])
    cell = np.clip((to_lab(image) - low) / (high - low) * CELLS, 0, CELLS - 1).astype(np.int32)
    index = np.ravel_multi_index(tuple(np.moveaxis(cell, -1, 0)), (CELLS,) * 3)
    counts = np.bincount(index[rim], minlength=CELLS**3).reshape((CELLS,) * 3) / rim.sum()
    known = ndimage.gaussian_filter(counts, 1.0).ravel()[index] > RARE
    foreign = ndimage.binary_opening(~known & ~hole, iterations=1)
    left = ~ndimage.binary_dilation(foreign, iterations=2) & ~hole
    return foreign if left.sum() > hole.sum() else nothing


def doubts(image: Image, mask: Mask) -> str | None:
    """Why the hole may be filled badly, in words; None where it should do."""
    share = float((mask > 0).mean())
    told = f"it is {100 * share:.1f} % of the picture"
    if share > TOO_LARGE:
        return f"{told}: a hole of this size is filled without knowing what belongs there; a model does it better"
    if share > LARGE:
        return f"{told}: look closely, holes above {100 * LARGE:.0f} % can often be seen"
    if _lines_cross(image, mask):
        return "lines run into it, and may not meet inside"
    return None


def _lines_cross(image: Image, mask: Mask) -> bool:
    from scipy import ndimage

    x0, y0, x1, y1 = (int(side) for side in mask_box(mask))
    room = max(round(0.1 * math.hypot(x1 - x0, y1 - y0)), 6)
    window = np.s_[max(y0 - room, 0) : y1 + room, max(x0 - room, 0) : x1 + room]
    hole = mask[window] > 0
    near = ndimage.binary_dilation(hole, iterations=2)
    rim = ndimage.binary_dilation(near, iterations=max(room // 3, 2)) & ~near
    if not rim.any():
        return False
    lightness = ndimage.gaussian_filter(to_lab(image[window])[..., 0], 1)
    steep = np.hypot(*np.gradient(lightness)) > EDGE
    return float(steep[rim].mean()) > LINES
