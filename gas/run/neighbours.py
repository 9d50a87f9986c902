"""Which turns of a grounded run show in the picture of which: those whose regions meet, and no others.

So a turn depends on what is done at its own place and around it alone, and a turn far away may be changed without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from gas.types import Mask

_CELLS = 32
"""Places are compared in cells of this share of the picture's longer side."""


def turns_seen(masks: Sequence[Mask]) -> list[tuple[int, ...]]:
    """For each turn, by its mask `(H, W)` in the order of the turns, the earlier ones that show in its picture: those
    whose regions meet its own, and what shows in theirs.

    Regions meet where they overlap or lie in neighbouring cells of a grid of 32 along the longer side: always within
    one such cell of each other, never beyond two.
    """
    cells = [_cells(mask) for mask in masks]
    around = [ndimage.binary_dilation(one, np.ones((3, 3), bool)) for one in cells]
    seen: list[set[int]] = []
    for turn in range(len(masks)):
        own: set[int] = set()
        for earlier in range(turn):
            if (around[turn] & cells[earlier]).any():
                own |= {earlier, *seen[earlier]}
        seen.append(own)
    return [tuple(sorted(one)) for one in seen]


def _cells(mask: Mask) -> np.ndarray:
    """In which cells of the grid anything is set."""
    height, width = mask.shape
    side = max(-(-max(height, width) // _CELLS), 1)
    rows = np.maximum.reduceat(mask > 0, np.arange(0, height, side), axis=0)
    return np.maximum.reduceat(rows, np.arange(0, width, side), axis=1)
