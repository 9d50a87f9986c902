"""Pictures and exact masks of scenes, by signed distances in numpy: smooth edges, no randomness, about a
millisecond."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gas_diorama.world.scene import CELL, SIZE, Edit, Scene, Thing, apply
from gas_diorama.world.view import HOME, View

Array = NDArray[np.float32]
Part = tuple[Array, tuple[float, float, float] | None, float]
"""Signed distance in pixels (negative inside), paint (None: the thing's own colour), brightness of the paint."""

PAINT = {
    "red": (214, 36, 40),
    "yellow": (255, 218, 22),
    "green": (8, 128, 62),
    "blue": (34, 66, 214),
    "purple": (146, 46, 178),
    "white": (250, 250, 250),
}
"""RGB of the six colours, away from every ground and sky."""
GROUND_PAINT = {"grass": (140, 192, 78), "snow": (222, 232, 242), "sand": (214, 176, 124), "water": (64, 160, 196)}
SKY_PAINT = {  # top of the picture, horizon
    "clear": ((112, 182, 244), (206, 232, 252)),
    "sunset": ((150, 84, 140), (255, 168, 84)),
    "night": ((14, 18, 46), (52, 60, 110)),
}
_DARK = (44.0, 40.0, 44.0)
_BROWN = (112.0, 72.0, 40.0)
_GLASS = (190.0, 222.0, 240.0)
_ORANGE = (244.0, 134.0, 30.0)
_RIM = 3.0
"""Thickness in pixels of the darker rim that sets a thing off from its ground."""


def _disc(p: Array, q: Array, x: float, y: float, r: float) -> Array:
    return np.hypot(p - x, q - y) - r


def _slab(p: Array, q: Array, x0: float, x1: float, y0: float, y1: float, r: float = 0.0) -> Array:
    """Distance to a box with corners rounded by r."""
    a = np.abs(p - (x0 + x1) / 2) - (x1 - x0) / 2 + r
    b = np.abs(q - (y0 + y1) / 2) - (y1 - y0) / 2 + r
    return np.hypot(np.maximum(a, 0), np.maximum(b, 0)) + np.minimum(np.maximum(a, b), 0) - r


def _polygon(p: Array, q: Array, *corners: tuple[float, float]) -> Array:
    """Distance (a lower bound near corners) to a convex polygon whose corners run counter-clockwise, q upwards."""
    distance = np.full_like(p, -np.inf)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        dx, dy = x1 - x0, y1 - y0
        distance = np.maximum(distance, ((p - x0) * dy - (q - y0) * dx) / float(np.hypot(dx, dy)))
    return distance


Own = None


def _car(p: Array, q: Array) -> list[Part]:
    cabin = _polygon(p, q, (-0.36, 0.38), (0.36, 0.38), (0.24, 0.76), (-0.22, 0.76))
    body = np.minimum(_slab(p, q, -0.5, 0.5, 0.14, 0.48, 0.1), cabin)
    glass = _polygon(p, q, (-0.24, 0.48), (0.24, 0.48), (0.16, 0.67), (-0.15, 0.67))
    parts: list[Part] = [(body, Own, 1.0), (glass, _GLASS, 1.0)]
    for x in (-0.27, 0.27):
        parts += [(_disc(p, q, x, 0.17, 0.17), _DARK, 1.0), (_disc(p, q, x, 0.17, 0.075), _GLASS, 0.9)]
    return parts


def _house(p: Array, q: Array) -> list[Part]:
    return [
        (_slab(p, q, -0.38, 0.38, 0.0, 0.6), Own, 1.0),
        (_polygon(p, q, (-0.5, 0.52), (0.5, 0.52), (0.0, 1.0)), Own, 0.62),
        (_slab(p, q, -0.26, -0.02, 0.0, 0.36), _BROWN, 1.0),
        (_slab(p, q, 0.08, 0.28, 0.2, 0.4), _GLASS, 1.0),
    ]


def _tree(p: Array, q: Array) -> list[Part]:
    crown = _disc(p, q, 0.0, 0.7, 0.3)
    for x in (-0.24, 0.24):
        crown = np.minimum(crown, _disc(p, q, x, 0.54, 0.25))
    return [(_slab(p, q, -0.1, 0.1, 0.0, 0.45), _BROWN, 1.0), (crown, Own, 1.0)]


def _ball(p: Array, q: Array) -> list[Part]:
    whole = _disc(p, q, 0.0, 0.4, 0.4)
    band = np.maximum(whole + 0.02, np.abs(q - 0.4 - 0.25 * p) - 0.1)
    return [(whole, Own, 1.0), (band, Own, 0.6)]


def _igloo(p: Array, q: Array) -> list[Part]:
    dome = np.maximum(_disc(p, q, 0.0, 0.08, 0.5), -q)
    porch = np.minimum(_disc(p, q, 0.0, 0.2, 0.23), _slab(p, q, -0.23, 0.23, 0.0, 0.2))
    gate = np.minimum(_disc(p, q, 0.0, 0.19, 0.13), _slab(p, q, -0.13, 0.13, 0.0, 0.19))
    course = np.maximum(dome + 0.03, np.abs(q - 0.33) - 0.07)
    return [
        (dome, Own, 1.0),
        (course, Own, 0.8),
        (np.maximum(porch, -q), Own, 0.66),
        (np.maximum(gate, -q), _DARK, 1.0),
    ]


def _snowman(p: Array, q: Array) -> list[Part]:
    body = np.minimum(_disc(p, q, 0.0, 0.29, 0.29), _disc(p, q, 0.0, 0.64, 0.2))
    return [
        (body, Own, 1.0),
        (_slab(p, q, -0.13, 0.13, 0.8, 1.0), _DARK, 1.0),
        (_slab(p, q, -0.24, 0.24, 0.75, 0.89), _DARK, 1.0),
        (_disc(p, q, 0.0, 0.62, 0.08), _ORANGE, 1.0),
    ]


def _tent(p: Array, q: Array) -> list[Part]:
    return [
        (_polygon(p, q, (-0.5, 0.0), (0.5, 0.0), (0.0, 0.8)), Own, 1.0),
        (_polygon(p, q, (0.0, 0.0), (0.5, 0.0), (0.0, 0.8)), Own, 0.66),
        (_polygon(p, q, (-0.2, 0.0), (0.2, 0.0), (0.0, 0.5)), _DARK, 1.0),
    ]


def _balloon(p: Array, q: Array) -> list[Part]:
    envelope = _disc(p, q, 0.0, 0.66, 0.34)
    skirt = _polygon(p, q, (-0.11, 0.2), (0.11, 0.2), (0.29, 0.48), (-0.29, 0.48))
    panel = np.hypot(p * 2.4, q - 0.66) - 0.34
    return [
        (skirt, Own, 0.66),
        (envelope, Own, 1.0),
        (np.maximum(panel / 2.4, envelope), Own, 0.74),
        (_slab(p, q, -0.15, 0.15, 0.0, 0.2, 0.02), _BROWN, 1.0),
    ]


_SHAPES: dict[str, Callable[[Array, Array], list[Part]]] = {
    "car": _car,
    "house": _house,
    "tree": _tree,
    "ball": _ball,
    "igloo": _igloo,
    "snowman": _snowman,
    "tent": _tent,
    "balloon": _balloon,
}


# The judge draws every kind and colour of a thing in one place: what the pictures have in common is kept, for readers
# only. A number of another type gives other bytes (`repr`, rounding), so types count.


@lru_cache(maxsize=64, typed=True)
def _jitter(seed: int, *where: int) -> Array:
    """Three factors in [0.97, 1.03], the same for the same seed and place whatever stands there."""
    key = zlib.crc32(repr((seed, *where)).encode())
    return np.array([0.97 + 0.06 * ((key >> shift) & 0xFF) / 255 for shift in (0, 8, 16)], np.float32)


def _parts(thing: Thing, view: View) -> tuple[tuple[slice, slice], Array, Array, Sequence[Part]]:
    return _parts_at(thing.kind, thing.x, thing.y, thing.size, view)


@lru_cache(maxsize=16, typed=True)
def _parts_at(
    kind: str, x: int, y: int, size: int, view: View
) -> tuple[tuple[slice, slice], Array, Array, Sequence[Part]]:
    window = view.window(Thing(kind, "", x, y, size))
    p = (view.columns[window] - x) / np.float32(size)
    q = (y - view.rows[window]) / np.float32(size)
    parts = tuple(((d * size).astype(np.float32), paint, shade) for d, paint, shade in _SHAPES[kind](p, q))
    return window, p, q, parts


def _cover(distance: Array) -> Array:
    return np.clip(0.5 - distance, 0, 1)


def _silhouette(parts: Iterable[Part]) -> Array:
    return _cover(np.minimum.reduce([distance for distance, _, _ in parts]))


def silhouette(thing: Thing, view: View = HOME) -> Array:
    """Cover of the whole thing, hidden parts too: float32 of the view's shape in [0, 1]."""
    full = np.zeros(view.shape, np.float32)
    window, _, _, parts = _parts(thing, view)
    full[window] = _silhouette(parts)
    return full


def _back_to_front(scene: Scene) -> list[Thing]:
    return sorted(scene.objects, key=lambda thing: (thing.y, thing.x))


@lru_cache(maxsize=16, typed=True)
def _backdrop(sky_name: str, ground_name: str, horizon: int, seed: int, view: View) -> Array:
    rows, columns = view.rows, view.columns
    top, low = (np.array(paint, np.float32) for paint in SKY_PAINT[sky_name])
    share = np.clip(rows / horizon, 0, 1)[..., None] ** 1.3
    sky = (top + (low - top) * share) * _jitter(seed, -1)
    depth = np.minimum((rows - horizon) / (SIZE - horizon), 1)
    wave = {
        "grass": 0.05 * np.sin(columns / 7 + rows / 9) * np.sin(rows / 6),
        "snow": 0.04 * np.sin(columns / 20 + rows / 11),
        "sand": 0.07 * np.sin(rows / 3.4 + 1.5 * np.sin(columns / 17)),
        "water": 0.14 * np.sin(rows / 2.2) * np.sin(columns / 13 + rows / 4),
    }[ground_name]
    paint = np.array(GROUND_PAINT[ground_name], np.float32) * _jitter(seed, -2)
    ground = paint * (1.02 - 0.12 * (1 - depth) + wave)[..., None]
    below = _ground_cover(horizon, view)[..., None]
    return sky * (1 - below) + ground * below


def _ground_cover(horizon: int, view: View) -> Array:
    return np.clip(view.rows + 0.5 - horizon, 0, 1)


def render(scene: Scene, view: View = HOME) -> NDArray[np.uint8]:
    """The picture of a scene: uint8 RGB of the view's shape, (128, 128, 3) unless said. The same scene gives the same
    bytes."""
    canvas = _backdrop(scene.sky, scene.ground, scene.horizon, scene.seed, view).copy()
    for thing in _back_to_front(scene):
        window, p, q, parts = _parts(thing, view)
        own = np.array(PAINT[thing.colour], np.float32) * _jitter(scene.seed, thing.x, thing.y)
        light = (1.0 + 0.12 * (q - 0.5) - 0.1 * p)[..., None]
        cover = _silhouette(parts)[..., None]
        outline = np.minimum.reduce([distance for distance, paint, _ in parts if paint is None])
        rim = np.clip(outline + _RIM, 0, 1)[..., None]
        patch = np.zeros((*p.shape, 3), np.float32)
        for distance, paint, shade in parts:
            colour = own * shade if paint is None else np.array(paint, np.float32) * shade
            painted = colour * light * (1 - 0.42 * rim) if paint is None else colour * light
            patch += (painted - patch) * np.clip(0.5 - distance, 0, 1)[..., None]
        # the parts were laid on black, so the patch already carries its cover where a silhouette is soft
        canvas[window] = canvas[window] * (1 - cover) + patch
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def masks(scene: Scene, view: View = HOME) -> dict[Thing | str, Array]:
    """What is visible of each thing, of "ground" and of "sky": float32 of the view's shape in [0, 1], one at every
    pixel in sum."""
    free = np.ones(view.shape, np.float32)
    visible: dict[Thing | str, Array] = {}
    for thing in reversed(_back_to_front(scene)):
        cover = silhouette(thing, view)
        visible[thing] = cover * free
        free = free * (1 - cover)
    below = _ground_cover(scene.horizon, view)
    return visible | {"ground": free * below, "sky": free * (1 - below)}


def mask(scene: Scene, what: Thing | str) -> Array:
    """What is visible of `what` (one of the scene's things, "ground" or "sky"): float32 (128, 128), 1 = wholly visible.

    Raises ValueError when it is not in the scene.
    """
    try:
        return masks(scene)[what]
    except KeyError:
        raise ValueError(f"{what!r} is not in the scene: use one of its objects, 'ground' or 'sky'") from None


def grow(region: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """The region and all within `pixels` of it along rows and columns: bool, same shape."""
    grown = region.copy()
    for axis in (0, 1):
        line = grown.copy()
        for step in range(1, pixels + 1):
            ahead, behind = [slice(None)] * 2, [slice(None)] * 2
            ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
            grown[tuple(ahead)] |= line[tuple(behind)]
            grown[tuple(behind)] |= line[tuple(ahead)]
    return grown


def regions(scene: Scene, edits: Sequence[Edit], view: View = HOME) -> list[Array]:
    """For each of `edits`, done together, where it acts: float32 of the view's shape, of zeros and ones.

    A thing's region is the union of its whole silhouettes before and after, grown by one latent cell (8 pixels). That
    of ground or sky is what is visible of it before or after, so the things that stay are left out. DESIGN.md, "Judging
    an edit".
    """
    before, after = masks(scene, view), masks(apply(scene, edits), view)
    found = []
    for edit in edits:
        if edit.part == "thing":
            ends = [silhouette(end, view) > 0 for end in (edit.source, edit.target) if isinstance(end, Thing)]
            region = grow(np.logical_or.reduce(ends), CELL)
        else:
            region = (before[edit.part] > 0) | (after[edit.part] > 0)
        found.append(region.astype(np.float32))
    return found
