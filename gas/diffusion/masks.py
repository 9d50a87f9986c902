"""From masks and boxes in pixels to masks and boxes on the latent grid: the only place where that is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from gas.types import Box, Mask

Cells = tuple[int, int, int, int]
"""Box `(x0, y0, x1, y1)` in cells of a grid, x1 and y1 exclusive, never empty."""


def latent_mask(mask: Mask, size: tuple[int, int]) -> Tensor:
    """`(1, 1, h, w)` float32 in [0, 1] for a pixel mask `(H, W)`: the share of each cell that the mask covers.

    A mask thinner than a cell would come out faint and the edit would silently do next to nothing, so the result is
    scaled until its largest value is the mask's own. It is never empty; ValueError for a mask that is.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32))[None, None]
    peak = float(pixels.max())
    if not np.isfinite(peak) or peak <= 0 or float(pixels.min()) < 0:
        raise ValueError("a mask must be finite, not negative and not empty")
    covered = F.adaptive_avg_pool2d(pixels, size)
    return (covered * (peak / covered.max())).clamp(max=1.0)


def cells_mask(cells: Cells, size: tuple[int, int]) -> Tensor:
    """`(1, 1, h, w)` float32: 1 inside the box, 0 outside."""
    x0, y0, x1, y1 = cells
    mask = torch.zeros(1, 1, *size)
    mask[..., y0:y1, x0:x1] = 1
    return mask


def box_cells(box: Box, image_size: tuple[int, int], size: tuple[int, int]) -> Cells:
    """The cells of a `size` = (h, w) grid that a pixel box of an `image_size` = (H, W) picture rounds to (half to
    even, as the reference code of Ground-A-Score does), at least one in each direction and inside the grid."""
    (height, width), (h, w) = image_size, size
    x0, x1 = _span(round(box[0] / width * w), round(box[2] / width * w), w, 1)
    y0, y1 = _span(round(box[1] / height * h), round(box[3] / height * h), h, 1)
    return x0, y0, x1, y1


def crop_cells(cells: Cells, size: tuple[int, int], grid: tuple[int, int], smallest: int = 1) -> Cells:
    """`cells` of a `size` grid carried over to a coarser `grid`, at least `smallest` cells in each direction (or all
    there are).

    The reference code of Ground-A-Score leaves the grid at the right and lower border and then dies on an empty crop.
    """
    (h, w), (rows, columns) = size, grid
    x0, y0, x1, y1 = cells
    left, right = _span(round(x0 * columns / w), round(x1 * columns / w), columns, smallest)
    top, bottom = _span(round(y0 * rows / h), round(y1 * rows / h), rows, smallest)
    return left, top, right, bottom


def bounding_cells(mask: Tensor) -> Cells:
    """The smallest box around all cells of a `(1, 1, h, w)` mask that are not 0."""
    places = mask[0, 0].nonzero()
    (y0, x0), (y1, x1) = places.amin(0).tolist(), places.amax(0).tolist()
    return x0, y0, x1 + 1, y1 + 1


def weaken_overlaps(
    masks: Sequence[Tensor], factor: float, mode: Literal["assign", "multiply"] = "assign"
) -> list[Tensor]:
    """The masks, one for each subtask and all of one shape, each less where smaller ones overlap it.

    Where two overlap the larger one keeps its share `factor` (Ground-A-Score, supplement 6.1: 0.3). Under several
    smaller ones it does so once ("assign", as the reference code) or once for each ("multiply"). Masks of equal size
    weaken neither.
    """
    sizes = [float(mask.double().sum()) for mask in masks]
    out = []
    for own, size in zip(masks, sizes, strict=True):
        smaller = [mask for mask, other in zip(masks, sizes, strict=True) if other < size]
        if not smaller:
            out.append(own)
        elif mode == "assign":
            out.append(own * (1 - (1 - factor) * torch.stack(smaller).amax(0)))
        else:
            out.append(own * (1 - (1 - factor) * torch.stack(smaller)).prod(0))
    return out


def _span(start: int, stop: int, length: int, smallest: int) -> tuple[int, int]:
    """A range inside `0..length` that begins at `start` where it can and is at least `smallest` long where it can
    be."""
    smallest = min(smallest, length)
    start = min(max(start, 0), length - smallest)
    return start, max(min(stop, length), start + smallest)
