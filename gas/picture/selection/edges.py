"""Where a selection ends: highlights on it, what hangs on to it without belonging to it, and where it fades away."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures

from gas.picture.grabcut import cut
from gas.picture.oklab import Array, chroma, hue, hue_difference
from gas.picture.selection.core import own_colours
from gas.picture.selection.surface import Bools, Surface, steps

if TYPE_CHECKING:
    from gas.types import Image


HIGHLIGHT = 0.03
"""Half of the width up to which something light on a surface is a highlight, over the square root of its area."""
CUT_SIDE = 256
"""Longest side of the picture in which a selection's outline is found."""
TRIMMED_STEP, TRIMMED_LEAST = 0.04, 0.7
"""Difference of colour at an outline, and share of a part inside it, from which what is beyond goes."""
SMALL_PART = 0.1
"""Share of the largest part below which one that is beyond every outline must be quite of the surface's colour."""
FLAT_STEP = 0.004
"""Step of lightness from pixel to pixel up to which there is no edge."""
FADE = 0.02
"""Width of a fading edge over the longer side."""


def with_highlights(rough: Array, lab: Array, within: Bools, surface: Surface, *, both: bool) -> Array:
    """The selection with the highlights on it, which have no colour of their own: what is small, as light as itself or
    lighter, and mostly enclosed by it (`both`: or darker)."""
    from scipy import ndimage

    kept = rough > 0.5
    light = lab[..., 0] >= 0.9 * surface.lightness
    if both:
        light |= lab[..., 0] <= 0.5 * surface.lightness
    labels, count = ndimage.label(light & within & ~kept)
    if count == 0:
        return rough
    index = np.arange(count + 1)
    # How far it reaches from what is kept, and how much of its border that is.
    away = ndimage.maximum(ndimage.distance_transform_cdt(~kept, metric="chessboard"), labels, index)
    outline = (labels > 0) & ndimage.binary_dilation((labels == 0) & within)
    beside = outline & ndimage.binary_dilation(kept)
    share = np.bincount(labels[beside], minlength=count + 1) / np.maximum(
        np.bincount(labels[outline], minlength=count + 1), 1
    )
    joins = (away <= max(HIGHLIGHT * math.sqrt(float(kept.sum())), 2)) & (share >= 0.5)
    joins[0] = False
    return np.where(joins[labels], 1, rough).astype(np.float32)


def trimmed(rough: Array, lab: Array, small: Image, within: Bools, surface: Surface) -> Array:
    """The selection without what hangs on to the outline of its surface: wood in the shadow of a red saucer is as red.

    A minimum cut finds the outline. What is beyond it and not quite of the surface's colour goes: what is little and
    has an edge between, and small parts of their own. Thin parts, and what fades away as a sky does, stay.
    """
    from scipy import ndimage

    kept = rough > 0.5
    inner = kept & ndimage.binary_dilation(_outlined(rough, small, within), structure=np.ones((3, 3)))
    beyond, count = ndimage.label(kept & ~inner, structure=np.ones((3, 3)))
    if count == 0:
        return rough
    wholes, number = ndimage.label(kept, structure=np.ones((3, 3)))
    size = np.bincount(wholes.ravel(), minlength=number + 1)
    core = np.bincount(wholes[inner], minlength=number + 1)
    touching = (beyond > 0) & ndimage.maximum_filter(inner, size=5)
    step = steps(lab, beyond, touching, inner, count, size=9)
    owner = ndimage.maximum(wholes, beyond, np.arange(count + 1)).astype(int)
    hangs_on = core[owner] >= TRIMMED_LEAST * size[owner]
    index = np.arange(count + 1)
    saturation = ndimage.median(chroma(lab) / np.maximum(lab[..., 0], 0.02), beyond, index)
    turned = ndimage.median(hue_difference(hue(lab), surface.hue), beyond, index)
    other = (saturation < 0.92 * surface.saturation) | (np.abs(turned) > 3)
    other |= ndimage.mean(own_colours(lab, within, kept), beyond, index) < 0.5
    alone = (core[owner] == 0) & (size[owner] < SMALL_PART * size[1:].max())
    goes = (alone | (hangs_on & np.isfinite(step) & (step >= TRIMMED_STEP))) & other
    goes[0] = False
    gone = ndimage.binary_dilation(goes[beyond], structure=np.ones((3, 3))) & ~inner
    return np.where(gone, 0, rough).astype(np.float32)


def _outlined(rough: Array, small: Image, within: Bools) -> Bools:
    """The selected surface as a minimum cut in a picture of at most CUT_SIDE pixels sees it."""
    height, width = rough.shape
    scale = min(CUT_SIDE / max(height, width), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)

    def at(plane: Array | Bools, size: tuple[int, int]) -> Array:
        return np.asarray(Pictures.fromarray(plane.astype(np.float32)).resize(size, Pictures.Resampling.BOX))

    tiny = np.asarray(Pictures.fromarray(np.ascontiguousarray(small)).resize(size, Pictures.Resampling.BOX))
    return at(cut(tiny, at(rough, size) > 0.5, at(within, size) > 0, rounds=1), (width, height)) > 0.5


def faded(rough: Array, lab: Array, within: Bools) -> Array:
    """The selection fading out where it ends without an edge, as in a sky towards the horizon."""
    from scipy import ndimage

    kept = rough > 0.5
    border = kept & within & ndimage.binary_dilation(within & ~kept)
    if not border.any():
        return rough
    soft = ndimage.gaussian_filter(lab, (2, 2, 0))
    edge = ndimage.maximum_filter(np.hypot(*np.gradient(soft[..., 0])), size=5) > FLAT_STEP
    radius = FADE * max(rough.shape)

    def spread(plane: Array | Bools) -> Array:  # three boxes are nearly a Gaussian, at a tenth of its time
        out = plane.astype(np.float32)
        for _ in range(3):
            out = ndimage.uniform_filter(out, 2 * round(radius) + 1)
        return out

    flat, sharp = spread(border & ~edge), spread(border & edge)
    share = np.clip(2 * flat / np.maximum(flat + 3 * sharp, 1e-7) - 0.5, 0, 1) * np.clip(flat * radius * 4, 0, 1)
    blurred = np.clip(spread(rough) / np.maximum(spread(within), 1e-3), 0, 1)
    return np.asarray(rough + share * (blurred - rough), np.float32) * within
