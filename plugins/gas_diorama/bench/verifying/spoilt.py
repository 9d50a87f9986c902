"""Exact results in which some subtasks are spoilt on purpose, each in one known way: failures that no editor has to
make first, and that are as plain as failures can be."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gas_diorama.world.cases import Case
from gas_diorama.world.world import COLOURS, GROUNDS, KINDS, SKIES, Edit, Scene, Thing, apply, regions, render

Picture = NDArray[np.uint8]
SORTS = ("unchanged", "wrong colour", "wrong kind", "erased")


def spoilt(case: Case, round_trip: Callable[[Picture], Picture], variant: int = 0) -> Picture:
    """The picture of a case in which about every second subtask is as wanted and the others are spoilt, as it comes out
    of a model's coding: uint8 (128, 128, 3), outside the regions the source. The same for one case and variant."""
    rng = np.random.default_rng(zlib.crc32(f"spoilt {variant} {case.name} {case.scene!r}".encode()))
    edits = [edit if rng.random() < 0.5 else _spoil(edit, rng) for edit in case.edits]
    scene = apply(case.scene, [edit for edit in edits if edit is not None])
    return _confined(case, round_trip(render(scene)))


def noise(case: Case, index: int, seed: int) -> Picture:
    """The exact result of a case with random noise in the region of one subtask."""
    exact = _confined(case, render(apply(case.scene, case.edits)))
    inside = regions(case.scene, case.edits)[index] > 0
    random = np.random.default_rng(seed).integers(0, 256, exact.shape, dtype=np.uint8)
    return np.where(inside[..., None], random, exact)


def _spoil(edit: Edit, rng: np.random.Generator) -> Edit | None:
    """An edit in the place of `edit` that is not what was asked for; None leaves the place as it was."""
    sorts = [sort for sort in SORTS if _fits(sort, edit)]
    sort = sorts[int(rng.integers(len(sorts)))]
    if sort == "unchanged":
        return None
    if sort == "erased":
        return Edit("remove", "thing", edit.source, None)
    target = edit.target
    if isinstance(target, Thing):
        source = edit.source if isinstance(edit.source, Thing) else target
        if sort == "wrong colour":
            colours = [name for name in COLOURS if name not in (target.colour, source.colour)]
            return replace(edit, target=replace(target, colour=colours[int(rng.integers(len(colours)))]))
        kinds = [name for name in KINDS if name not in (target.kind, source.kind)]
        return replace(edit, target=replace(target, kind=kinds[int(rng.integers(len(kinds)))]))
    backdrops = [one for one in (GROUNDS if edit.part == "ground" else SKIES) if one not in (target, edit.source)]
    return replace(edit, target=backdrops[int(rng.integers(len(backdrops)))])


def _fits(sort: str, edit: Edit) -> bool:
    if sort == "unchanged":
        return True
    if edit.action == "remove":
        return False
    if sort == "erased":
        return edit.action == "change" and edit.part == "thing"
    return sort == "wrong kind" or isinstance(edit.target, Thing)


def _confined(case: Case, picture: Picture) -> Picture:
    inside = np.logical_or.reduce([region > 0 for region in regions(case.scene, case.edits)])
    source: Scene = case.scene
    return np.where(inside[..., None], picture, render(source))
