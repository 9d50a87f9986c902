"""Edits of scenes drawn large: held-out ones of 512 to 1024 pixels, whose things keep the size that the networks know
and stand far apart, with exact plans, regions and results."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gas.masks import mask_box
from gas.types import EditPlan, Region
from gas_diorama.world.cases import plan_of
from gas_diorama.world.scene import COLOURS, GROUNDS, KINDS, SIZE, SKIES, Edit, Scene, Thing, sample_edits, split
from gas_diorama.world.view import View
from gas_diorama.world.world import regions

SIZES = ((512, 512), (768, 576), (1024, 768))
APART = 160
"""Least distance in pixels between the middles of two things: no picture of 128 pixels around one shows another."""

_THING = (40, 64)
_HORIZON = (52, 80)
_BELOW = (8, 40)
_EDGE = SIZE // 2 + 4
_FORMS = (
    ("kind", "colour"),
    ("both", "kind", "remove"),
    ("remove", "both"),
    ("colour", "kind", "both"),
    ("both", "colour"),
    ("kind", "remove", "colour"),
)


@dataclass(frozen=True)
class LargeCase:
    """One edit of a scene in a large `view` of it, and the plan that says so. Every thing is edited, and in some cases
    the ground, as the last."""

    name: str
    scene: Scene
    view: View
    edits: tuple[Edit, ...]
    plan: EditPlan

    def regions(self) -> tuple[Region, ...]:
        """The exact region of each subtask, as if drawn by hand, with float32 masks of the view's shape."""
        masks = regions(self.scene, self.edits, self.view)
        return tuple(
            Region(subtask.region_phrase, mask_box(mask), mask, subtask=index, given=True)
            for index, (subtask, mask) in enumerate(zip(self.plan.subtasks, masks, strict=True))
        )

    def around(self, index: int) -> tuple[Scene, View]:
        """The thing of a subtask alone in its scene, and the usual picture's size of the view around its middle."""
        thing = self.edits[index].source
        assert isinstance(thing, Thing)
        x0, y0, _, _ = thing.box
        half = (SIZE - thing.size) // 2
        return replace(self.scene, objects=(thing,)), View(x0 - half, y0 - half)


def large_cases(count: int, part: str = "test", *, ground: bool = False) -> list[LargeCase]:
    """`count` cases, always the same, of the three SIZES in turn, with two and three things; `part` is "test", or
    "validation" to choose on. A smaller count's cases are the first ones of a larger count's. With `ground` the scene's
    ground changes too, below all things."""
    if part not in ("test", "validation"):
        raise ValueError(f"cases of part {part!r} are not held out: use 'test' or 'validation'")
    return [_case(index, part, ("ground",) if ground else ()) for index in range(count)]


def _case(index: int, part: str, more: tuple[str, ...]) -> LargeCase:
    width, height = SIZES[index % len(SIZES)]
    name = f"large-{index:02d}"
    rng = np.random.default_rng(zlib.crc32(f"{part} {name}".encode()))
    forms = _FORMS[index // len(SIZES) % len(_FORMS)]
    while True:
        scene = _scene(rng, len(forms), width)
        edits = sample_edits(scene, rng, (*forms, *more)) if scene is not None and split(scene) == part else None
        if scene is not None and edits is not None:
            view = View(0, scene.horizon - int(height * rng.uniform(0.4, 0.7)), width, height)
            return LargeCase(name, scene, view, edits, plan_of(scene, edits))


def _scene(rng: np.random.Generator, count: int, width: int) -> Scene | None:
    """A scene with its things side by side in a picture of this width; None where they stand too close or are two of
    one sort."""
    horizon = int(rng.integers(_HORIZON[0], _HORIZON[1] + 1))
    across = sorted(int(x) for x in rng.integers(_EDGE, width - _EDGE + 1, count))
    names = {(str(rng.choice(COLOURS)), str(rng.choice(KINDS))) for _ in range(count)}
    if len(names) < count or min(np.diff(across)) < APART:
        return None
    things = tuple(_thing(rng, kind, x, horizon) for kind, x in zip(sorted(names), across, strict=True))
    order: Sequence[int] = [int(i) for i in rng.permutation(count)]
    return Scene(
        str(rng.choice(SKIES)),
        str(rng.choice(GROUNDS)),
        horizon,
        tuple(things[i] for i in order),
        int(rng.integers(0, 1 << 16)),
    )


def _thing(rng: np.random.Generator, name: tuple[str, str], x: int, horizon: int) -> Thing:
    colour, kind = name
    y, size = (int(rng.integers(low, high + 1)) for low, high in (_BELOW, _THING))
    return Thing(kind, colour, x, horizon + y, size)
