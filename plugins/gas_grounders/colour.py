"""The grounder `colour`: connected areas of the colour that a phrase names, by how distinct they are. No model.

"The red car" is the red area that stands out most; several are told apart by words of position and size. A few things
have a colour of their own: grass is green, and the sky is what is blue, grey or white at the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures
from pydantic import Field

from gas.errors import ObjectNotFound
from gas.masks import mask_box
from gas.picture.colour_names import Colour, colours_in, named
from gas.picture.guided import fit
from gas.picture.oklab import Array, chroma, to_lab
from gas.picture.selection.core import grey_core, hued_core
from gas.picture.selection.select import colours_there, softened
from gas.plan.phrases import main_noun, singular, words
from gas.remedies import Given, Remedy
from gas_grounders.detector import Candidates, Detector, DetectorOptions, Query

if TYPE_CHECKING:
    from gas.interfaces import Watch
    from gas.types import Image, Mask

SIDE = 400
"""Longest side of the picture in which areas are looked for."""
SMALLEST = 0.0008
"""Share of the picture below which an area is a speck."""
LIKE_THE_BEST = 0.8
"""Of several things the areas that score at least this share of the best one are meant together."""
_USUAL = {
    "sky": ("blue", "white", "grey"),
    "grass": ("green",), "lawn": ("green",), "meadow": ("green",), "leaf": ("green",), "foliage": ("green",),
    "tree": ("green",), "bush": ("green",), "hedge": ("green",),
    "snow": ("white",), "sea": ("blue", "teal"), "lake": ("blue", "teal"),
}  # fmt: skip


class ColourOptions(DetectorOptions):
    """The options of `colour`."""

    score_threshold: float = Field(0.2, ge=0, le=1, description="lowest score of an area that counts as found")


@dataclass(frozen=True)
class _Area:
    """A connected area of a colour in the reduced picture: its mask, its score, and its saturation C/L."""

    mask: Mask
    score: float
    saturation: float


class ColourGrounder(Detector[ColourOptions]):
    """Finds what a phrase names by its colour. `score` is how pure an area is and how it stands out, in [0, 1]."""

    options_type = ColourOptions
    name = "colour"

    def look(self, image: Image, queries: Sequence[Query], watch: Watch) -> list[Candidates]:
        """The areas of each query's colour. ObjectNotFound (exit 5) for a phrase without one."""
        watch.check_stop()
        small = _reduced(image)
        lab = to_lab(small)
        return [self._candidates(image, small, lab, query) for query in queries]

    def _candidates(self, image: Image, small: Image, lab: Array, query: Query) -> Candidates:
        sources = self._colours(image, query.text)
        top = main_noun(query.text) == "sky"
        areas = [area for source in sources for area in _areas(small, lab, source, top=top)]
        if _plural(query.text) and not query.several:
            areas = _together(areas)
        if not areas:
            return Candidates(np.zeros((0, 4)), np.zeros(0))
        height, width = image.shape[:2]
        scale = np.array([width / small.shape[1], height / small.shape[0]] * 2)
        boxes = np.array([mask_box(area.mask) for area in areas]) * scale

        def mask_of(index: int) -> Mask:
            fitted = fit(small, areas[index].mask, max(round(max(small.shape[:2]) / 200), 1))
            return softened(fitted, image)

        return Candidates(boxes, np.array([area.score for area in areas]), mask_of=mask_of)

    def _colours(self, image: Image, text: str) -> list[Colour]:
        found = colours_in(text)
        if found:
            return found[:1]
        usual = _USUAL.get(main_noun(text) or "")
        if usual is not None:
            return [colour for name in usual if (colour := named(name)) is not None]
        there = ", ".join(name for name, _ in colours_there(image, np.ones(image.shape[:2], np.float32))[:4])
        shown = " ".join(text.split())[:100]
        region = Given(shown, ("box", "mask"))
        raise ObjectNotFound(
            f"{shown!r} names no colour, and the grounder colour sees nothing else",
            Remedy("say_colour", "say its colour (there is {there}), or draw it: {region}", there=there, region=region),
        )


def _reduced(image: Image) -> Image:
    height, width = image.shape[:2]
    scale = min(SIDE / max(height, width), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return np.asarray(Pictures.fromarray(np.ascontiguousarray(image)).resize(size, Pictures.Resampling.BOX))


def _areas(small: Image, lab: Array, source: Colour, *, top: bool) -> list[_Area]:
    """The connected areas of a colour, the best first; `top`: only those that reach the picture's upper edge."""
    from scipy import ndimage

    everywhere = np.ones(lab.shape[:2], bool)
    core = (grey_core if source.grey else hued_core)(lab, everywhere, source, SMALLEST)
    closing = max(round(max(small.shape[:2]) / 130), 1)
    kept = ndimage.binary_closing(np.pad(core > 0.5, closing), iterations=closing)[closing:-closing, closing:-closing]
    labels, count = ndimage.label(kept)
    saturations = chroma(lab) / np.maximum(lab[..., 0], 0.02)
    found = []
    for index in range(1, count + 1):
        area = labels == index
        if area.mean() < SMALLEST or (top and not area[0].any()):
            continue
        whole = ndimage.binary_fill_holes(area)
        purity = float((core > 0.5)[whole].mean())
        ring = ndimage.binary_dilation(whole, iterations=4) & ~whole
        contrast = 1.0
        if ring.any():
            contrast = min(float(np.linalg.norm(lab[whole].mean(axis=0) - lab[ring].mean(axis=0))) / 0.2, 1.0)
        size = min(1.0, float(whole.mean()) / 0.01) ** 0.25
        own = float(np.median(saturations[area]))
        found.append(_Area(whole.astype(np.float32), purity * (0.4 + 0.6 * contrast) * size, own))
    # Of two areas of one name the purer colour is meant: wood is a dull red beside a red cup.
    strongest = max((area.saturation for area in found), default=0.0)
    if strongest > 0 and not source.grey:
        found = [_Area(a.mask, a.score * min(a.saturation / strongest, 1.0), a.saturation) for a in found]
    return sorted(found, key=lambda area: -area.score)


def _together(areas: list[_Area]) -> list[_Area]:
    """The areas that are about as good as the best one, as one area."""
    meant = [area for area in areas if area.score >= LIKE_THE_BEST * areas[0].score]
    if len(meant) < 2:
        return areas
    return [_Area(np.max([area.mask for area in meant], axis=0), areas[0].score, areas[0].saturation)]


def _plural(text: str) -> bool:
    head = main_noun(text)
    return any(word != head and singular(word) == head for word in words(text))
