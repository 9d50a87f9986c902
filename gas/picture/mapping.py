"""A change of colours that depends on a pixel's own colour alone, applied to a whole picture through a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures
from PIL import ImageFilter

from gas.picture.oklab import Array, decoded, encoded, in_gamut, lab_to_linear, linear_to_lab, to_linear

if TYPE_CHECKING:
    from gas.types import Image, Mask

TABLE = 33
"""Points along each channel of the table; between them it is linear, which is off by a level or two of 255."""
BAND = 512
"""Rows that are mixed at once, so that a large picture needs no second copy in floats."""


def mapped(image: Image, change: Callable[[Array], Array]) -> Image:
    """`image` `(H, W, 3)` with every colour changed by `change`, a function of OKLab colours `(n, 3)`.

    Colours that sRGB does not have lose chroma. Ten megapixels take a third of a second.
    """
    steps = np.linspace(0, 1, TABLE)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    grid = decoded(np.stack([red, green, blue], axis=-1).reshape(-1, 3))
    new = encoded(lab_to_linear(in_gamut(change(linear_to_lab(grid)))))
    table = ImageFilter.Color3DLUT(TABLE, new.ravel().tolist())
    return np.asarray(Pictures.fromarray(np.ascontiguousarray(image)).filter(table))


def mixed(before: Image, after: Image, alpha: Mask) -> Image:
    """`after` over `before`, mixed in linear light; where `alpha` `(H, W)` is 0 it is `before`, bit for bit."""
    out = before.copy()
    for top in range(0, len(before), BAND):
        rows = np.s_[top : top + BAND]
        share = alpha[rows]
        full, some = share >= 1, (share > 0) & (share < 1)
        out[rows][full] = after[rows][full]
        if some.any():
            old, new = to_linear(before[rows][some]), to_linear(after[rows][some])
            out[rows][some] = np.rint(255 * encoded(old + share[some][:, None] * (new - old))).astype(np.uint8)
    return out
