"""The colour of an edit with the structure of the picture before it: shading, folds, texture and outline stay.

An editor with a network draws a thing anew when it was only to change its colour or its material. Here the edit says
what colour the surface has, and the source where it is and how the light falls on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gas.picture.colour_names import Colour, colours_in
from gas.picture.guided import fit
from gas.picture.oklab import Array, chroma, to_lab
from gas.picture.recolour import GREY_CHROMA, recolour
from gas.picture.selection.core import NOT_THERE
from gas.picture.selection.select import Selection, reduced, select, softened
from gas.picture.selection.surface import surface_of, weighted_median

if TYPE_CHECKING:
    from gas.types import Image, Mask

CHANGED = 0.06
"""Distance in OKLab from which an edit has changed a pixel, and from which it has given a surface another colour."""


def keep_structure(source: Image, edited: Image, mask: Mask, phrase: str) -> Image | None:
    """`edited` `(H, W, 3)` with the surface that is to change taken from `source` in the edit's colour.

    The surface is what is of the colour that `phrase` names ("a red cup") inside `mask` `(H, W)`; where it names none,
    what the edit has changed there. The rest inside the mask is the source's again; outside it is `edited`, bit for
    bit. None where there is no such surface, or the edit gave it no other colour.
    """
    inside = (mask > 0).astype(np.float32)
    chosen = _surface(source, edited, inside, phrase)
    if chosen.share < NOT_THERE or not chosen.alpha.any():
        return None
    before, after = (_median(image, chosen.alpha) for image in (source, edited))
    if float(np.linalg.norm(after - before)) < CHANGED:
        return None
    lightness, a, b = (float(one) for one in after)
    colour = Colour("the edit's", (lightness, a, b), "grey" if float(chroma(after)) < GREY_CHROMA else "hued")
    kept = recolour(source, chosen.alpha, chosen.surface, colour, towards=1.0)
    return np.where(inside[..., None] > 0, kept, edited)


def _surface(source: Image, edited: Image, inside: Mask, phrase: str) -> Selection:
    named = colours_in(phrase)
    if len(named) == 1:
        return select(source, inside, named[0], everywhere=bool((inside > 0).all()))
    difference = np.linalg.norm(to_lab(edited) - to_lab(source), axis=-1)
    rough = ((difference > CHANGED) & (inside > 0)).astype(np.float32)
    share = float(rough.sum() / inside.sum())
    small, weight = reduced(source, rough)
    fitted = fit(small, weight, max(round(max(small.shape[:2]) / 250), 1))
    return Selection(softened(fitted, source) * inside, surface_of(to_lab(small), weight), share)


def _median(image: Image, alpha: Mask) -> Array:
    """The median OKLab colour `(3,)` of what is selected."""
    small, weight = reduced(image, alpha)
    lab = to_lab(small)
    return np.array([weighted_median(lab[..., i], weight * (weight > 0.5)) for i in range(3)], np.float32)
