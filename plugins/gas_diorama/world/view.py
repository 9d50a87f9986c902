"""Which part of a scene's plane a picture shows: the usual one of 128x128 pixels, or a larger one around it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gas_diorama.world.scene import SIZE, Thing


@dataclass(frozen=True)
class View:
    """A rectangle of the plane that scenes are drawn on: its left top corner (`x`, `y`), `width` and `height` in
    pixels. Things, horizon and patterns stand where they are, whatever the view."""

    x: int = 0
    y: int = 0
    width: int = SIZE
    height: int = SIZE

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a picture of it."""
        return self.height, self.width

    @cached_property
    def rows(self) -> NDArray[np.float32]:
        """For each pixel its middle's row in the plane, `shape`."""
        return np.mgrid[self.y : self.y + self.height, 0 : self.width][0].astype(np.float32) + np.float32(0.5)

    @cached_property
    def columns(self) -> NDArray[np.float32]:
        """For each pixel its middle's column in the plane, `shape`."""
        return np.mgrid[0 : self.height, self.x : self.x + self.width][1].astype(np.float32) + np.float32(0.5)

    def window(self, thing: Thing) -> tuple[slice, slice]:
        """Rows and columns of a picture that the thing's square lies in, with a margin of two pixels; empty where it is
        out of view."""
        x0, y0, x1, y1 = thing.box
        return _within(y0 - 2 - self.y, y1 + 2 - self.y, self.height), _within(
            x0 - 2 - self.x, x1 + 2 - self.x, self.width
        )

    def of(self, other: View) -> tuple[slice, slice]:
        """Rows and columns of a picture of the view `other` that this view, which lies within it, shows."""
        x, y = self.x - other.x, self.y - other.y
        return slice(y, y + self.height), slice(x, x + self.width)


HOME = View()
"""What all pictures show that the networks were trained on."""


def _within(first: int, last: int, side: int) -> slice:
    first = min(max(first, 0), side)
    return slice(first, max(min(last, side), first))
