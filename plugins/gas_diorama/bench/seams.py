"""Whether an edit's border shows: steps between pixels that were pasted and their neighbours that were not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Seam:
    """Steps across the border of what was pasted, in levels of 255, the largest of the three channels.

    * step, before: at the place where the step grew most, after the edit and before it.
    * rise: how much steps grew in the mean; below 0 where they became smaller.
    """

    step: float
    before: float
    rise: float


def seam(before: Picture, after: Picture, mask: NDArray[np.float32]) -> Seam | None:
    """The seam around what was pasted through `mask` (h, w), above 0 where anything was, into `before`, both pictures
    uint8 (h, w, 3). None where nothing or everything was pasted."""
    pasted = mask > 0
    grown: list[NDArray[np.float64]] = []
    for axis in (0, 1):
        border = np.diff(pasted, axis=axis)
        steps = [np.abs(np.diff(one.astype(np.int16), axis=axis)).max(axis=2)[border] for one in (after, before)]
        grown.append(np.stack(steps).astype(np.float64))
    pairs = np.concatenate(grown, axis=1)
    if not pairs.size:
        return None
    rises = pairs[0] - pairs[1]
    worst = int(rises.argmax())
    return Seam(float(pairs[0, worst]), float(pairs[1, worst]), float(rises.mean()))
