"""Which pixels of a thing are of a named colour: "the red" of a red cup with a white inside, in light and in shade."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures

from gas.masks import mask_box
from gas.picture.colour_names import PLAIN_NAMES, Colour, members
from gas.picture.guided import BAND, Fit, fit
from gas.picture.oklab import to_lab
from gas.picture.selection.core import NOT_THERE, grey_core, hued_core
from gas.picture.selection.edges import faded, trimmed, with_highlights
from gas.picture.selection.surface import Surface, surface_of

if TYPE_CHECKING:
    from gas.types import Image, Mask


WORK_PIXELS = 400_000
"""Pixels of the reduced picture that a selection is made on; its edges are then found in the full one."""
BORDER = 0.1
"""Border around a mask over its longer side that is looked at with it."""


@dataclass(frozen=True)
class Selection:
    """The selected part of a picture: `alpha` `(H, W)` float32 in [0, 1], what it looks like, and its `share` of the
    mask."""

    alpha: Mask
    surface: Surface
    share: float


def all_of(image: Image, mask: Mask) -> Selection:
    """Everything in `mask` `(H, W)` as one surface, whatever its colours."""
    small, inside = reduced(image, mask)
    lab = to_lab(small)
    return Selection(np.asarray(mask, np.float32), surface_of(lab, inside), 1.0)


def select(image: Image, mask: Mask, source: Colour, *, everywhere: bool = False) -> Selection:
    """The pixels of `image` `(H, W, 3)` inside `mask` `(H, W)` that are of the colour `source`.

    `everywhere` says that the mask is the whole picture and no thing: then dark and light parts of it may be of one
    surface. A share below NOT_THERE means that the colour is not there.
    """
    window = _window(mask)
    part, own = image[window], mask[window]
    small, inside = reduced(part, own)
    lab = to_lab(small)
    within = inside > 0.5 * float(inside.max())
    rough = grey_core(lab, within, source) if source.grey else hued_core(lab, within, source)
    share = float(rough[within].mean()) if within.any() else 0.0
    alpha = np.zeros(mask.shape, np.float32)
    if share < NOT_THERE or rough.max() < 0.5:
        return Selection(alpha, Surface(0.5, 0.0, 0.0), share)
    surface = surface_of(lab, rough)
    rough = with_highlights(rough, lab, within, surface, both=everywhere)
    rough = faded(trimmed(rough, lab, small, within, surface), lab, within)
    fitted = fit(small, rough, max(round(max(small.shape[:2]) / 250), 1))
    alpha[window] = softened(fitted, part) * own
    return Selection(alpha, surface, share)


def _window(mask: Mask) -> tuple[slice, slice]:
    """What is set in the mask and a border of what is around it, which tells the thing from its surroundings."""
    height, width = mask.shape
    x0, y0, x1, y1 = (int(side) for side in mask_box(mask))
    room = max(round(BORDER * max(x1 - x0, y1 - y0)), 16)
    return np.s_[max(y0 - room, 0) : min(y1 + room, height), max(x0 - room, 0) : min(x1 + room, width)]


def softened(fitted: Fit, image: Image) -> Mask:
    """The fitted mask applied to the picture, with what is nearly 0 or 1 made so."""
    mask = fitted.apply(image)
    for top in range(0, len(mask), BAND):  # in bands: a large picture has a dozen million of them
        x = np.clip((mask[top : top + BAND] - 0.1) / 0.7, 0, 1)
        mask[top : top + BAND] = x * x * (3 - 2 * x)
    return mask


def reduced(image: Image, mask: Mask) -> tuple[Image, Mask]:
    """Picture and mask at no more than WORK_PIXELS pixels."""
    height, width = mask.shape
    scale = math.sqrt(WORK_PIXELS / (height * width))
    if scale >= 1:
        return image, mask
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = Pictures.fromarray(np.ascontiguousarray(image)).resize(size, Pictures.Resampling.BOX)
    part = Pictures.fromarray(np.ascontiguousarray(mask, np.float32)).resize(size, Pictures.Resampling.BOX)
    return np.asarray(small), np.clip(np.asarray(part), 0, 1)


def colours_there(image: Image, mask: Mask) -> tuple[tuple[str, float], ...]:
    """(plain name, share) of the colours in the mask, those of at least NOT_THERE, the largest first. Names overlap."""
    small, inside = reduced(image, mask)
    seen = to_lab(small)[inside > 0.5 * float(inside.max())]
    shares = {name: float(members(seen, name).mean()) for name in PLAIN_NAMES}
    there = [(name, share) for name, share in shares.items() if share >= NOT_THERE]
    return tuple(sorted(there, key=lambda pair: -pair[1]))
