"""What a recolouring did, in numbers, and how well a cut agrees with a mask by hand."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gas.interfaces import GroundJob
from gas.masks import box_mask
from gas.picture.colour_names import Colour, named
from gas.picture.oklab import from_lab, hue, hue_difference, to_lab
from gas.picture.recolour import recolour
from gas.picture.selection.select import Selection, all_of, select
from gas.types import Region
from gas_editors.retouch.trial.pictures import Recolouring, box_of, load, mask_of

if TYPE_CHECKING:
    from gas.interfaces import Grounder
    from gas.types import Image, Mask

MOST_HUE, MOST_COLOUR, LEAST_CORRELATION = 5.0, 10.0, 0.97
"""What a recolouring must show: hue error in degrees, colour difference ΔE00 without lightness, and the correlation of
lightness with the source's."""


@dataclass(frozen=True)
class Figures:
    """One recolouring: `hue` is NaN for white, grey and black; `outside` is the largest change where the mask is 0."""

    case: Recolouring
    hue: float
    colour: float
    correlation: float
    outside: int
    share: float
    seconds: float

    @property
    def good(self) -> bool:
        """Whether it shows what it must."""
        hue_fits = np.isnan(self.hue) or self.hue <= MOST_HUE
        return bool(
            hue_fits and self.colour <= MOST_COLOUR and self.correlation >= LEAST_CORRELATION and self.outside == 0
        )


@dataclass(frozen=True)
class Made:
    """A recolouring's pictures: before, the selection, after."""

    before: Image
    selection: Mask
    after: Image


def made(case: Recolouring) -> tuple[Figures, Made]:
    """A recolouring of the trial, and its figures: those of the median colour where the selection is all but full."""
    image = load(case.picture)
    size = image.shape[1], image.shape[0]
    own = mask_of(case.picture, case.thing, size)
    mask = box_mask(box_of(case.picture, case.thing), size) if case.how == "box" else own
    target, source = _colour(case.target), _colour(case.source) if case.source else None
    started = time.perf_counter()
    found = all_of(image, mask) if source is None else select(image, mask, source)
    after = recolour(image, found.alpha, found.surface, target)
    seconds = time.perf_counter() - started
    return _figures(case, image, after, mask, found, target, seconds), Made(image, found.alpha, after)


def _figures(
    case: Recolouring, image: Image, after: Image, mask: Mask, found: Selection, target: Colour, seconds: float
) -> Figures:
    core = found.alpha > 0.9
    old, new = to_lab(image)[core], to_lab(after)[core]
    middle = np.median(new, axis=0)
    turned = abs(float(hue_difference(float(hue(middle)), float(hue(target.array)))))
    change = np.abs(image.astype(np.int16) - after)[mask == 0]
    return Figures(
        case,
        float("nan") if target.grey else turned,
        colour_difference(middle, target.array),
        float(np.corrcoef(old[:, 0], new[:, 0])[0, 1]),
        int(change.max(initial=0)),
        found.share,
        seconds,
    )


def colour_difference(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """ΔE00 (CIEDE2000) of two OKLab colours `(3,)`, both at the lightness of `other`."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    first, second = (rgb2lab(from_lab(colour)[None, None])[0, 0] for colour in (one, other))
    return float(deltaE_ciede2000(np.array([second[0], *first[1:]]), second))


@dataclass(frozen=True)
class Cut:
    """A thing cut out of its box by a registered grounder, and its IoU with the mask by hand."""

    picture: str
    thing: str
    mask: Mask
    iou: float
    seconds: float
    note: str


def cut(grounder: Grounder, picture: str, thing: str) -> Cut:
    """The cut of a thing from its box, against its hand-drawn mask."""
    image, box = load(picture), box_of(picture, thing)
    started = time.perf_counter()
    (found,) = grounder.ground(GroundJob(image, [Region(thing, box)]))
    seconds = time.perf_counter() - started
    assert found.mask is not None
    drawn = mask_of(picture, thing, (image.shape[1], image.shape[0]))
    return Cut(picture, thing, found.mask, iou(found.mask > 0.5, drawn > 0.5), seconds, found.note)


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks."""
    return float((one & other).sum() / max((one | other).sum(), 1))


def _colour(name: str) -> Colour:
    found = named(name)
    assert found is not None, f"{name!r} is no colour"
    return found
