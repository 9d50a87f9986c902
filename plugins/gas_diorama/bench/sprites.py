"""Every kind x colour x scale of a thing in one place, moved about: what the judge compares outputs with."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gas_diorama.world.world import COLOURS, KINDS, Scene, Thing, View, render, silhouette

Array = NDArray[np.float32]
Picture = NDArray[np.uint8]

SHIFTS = tuple(itertools.product(range(-4, 5, 2), repeat=2))
"""Rows and columns by which renderings are moved: up to 4 pixels, in steps below the thinnest thing's 3."""
SCALES = (0.9, 1.0, 1.1)
_PAD = 16  # room around the picture, so that sprites may stand partly outside


@dataclass(frozen=True)
class Sprites:
    """Every kind x colour x scale of a thing in one place, on a padded window of (h, w) pixels at no shift."""

    names: list[str]  # one per kind x colour
    layer: Picture  # (names, scales, h * w * 3): what the thing adds to a black picture
    cover: Array  # (kinds, scales, h * w)
    window: tuple[int, int, int, int]  # row, column, height, width in the padded picture
    fixed: NDArray[
        np.float64
    ]  # (shifts, names, scales): the squared norm of what the rendering changes inside the region

    def of_kind(self, per_kind: NDArray[Any]) -> NDArray[Any]:
        """(shifts, kinds, scales) repeated to (shifts, names, scales)."""
        return np.repeat(per_kind, len(COLOURS), axis=1)


def sprites(scene: Scene, thing: Thing, front: Array, behind: Array, view: View) -> Sprites:
    """The sprites of every kind x colour x scale on `thing`'s base line, with that place's own tint, in pixels of the
    view; the thing stands well within it.

    Where a larger one would stand out of the picture it is drawn a pixel or three inside, and moved back.
    """
    sizes = [round(thing.size * scale) for scale in SCALES]
    margin = max(sizes) // 2 + 3
    row, column = thing.y - view.y - max(sizes) - 3, thing.x - view.x - margin
    window = _PAD + row, _PAD + column, max(sizes) + 6, 2 * margin
    empty = replace(scene, objects=())
    backdrop = render(empty, view).astype(np.float32)

    def place(picture: Array, dx: int, dy: int) -> Array:
        padded = np.pad(picture, [(_PAD, _PAD), (_PAD, _PAD), *[(0, 0)] * (picture.ndim - 2)])
        row, column, height, width = window
        return padded[row - dy : row - dy + height, column - dx : column - dx + width]

    layers, covers, names = [], [], []
    for kind in KINDS:
        drawn = []
        for size in sizes:
            half = size // 2
            x = min(max(thing.x, view.x + half + 1), view.x + view.width - size + half - 1)
            y = max(thing.y, view.y + size + 1)
            drawn.append((replace(thing, kind=kind, size=size, x=x, y=y), thing.x - x, thing.y - y))
        shapes = [silhouette(one, view) for one, _, _ in drawn]
        covers.append(np.stack([place(c, dx, dy).ravel() for c, (_, dx, dy) in zip(shapes, drawn, strict=True)]))
        for colour in COLOURS:
            names.append(f"{colour} {kind}")
            rows = []
            for shape, (one, dx, dy) in zip(shapes, drawn, strict=True):
                alone = render(replace(scene, objects=(replace(one, colour=colour),)), view)
                rows.append(place(alone - backdrop * (1 - shape[..., None]), dx, dy).ravel())
            layers.append(np.stack(rows))
    layer = np.clip(np.rint(np.stack(layers)), 0, 255).astype(np.uint8)
    cover = np.stack(covers)

    pixels = layer.reshape(len(names), len(SCALES), -1, 3).astype(np.float32)
    per_name = np.repeat(cover, len(COLOURS), axis=0)
    weight = front**2
    flat = len(names) * len(SCALES)
    squared = windows(weight, window) @ (pixels**2).sum(-1).reshape(flat, -1).T
    crossed = windows(weight[..., None] * behind, window) @ (pixels * per_name[..., None]).reshape(flat, -1).T
    covered = windows(weight * (behind**2).sum(-1), window) @ (per_name**2).reshape(flat, -1).T
    fixed = (squared - 2 * crossed + covered).reshape(len(SHIFTS), len(names), len(SCALES)).astype(np.float64)
    return Sprites(names, layer, cover, window, fixed)


def windows(picture: Array, window: tuple[int, int, int, int]) -> Array:
    """(shifts, h * w * channels): what lies under the window when the sprite in it is moved by each of SHIFTS."""
    extra = max(abs(step) for shift in SHIFTS for step in shift)
    pad = _PAD + extra
    padded = np.pad(picture, [(pad, pad), (pad, pad), *[(0, 0)] * (picture.ndim - 2)])
    row, column, height, width = window
    row, column = row + extra, column + extra
    return np.stack([padded[row + a : row + a + height, column + b : column + b + width].ravel() for a, b in SHIFTS])
