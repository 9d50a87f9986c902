"""A mask made of others: put together, cut out of, grown, shrunk, turned inside out, softened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures

from gas import files, masks
from gas.bands import bands
from gas.errors import InputRefused

if TYPE_CHECKING:
    from gas.types import Mask


def own_mask(
    parts: Sequence[Mask],
    *,
    minus: Sequence[Mask] = (),
    invert: bool = False,
    grow: float = 0,
    shrink: float = 0,
    feather: float = 0,
) -> Mask:
    """The mask `(H, W)` of what is in any of `parts` and in none of `minus`; then, in this order, inverted, grown and
    shrunk by so many pixels, and given a soft edge of `feather` pixels that runs inward.

    All are of one size. InputRefused (exit 3) when another size is among them, or nothing is left.
    """
    sizes = {(one.shape[1], one.shape[0]) for one in (*parts, *minus)}
    if len(sizes) > 1:
        shown = " and ".join(f"{width}x{height}" for width, height in sorted(sizes))
        raise InputRefused(f"the masks are of {shown} pixels", "give masks of one picture")
    out = masks.union(parts)
    for one in minus:
        out = masks.minus(out, one)
    if invert:
        out = 1 - out
    if grow > 0:
        out = masks.grow(out, 0.0, at_least=grow)
    if out.any() and shrink > 0:
        out = 1 - masks.grow(1 - out, 0.0, at_least=shrink)
    if not out.any():
        raise InputRefused("nothing is left of the mask", "take less away, or shrink it less")
    return masks.feather(out, feather)


def write_mask(path: Path, mask: Mask, *, overwrite: bool = False) -> None:
    """Writes a mask as a grey PNG of 8 bits, white = edit here. Errors as `files.atomic`."""
    levels = np.empty(mask.shape, np.uint8)
    for rows in bands(*mask.shape):
        np.rint(mask[rows] * 255, out=levels[rows], casting="unsafe")
    with files.atomic(path, overwrite=overwrite) as stream:
        Pictures.fromarray(levels).save(stream, "PNG")
