"""Boxes and masks from a user, a file or a grounder, checked at the border."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from gas import notes
from gas.bands import bands
from gas.errors import InputRefused
from gas.remedies import GIVE_OR_GROUND
from gas.types import Box, Region

if TYPE_CHECKING:
    from gas.types import Image, Mask
from gas.masks import Size, box_mask, from_levels, mask_box

Warn = Callable[[str], object]


def check_box(
    box: Sequence[float], size: Size, *, name: str = "box", sure: bool = False, warn: Warn = notes.warn
) -> Box:
    """The box `(x0, y0, x1, y1)` clipped to the picture, in pixels.

    A box that is partly outside is clipped and `warn` says so. InputRefused: not four finite numbers, inverted or
    without area, wholly outside, or all four values within 0..1 in a larger picture (those are fractions, not pixels)
    unless one is `sure` that they are pixels.
    """
    width, height = size
    shown = ",".join(f"{v:g}" if isinstance(v, Real) else repr(v) for v in box)
    if len(box) != 4 or not all(isinstance(v, Real) and math.isfinite(v) for v in box):
        raise InputRefused(f"{name}: {shown} is not four finite numbers", "write x0,y0,x1,y1 in pixels")
    x0, y0, x1, y1 = (float(v) for v in box)
    if x1 <= x0 or y1 <= y0:
        raise InputRefused(
            f"{name}: {shown} is inverted or has no area",
            "write x0,y0,x1,y1 with x0 < x1 and y0 < y1, origin at the top left",
        )
    if not sure and max(width, height) > 1 and all(0 <= v <= 1 for v in (x0, y0, x1, y1)):
        percent = ",".join(f"{v * 100:g}%" for v in (x0, y0, x1, y1))
        raise InputRefused(
            f"{name}: {shown} looks like fractions of the picture, but boxes are in pixels",
            f"write pixels of {width}x{height}, or percentages: {percent}",
        )
    clipped = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        raise InputRefused(
            f"{name}: {shown} lies outside the picture", f"the upright picture is {width}x{height} pixels"
        )
    if clipped != (x0, y0, x1, y1):
        now = ",".join(f"{v:g}" for v in clipped)
        warn(f"{name}: {shown} reaches beyond the picture ({width}x{height}) and was clipped to {now}")
    return clipped


def check_point(point: Sequence[float], size: Size, *, name: str = "point") -> tuple[float, float]:
    """The point (x, y) in pixels. InputRefused for one that is not two finite numbers, or outside the picture."""
    shown = ",".join(f"{v:g}" if isinstance(v, Real) else repr(v) for v in point)
    if len(point) != 2 or not all(isinstance(v, Real) and math.isfinite(v) for v in point):
        raise InputRefused(f"{name}: {shown} is not two finite numbers", "write x,y in pixels")
    x, y = (float(v) for v in point)
    if not (0 <= x < size[0] and 0 <= y < size[1]):
        raise InputRefused(f"{name}: {shown} lies outside the picture", f"the upright picture is {size[0]}x{size[1]}")
    return x, y


def check_same_size(found: Size, size: Size, name: str) -> None:
    """InputRefused for a mask of another size (width, height) than that of the upright picture."""
    if found != size:
        raise InputRefused(
            f"{name}: is {found[0]}x{found[1]} pixels, the upright picture {size[0]}x{size[1]}",
            "save the mask at the picture's own size, turned the way the picture is shown",
        )


def check_mask(mask: np.ndarray, size: Size, *, name: str = "mask") -> Mask:
    """The mask as `(H, W)` float32 in [0, 1], rounded to steps of 1/255 so that a record can hold it exactly.

    Booleans and uint8 (0..255) are converted; a mask that is right already is returned itself. InputRefused: not
    two-dimensional, another size than the picture, values that are not finite or not in [0, 1], nothing set.
    """
    array = np.asarray(mask)
    width, height = size
    if array.ndim != 2:
        raise InputRefused(
            f"{name}: has {array.ndim} dimensions {array.shape}", f"a mask is ({height}, {width}): height, width"
        )
    check_same_size((array.shape[1], array.shape[0]), size, name)
    if array.dtype == bool:
        array = array.view(np.uint8) * np.uint8(255)
    if array.dtype == np.uint8:
        low, high = 0.0, 1.0
    else:
        low, high = float(array.min()), float(array.max())
    if not math.isfinite(low + high):  # NaN is both the least and the largest
        raise InputRefused(f"{name}: holds NaN or infinite values", "a mask holds numbers from 0 to 1")
    if low < 0 or high > 1:
        raise InputRefused(f"{name}: values run from {low:g} to {high:g}", "a mask holds numbers from 0 to 1")
    if array.dtype == np.uint8:
        checked = from_levels(array)
    elif _in_steps(array):
        checked = array
    else:
        levels = np.empty(array.shape, np.uint8)
        for rows in bands(height, width):
            np.rint(array[rows].astype(np.float32) * 255, out=levels[rows], casting="unsafe")
        checked = from_levels(levels)
    if not checked.any():
        raise InputRefused(f"{name}: is empty: no pixel is set", "paint the part to be edited white, the rest black")
    return checked


def _in_steps(array: np.ndarray) -> bool:
    """Whether a mask is float32 in steps of 1/255 already."""
    if array.dtype != np.float32:
        return False
    steps = (np.rint(array[rows] * 255) / np.float32(255) for rows in bands(*array.shape))
    return all(np.array_equal(some, array[rows]) for some, rows in zip(steps, bands(*array.shape), strict=True))


def check_region(region: Region, size: Size, *, warn: Warn = notes.warn) -> Region:
    """The region with both a checked box and a checked mask: each is made from the other where it is missing.

    One that is a point alone stays one. InputRefused as `check_box`, `check_mask` and `check_point`, and when it has
    none of these.
    """
    name = f"region {region.phrase!r}"
    if region.mask is not None:
        mask = check_mask(region.mask, size, name=name)
        box = mask_box(mask) if region.box is None else check_box(region.box, size, name=name, warn=warn)
    elif region.box is not None:
        box = check_box(region.box, size, name=name, warn=warn)
        mask = box_mask(box, size)
    elif region.point is not None:
        return replace(region, point=check_point(region.point, size, name=name))
    else:
        raise InputRefused(f"{name} has neither box nor mask", GIVE_OR_GROUND)
    return replace(region, box=box, mask=mask)


def with_mask(region: Region, image: Image) -> Region:
    """The region with a mask: that of its box where it has none. InputRefused (exit 3) as `check_region`."""
    return check_region(region, (image.shape[1], image.shape[0])) if region.mask is None else region
