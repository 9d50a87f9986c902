"""Masks as run-length code, for records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from gas.bands import bands
from gas.errors import InputRefused
from gas.masks import from_levels
from gas.remedies import Command, Remedy

if TYPE_CHECKING:
    from gas.types import Mask

MAX_PIXELS = 200_000_000
_AGAIN = Remedy("mask_again", "make the mask again with {ground}", ground=Command("ground"))


class RLE(BaseModel):
    """A mask as run lengths: COCO's uncompressed form, columns first, the first run (perhaps 0) being unset pixels.

    `size` is `[height, width]`. A soft mask has `levels`: the level (0..255) of each run, one for each of `counts`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[int, int]
    counts: tuple[int, ...]
    levels: tuple[int, ...] | None = None


def encode_rle(mask: Mask) -> RLE:
    """The run lengths of a mask with levels in steps of 1/255 (as `check_mask` leaves it)."""
    height, width = mask.shape
    columns = np.empty((width, height), np.uint8)
    for rows in bands(height, width):
        np.rint(np.asarray(mask[rows], np.float32) * 255, out=columns.T[rows], casting="unsafe")
    flat = columns.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    counts = np.diff(np.concatenate([starts, [flat.size]]))
    levels = flat[starts]
    if np.isin(levels, (0, 255)).all():
        if levels[0]:
            counts = np.concatenate([[0], counts])
        return RLE(size=(height, width), counts=tuple(counts.tolist()))
    return RLE(size=(height, width), counts=tuple(counts.tolist()), levels=tuple(levels.tolist()))


def decode_rle(rle: RLE) -> Mask:
    """The mask `(H, W)` of run lengths. InputRefused when they do not fit their size, or it is beyond `MAX_PIXELS`."""
    height, width = rle.size
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise InputRefused(f"run lengths of a mask of {width}x{height} pixels", f"at most {MAX_PIXELS} pixels are read")
    if any(c < 0 for c in rle.counts) or sum(rle.counts) != height * width:
        raise InputRefused(f"run lengths do not add up to {width}x{height} pixels", _AGAIN)
    if rle.levels is None:
        levels = np.arange(len(rle.counts), dtype=np.int64) % 2 * 255
    elif len(rle.levels) == len(rle.counts) and all(0 <= v <= 255 for v in rle.levels):
        levels = np.asarray(rle.levels)
    else:
        raise InputRefused("run lengths need one level from 0 to 255 each", _AGAIN)
    flat = np.repeat(levels.astype(np.uint8), np.asarray(rle.counts, np.int64))
    return from_levels(flat.reshape((height, width), order="F"))
