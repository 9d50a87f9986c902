"""The geometry of boxes and masks: covered, joined, grown, feathered.

Units are those of `gas.types`: boxes in pixels of the upright picture, masks `(H, W)` float32 in [0, 1], 1 = edit
here. `size` is always `(width, height)`. Everything that comes from a user or a file passes `check_box` or
`check_mask` first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gas.bands import BAND_PIXELS, bands
from gas.types import Box, Region

if TYPE_CHECKING:
    from gas.types import Mask

Size = tuple[int, int]

GROW_PIXELS = 2_000_000
MARGIN = 0.02
"""Margin around a found thing over the square root of its area."""


# --- boxes and masks --------------------------------------------------------------------------------------------------


def box_mask(box: Box, size: Size) -> Mask:
    """The mask `(H, W)` of a box: 1 where the box covers a pixel, its edges rounded to whole pixels; never empty.

    A box that is thinner than a pixel takes the pixel that holds its middle. The box must overlap the picture.
    """
    width, height = size
    mask = np.zeros((height, width), np.float32)
    x0, x1 = _pixels(box[0], box[2], width)
    y0, y1 = _pixels(box[1], box[3], height)
    mask[y0:y1, x0:x1] = 1
    return mask


def from_levels(levels: np.ndarray) -> Mask:
    """The mask of `(H, W)` uint8 levels, 255 being 1. What is 0 takes no memory in rows where nothing is set."""
    out = np.zeros(levels.shape, np.float32)
    for rows in bands(*levels.shape):
        columns = np.flatnonzero(levels[rows].max(axis=0))
        if len(columns):
            here = np.s_[rows, columns[0] : columns[-1] + 1]
            np.divide(levels[here], np.float32(255), out=out[here], dtype=np.float32)
    return out


def mask_box(mask: Mask) -> Box:
    """The tight box around all that is set in the mask (more than 0). ValueError when nothing is."""
    # max, not any: it is several times faster on floats, and a large photograph has a hundred million of them.
    rows = np.flatnonzero(mask.max(axis=1))
    if not len(rows):
        raise ValueError("an empty mask has no box")
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].max(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def grow_box(box: Box, size: Size, fraction: float = 0.15, at_least: float = 0.0) -> Box:
    """The box, each edge moved out by `fraction` of its width or height, at least `at_least` pixels; clipped."""
    dx = max(fraction * (box[2] - box[0]), at_least)
    dy = max(fraction * (box[3] - box[1]), at_least)
    return max(box[0] - dx, 0.0), max(box[1] - dy, 0.0), min(box[2] + dx, size[0]), min(box[3] + dy, size[1])


def grow(mask: Mask, fraction: float = 0.15, at_least: float = 0.0) -> Mask:
    """The mask grown outwards: by `fraction` of the width and height of its box, at least `at_least` pixels.

    The new border is binary; what was soft stays at least as strong. A mask that fills its box stays a box; any other
    grows by an ellipse. An empty mask is returned as it is.
    """
    if not mask.any():
        return mask
    box = mask_box(mask)
    x0, y0, x1, y1 = (int(v) for v in box)
    if (mask[y0:y1, x0:x1] > 0).all():
        grown = box_mask(grow_box(box, (mask.shape[1], mask.shape[0]), fraction, at_least), mask.shape[::-1])
        return np.maximum(mask, grown)
    rx = max(fraction * (x1 - x0), at_least)
    ry = max(fraction * (y1 - y0), at_least)
    if rx <= 0 or ry <= 0:
        return mask
    # Only a window around the mask can change: distances over a whole large photograph would take seconds.
    px, py = math.ceil(rx) + 1, math.ceil(ry) + 1
    window = np.s_[max(y0 - py, 0) : y1 + py, max(x0 - px, 0) : x1 + px]
    part = mask[window]
    # Exact distances take 22 s and 4 GB on a hundred megapixels. A growth of many pixels may be that much coarser.
    step = min(math.ceil(math.sqrt(part.size / GROW_PIXELS)), max(int(min(rx, ry) / 4), 1))
    coarse = _pool_max(part > 0, step)
    from scipy import ndimage  # slow to import, and a plan alone does without

    near = ndimage.distance_transform_edt(~coarse, sampling=(step / ry, step / rx)) <= 1
    near = near.repeat(step, axis=0).repeat(step, axis=1)[: part.shape[0], : part.shape[1]]
    out = mask.copy()
    out[window] = np.where(near, np.float32(1), part)
    return out


def with_room(region: Region, fraction: float) -> Region:
    """The region with a mask in which the thing found there may become one of another shape; it must have a mask.

    A truck does not fit a car's silhouette, so a thing gets all of its box (the papers' mask), moved out on every side
    by `fraction` of the box's longer side, which gives flat things more room above. What spans the picture from edge to
    edge, a sky or a floor, is background: its outline is made by what stands before it, so its mask only grows by a
    tenth of `fraction` of the picture's longer side, or a seam of it would stay around those things. With a `fraction`
    of 0 everything stays.
    """
    mask = region.mask
    if mask is None or not mask.any() or fraction <= 0:
        return region
    height, width = mask.shape
    x0, y0, x1, y1 = mask_box(mask)
    if (x0 <= 0 and x1 >= width) or (y0 <= 0 and y1 >= height):
        return replace(region, mask=grow(mask, 0.0, at_least=fraction / 10 * max(width, height)))
    x0, y0, x1, y1 = (x0, y0, x1, y1) if region.box is None else _around_both((x0, y0, x1, y1), region.box)
    room = grow_box((x0, y0, x1, y1), (width, height), 0.0, at_least=fraction * max(x1 - x0, y1 - y0))
    return replace(region, mask=np.maximum(mask, box_mask(room, (width, height))))


def with_margin(region: Region) -> Region:
    """The region with a mask that is MARGIN wider all around: found outlines run just inside the thing, and a fringe of
    it would stay as it was. It must have a mask."""
    mask = region.mask
    if mask is None or not mask.any():
        return region
    return replace(region, mask=grow(mask, 0.0, at_least=max(MARGIN * math.sqrt(float((mask > 0).sum())), 1.0)))


def feather(mask: Mask, pixels: float, *, in_place: bool = False) -> Mask:
    """The mask with a soft edge that runs inward: 0 stays 0, so nothing outside the region is touched.

    The strength rises linearly from the region's edge and is full `pixels` inside. In a part that is too thin for that
    the ramp is shortened so that the middle of the part is reached in full. At the picture's border there is no ramp.
    The mask itself is left as it is, unless `in_place` is set.
    """
    window = _around(mask) if pixels > 0 and not mask.min() > 0 else None
    if window is None:
        return mask
    inside = mask[window] > 0
    depth = _depths(inside, math.ceil(pixels) + 1)
    parts, count = _labels(inside)
    del inside
    deepest = np.ones(count + 1, depth.dtype)
    for rows in bands(*depth.shape):
        np.maximum.at(deepest, parts[rows].ravel(), depth[rows].ravel())
    ramp = np.minimum(deepest.astype(np.float32), np.float32(pixels + 1))
    out = mask if in_place else np.zeros(mask.shape, np.float32)
    source, target = mask[window], out[window]
    for rows in bands(*depth.shape):
        target[rows] = source[rows] * np.minimum(depth[rows].astype(np.float64) / ramp[parts[rows]], 1)
    return out


def union(masks: Iterable[Mask]) -> Mask:
    """The mask of what is in any of the masks (maximum), a single one as it is. ValueError when there is none."""
    first, *rest = masks
    if not rest:
        return first
    # What is nowhere set is never written to, and so takes no memory: masks of large photographs are mostly that.
    out = np.zeros(first.shape, first.dtype)
    for mask in (first, *rest):
        window = _around(mask)
        if window is not None:
            np.maximum(out[window], mask[window], out=out[window])
    return out


def intersection(masks: Iterable[Mask]) -> Mask:
    """The mask of what is in all of the masks (minimum); may be empty. ValueError when there is none."""
    first, *rest = masks
    out = first.copy()
    for mask in rest:
        np.minimum(out, mask, out=out)
    return out


def any_set(masks: Iterable[Mask]) -> np.ndarray:
    """Where any of the masks is set (more than 0), `(H, W)` bool. ValueError when there is none."""
    first, *rest = masks
    out = np.zeros(first.shape, bool)
    for mask in (first, *rest):
        window = _around(mask)
        if window is not None:
            out[window] |= mask[window] > 0
    return out


def moved(mask: Mask, right: int, down: int) -> Mask:
    """The mask moved by so many pixels (negative: to the left, upwards); what leaves the picture is lost."""
    out = np.zeros_like(mask)
    height, width = mask.shape
    if abs(right) < width and abs(down) < height:
        to = slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0))
        of = slice(max(-down, 0), height - max(down, 0)), slice(max(-right, 0), width - max(right, 0))
        out[to] = mask[of]
    return out


def minus(mask: Mask, other: Mask) -> Mask:
    """The mask of what is in `mask` but not in `other`; may be empty."""
    return np.minimum(mask, 1 - other)


def _pixels(low: float, high: float, side: int) -> tuple[int, int]:
    first, last = math.floor(low + 0.5), math.floor(high + 0.5)
    if last <= first:
        first = math.floor((low + high) / 2)
        last = first + 1
    first = min(max(first, 0), side - 1)
    return first, max(min(last, side), first + 1)


def _around_both(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _pool_max(mask: np.ndarray, step: int) -> np.ndarray:
    """The boolean mask reduced by `step`: a cell is set when any pixel in it is."""
    if step == 1:
        return mask
    rows = np.logical_or.reduceat(mask, np.arange(0, mask.shape[0], step), axis=0)
    return np.logical_or.reduceat(rows, np.arange(0, mask.shape[1], step), axis=1)


def _around(mask: Mask) -> tuple[slice, slice] | None:
    """The window of the mask's box and one pixel around it, which keeps work local; None if it is empty."""
    if not mask.any():
        return None
    x0, y0, x1, y1 = (int(v) for v in mask_box(mask))
    return np.s_[max(y0 - 1, 0) : y1 + 1, max(x0 - 1, 0) : x1 + 1]


def _depths(inside: np.ndarray, limit: int) -> np.ndarray:
    """How many pixels deep each pixel lies inside, diagonals counting as one, no more than `limit`; 0 outside."""
    height, width = inside.shape
    out = np.empty(inside.shape, np.min_scalar_type(limit))
    for rows in bands(height, width, 4 * BAND_PIXELS):
        top = max(rows.start - limit, 0)
        depth = _depths_of_band(inside[top : rows.stop + limit], limit)
        out[rows] = depth[rows.start - top : rows.stop - top]
    return out


def _depths_of_band(inside: np.ndarray, limit: int) -> np.ndarray:
    from scipy import ndimage

    if limit > 12:
        depth = ndimage.distance_transform_cdt(inside)
        depth[depth < 0] = limit  # where nothing around is outside
        return np.minimum(depth, limit)
    # Peeled off layer by layer: exact distances take as long as a dozen layers.
    layer = inside.astype(np.uint8)
    depth = layer.copy()
    for _ in range(limit - 1):
        layer = ndimage.minimum_filter(layer, size=3, mode="nearest")
        if not layer.any():
            break
        depth += layer
    return depth


def _labels(inside: np.ndarray) -> tuple[np.ndarray, int]:
    """The number of the connected part, corners included, that each pixel belongs to (0: none), and how many there
    are."""
    from scipy import ndimage

    corners = np.ones((3, 3))
    try:
        parts = np.empty(inside.shape, np.uint16)
        return parts, ndimage.label(inside, structure=corners, output=parts)
    except RuntimeError:  # more parts than that
        return ndimage.label(inside, structure=corners)
