"""A picture larger than its model likes, in overlapping tiles: encoded, predicted and decoded tile by tile, each cell
the weighted mean of the tiles that show it (MultiDiffusion, Bar-Tal et al. 2023, arXiv 2302.08113).

No network is given more than one tile, so what the networks need does not grow with the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gas.diffusion.masks import Cells

if TYPE_CHECKING:
    from gas.diffusion.backbone import Backbone
    from gas.types import Image

_FAINTEST = 0.01
"""Least weight of a tile along each side, so that every cell that a tile shows is known. Not of the product, in which
neighbours would count the same, and end abruptly, at the border of the picture."""


@dataclass(frozen=True)
class Tiling:
    """Tiles of a grid of `size` (h, w), squares of `side` cells, or as large as the grid where that is smaller.

    They are evenly spaced, neighbours share at least the share `overlap` of a side, and together they cover the grid.
    `shift` (down, across) moves all but the outermost by so many shares of a half of what neighbours share, each in
    [-1, 1]: tiles that lie elsewhere at every step leave no pattern (the jitter of DemoFusion, Du et al. 2023, arXiv
    2311.16973).
    """

    size: tuple[int, int]
    side: int
    overlap: float = 0.5
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def tile_size(self) -> tuple[int, int]:
        """Rows and columns of each tile."""
        return min(self.side, self.size[0]), min(self.side, self.size[1])

    @cached_property
    def rows(self) -> tuple[tuple[Cells, ...], ...]:
        """The tiles, row by row from the top, each row from the left."""
        (h, w), (height, width) = self.size, self.tile_size
        return tuple(
            tuple((x, y, x + width, y + height) for x in _starts(w, width, self.overlap, self.shift[1]))
            for y in _starts(h, height, self.overlap, self.shift[0])
        )

    @property
    def tiles(self) -> tuple[Cells, ...]:
        """All tiles."""
        return tuple(tile for row in self.rows for tile in row)

    def showing(self, mask: Tensor) -> tuple[Cells, ...]:
        """The tiles in which a `mask` `(1, 1, h, w)` is set anywhere."""
        return tuple(tile for tile in self.tiles if bool((part(mask, tile) > 0).any()))

    @cached_property
    def window(self) -> Tensor:
        """How much a tile counts in each of its cells, `(1, 1, *tile_size)`: most in its middle, next to nothing at its
        border, so that no border of a tile shows."""
        return tile_window(self.tile_size)

    def weights(self, tiles: tuple[Cells, ...]) -> Tensor:
        """The sum of these tiles' windows, `(1, 1, h, w)`; 0 where none of them is."""
        out = torch.zeros(1, 1, *self.size)
        for tile in tiles:
            part(out, tile).add_(self.window)
        return out


def tile_window(size: tuple[int, int]) -> Tensor:
    """`(1, 1, h, w)`: the product of a sine squared over each side, which is at least 0.01."""
    down, across = (torch.sin(math.pi * (torch.arange(side) + 0.5) / side).square() for side in size)
    return torch.outer(down.clamp(min=_FAINTEST), across.clamp(min=_FAINTEST))[None, None]


def part(z: Tensor, tile: Cells) -> Tensor:
    """What a tile shows of `(n, C, h, w)`: a view."""
    x0, y0, x1, y1 = tile
    return z[..., y0:y1, x0:x1]


@torch.no_grad()
def encode(model: Backbone, image: Image, tiling: Tiling) -> Tensor:
    """The latent `(1, C, h, w)` of a picture `(h·factor, w·factor, 3)` uint8."""
    total: Tensor | None = None
    for tile in tiling.tiles:
        z = model.encode(np.ascontiguousarray(image[_pixels(tile, model.factor)]))
        if total is None:
            total = z.new_zeros(1, z.shape[1], *tiling.size)
        part(total, tile).add_(tiling.window.to(z) * z)
    assert total is not None  # a tiling has a tile
    return total / tiling.weights(tiling.tiles).to(total)


def decode(model: Backbone, z: Tensor, tiling: Tiling) -> Image:
    """The picture `(h·factor, w·factor, 3)` uint8 of a latent `(1, C, h, w)`."""
    factor = model.factor
    image = np.empty((tiling.size[0] * factor, tiling.size[1] * factor, 3), np.uint8)
    for rows, pixels in _decoded(lambda tile: model.decode(part(z, tile)), tiling, factor):
        image[rows] = pixels
    return image


def _decoded(make: Callable[[Cells], Image], tiling: Tiling, factor: int) -> Iterator[tuple[slice, Image]]:
    """Rows of the picture, as soon as no tile below adds to them: no more than one row of tiles is kept."""
    height, width = (side * factor for side in tiling.tile_size)
    window = tile_window((height, width))[0, 0].numpy()[..., None]
    total = np.zeros((height, tiling.size[1] * factor, 3), np.float32)
    weight = np.zeros((height, tiling.size[1] * factor, 1), np.float32)
    starts = [row[0][1] * factor for row in tiling.rows]
    for row, start, following in zip(tiling.rows, starts, [*starts[1:], None], strict=True):
        for tile in row:
            here = slice(tile[0] * factor, tile[0] * factor + width)
            total[:, here] += window * make(tile)
            weight[:, here] += window
        done = height if following is None else following - start
        yield slice(start, start + done), np.rint(total[:done] / weight[:done]).astype(np.uint8)
        for kept in (total, weight):
            kept[: height - done] = kept[done:].copy()
            kept[height - done :] = 0


def _pixels(tile: Cells, factor: int) -> tuple[slice, slice]:
    x0, y0, x1, y1 = (side * factor for side in tile)
    return slice(y0, y1), slice(x0, x1)


def _starts(length: int, side: int, overlap: float, shift: float) -> list[int]:
    """Where tiles of a `side` begin that cover a `length`."""
    room = length - side
    if not room:
        return [0]
    count = math.ceil(room / max(side * (1 - overlap), 1)) + 1
    step = room / (count - 1)
    moved = shift * min(side - step, step) / 2
    inner = [round(number * step + moved) for number in range(1, count - 1)]
    return [0, *inner, room]
