"""What grounders are asked for a plan, which places subtasks share, and what is doubtful about what was found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gas.regions.match import phrase_key
from gas.types import Box, EditPlan, Region, Subtask

SAME_PLACE = 0.8
"""Intersection over union of two boxes from which on they are one place."""


@dataclass(frozen=True)
class Asked:
    """The regions to be looked for, and for each addition whose place another subtask looks for, that subtask."""

    regions: tuple[Region, ...]
    shared: dict[int, int]

    @classmethod
    def of(cls, plan: EditPlan, subtasks: Iterable[int]) -> Asked:
        """What is asked for the subtasks of these indices.

        A phrase that several subtasks change means several things; the place of an addition may be any other's thing.
        """
        order = sorted(subtasks)
        additions = {index for index in order if plan.subtasks[index].action == "add"}
        places: dict[str, int] = {}
        for index in sorted(order, key=lambda index: index in additions):
            places.setdefault(phrase_key(plan.subtasks[index].region_phrase), index)
        shared = {index: places[phrase_key(plan.subtasks[index].region_phrase)] for index in additions}
        own = [index for index in order if shared.get(index, index) == index]
        regions = tuple(
            Region(plan.subtasks[index].region_phrase, subtask=index, count=plan.subtasks[index].count) for index in own
        )
        return cls(regions, {index: place for index, place in shared.items() if place != index})

    def with_shared(self, found: Sequence[Region]) -> list[Region]:
        """What was found, and once more for each addition that shares a place."""
        copies = [
            replace(region, subtask=index)
            for index, place in sorted(self.shared.items())
            for region in found
            if region.subtask == place
        ]
        return [*found, *copies]


def doubts(plan: EditPlan, regions: Sequence[Region]) -> list[str]:
    """What a user should look at in the regions of a plan: fewer things than were meant, two subtasks in one place.

    Regions without a box are passed over, and so are additions at the very thing that another subtask names.
    """
    notes = [note for i, subtask in enumerate(plan.subtasks) for note in _fewer(i, subtask, regions)]
    boxed = [(r.subtask, r.box) for r in regions if r.subtask is not None and r.box is not None]
    pairs = dict.fromkeys((a, b) for a, one in boxed for b, other in boxed if a < b and _iou(one, other) > SAME_PLACE)
    for a, b in pairs:
        one, other = plan.subtasks[a], plan.subtasks[b]
        by_name = "add" in (one.action, other.action) and phrase_key(one.region_phrase) == phrase_key(
            other.region_phrase
        )
        if not by_name:
            notes.append(
                f"subtasks {a + 1} ({one.region_phrase!r}) and {b + 1} ({other.region_phrase!r}) are in one place: "
                "look at the regions, or draw them"
            )
    return notes


def with_doubts(plan: EditPlan, regions: Sequence[Region]) -> EditPlan:
    """The plan with what is doubtful about its regions among its warnings."""
    fresh = [note for note in doubts(plan, regions) if note not in plan.warnings]
    return plan.model_copy(update={"warnings": (*plan.warnings, *fresh)}) if fresh else plan


def _fewer(index: int, subtask: Subtask, regions: Sequence[Region]) -> list[str]:
    found = sum(region.subtask == index for region in regions)
    drawn = any(region.subtask == index and region.given for region in regions)
    if subtask.count is None or not found or drawn:
        return []
    phrase = subtask.region_phrase
    if subtask.count == "all":
        return [f"all of {phrase!r} are meant, and one region was found"] if found == 1 else []
    return [f"{subtask.count} of {phrase!r} are meant, and {found} were found"] if found < subtask.count else []


def _iou(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0.0) * max(height, 0.0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return both / (areas - both) if both else 0.0
