"""The benchmark's cases: held-out scenes with exact plans, exact regions and exact results, in four strata, and edits
by a single instruction beside them.

The plan's phrases come from the world and its regions are the exact ones, so that editors are measured, and neither
planners nor grounders.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gas.masks import mask_box
from gas.types import EditPlan, Region, Subtask
from gas_diorama.world.world import (
    SIZE,
    Edit,
    Scene,
    Thing,
    apply,
    caption,
    edit_phrases,
    instruction,
    name,
    phrase,
    regions,
    sample_edits,
    sample_scene,
)

STRATA = ("plain", "several", "twins", "small")
"""One or two subtasks; three and more; one kind twice in different colours; a small thing (< 5 % of the picture) off
centre."""

SINGLE = "single"
"""One instruction each, mostly to add or to remove: the strata hold few such edits, and figures of each action need
them."""

OFF_CENTRE = SIZE / 4
"""Least distance in pixels from the picture's middle to that of a small thing."""

# Each stratum's cases go through its list in turn, so that every form of edit has its fixed share.
_FORMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "plain": (
        ("kind",),
        ("colour", "sky"),
        ("ground",),
        ("both", "ground"),
        ("remove",),
        ("both",),
        ("kind", "sky"),
        ("add",),
        ("sky",),
        ("colour",),
    ),
    "several": (
        ("both", "ground", "sky"),
        ("kind", "colour", "ground"),
        ("both", "colour", "ground", "sky"),
        ("colour", "ground", "sky"),
        ("kind", "remove", "sky"),
        ("both", "kind", "sky"),
        ("add", "ground", "sky"),
        ("kind", "both", "ground", "sky"),
        ("kind", "ground", "sky"),
        ("kind", "both", "colour", "ground", "sky"),
    ),
    "twins": (("kind",), ("both", "both"), ("colour",), ("kind", "colour"), ("both", "ground")),
    "small": (("kind",), ("both", "sky"), ("colour",), ("both",), ("kind", "ground")),
    SINGLE: tuple(
        (form,) for change in ("kind", "ground", "colour", "sky") for form in ("add", "remove", change, "remove", "add")
    ),
}


@dataclass(frozen=True)
class Case:
    """One edit of the benchmark: a held-out scene, what is to change, and the plan that says so."""

    name: str
    stratum: str
    scene: Scene
    edits: tuple[Edit, ...]
    plan: EditPlan

    def regions(self) -> tuple[Region, ...]:
        """The exact region of each subtask, as if drawn by hand: float32 (128, 128) masks and their boxes."""
        return tuple(
            Region(phrase=subtask.region_phrase, box=mask_box(mask), mask=mask, subtask=index, given=True)
            for index, (subtask, mask) in enumerate(
                zip(self.plan.subtasks, regions(self.scene, self.edits), strict=True)
            )
        )


def cases(count: int, part: str = "test") -> list[Case]:
    """`count` cases, shared evenly among the strata, always the same; `part` is "test", or "validation" to choose on.

    A smaller count's cases are the first ones of a larger count's. ValueError unless `count` is a multiple of four.
    """
    if count <= 0 or count % len(STRATA):
        raise ValueError(f"cannot share {count} cases among {len(STRATA)} strata: take a multiple of {len(STRATA)}")
    _check_held_out(part)
    return [_case(stratum, index, part) for stratum in STRATA for index in range(count // len(STRATA))]


def single_cases(count: int, part: str = "test") -> list[Case]:
    """`count` cases of the stratum SINGLE, always the same; of ten in turn four add, four remove and two change
    something. A smaller count's cases are the first ones of a larger count's."""
    _check_held_out(part)
    return [_case(SINGLE, index, part) for index in range(count)]


def benchmark_cases(count: int, part: str = "test") -> list[Case]:
    """What `gas bench diorama` runs: `cases(count)` and half as many of `single_cases`."""
    return [*cases(count, part), *single_cases(count // 2, part)]


def _check_held_out(part: str) -> None:
    if part not in ("test", "validation"):
        raise ValueError(f"cases of part {part!r} are not held out: use 'test' or 'validation'")


def plan_of(scene: Scene, edits: Sequence[Edit]) -> EditPlan:
    """The exact plan of `edits` on `scene`: the world's own phrases and captions."""
    return EditPlan(
        subtasks=tuple(_subtask(scene, edit) for edit in edits),
        source_prompt=caption(scene),
        target_prompt=caption(apply(scene, edits)),
    )


def _subtask(scene: Scene, edit: Edit) -> Subtask:
    source, target = (None if end is None else phrase(end) for end in (edit.source, edit.target))
    subtask = Subtask(
        action=edit.action,
        source=source or "",
        target=target or "",
        instruction=instruction(edit),
        anchor=None if edit.action == "change" else name(scene.ground),
        preserve_shape=_keeps_shape(edit),
    )
    assert subtask.prompts == edit_phrases(edit, scene), f"{subtask.prompts} are not the world's phrases"
    return subtask


def _keeps_shape(edit: Edit) -> bool:
    """Whether a thing only changes its colour: then an exact planner says that its outline stays."""
    return isinstance(edit.source, Thing) and isinstance(edit.target, Thing) and edit.source.kind == edit.target.kind


def _case(stratum: str, index: int, part: str) -> Case:
    label = f"{stratum}-{index:02d}"
    rng = np.random.default_rng(zlib.crc32(f"{part} {label}".encode()))
    forms = _FORMS[stratum][index % len(_FORMS[stratum])]
    touched = sum(form in ("kind", "colour", "both", "remove") for form in forms)
    while True:
        if stratum == "twins":
            scene = sample_scene(rng, part=part, count=2 + index % 2, twins=True, small=False)
        elif stratum == "small":
            scene = sample_scene(rng, part=part, count=1 + index % 3, twins=False, small=True)
        else:
            least, most = touched + ("remove" in forms), 3 - ("add" in forms)  # something always stays to be looked at
            count = int(rng.integers(max(least, 1), most + 1))
            scene = sample_scene(rng, part=part, count=count, twins=False, small=False)
        if stratum == "small" and not _off_centre(scene.objects[0]):
            continue
        edits = sample_edits(scene, rng, forms)
        if edits is not None and _touches(stratum, scene, edits):
            return Case(label, stratum, scene, edits, plan_of(scene, edits))


def _off_centre(thing: Thing) -> bool:
    x0, y0, x1, y1 = thing.box
    return float(np.hypot((x0 + x1 - SIZE) / 2, (y0 + y1 - SIZE) / 2)) >= OFF_CENTRE


def _touches(stratum: str, scene: Scene, edits: Sequence[Edit]) -> bool:
    """Whether what makes the stratum is what is edited: the twins, the small thing."""
    sources = [edit.source for edit in edits if edit.part == "thing"]
    if stratum == "twins":
        return all(source in scene.objects[:2] for source in sources)
    return stratum != "small" or scene.objects[0] in sources
