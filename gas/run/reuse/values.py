"""Plans, regions and edits as entries of the cache, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gas.cache.entry import Entry
from gas.interfaces import Edited
from gas.run.record import without_secrets
from gas.types import EditPlan, Region


def plan_entry(plan: EditPlan, notes: Sequence[str]) -> Entry:
    """A plan, and what was warned of while it was made."""
    return Entry(_public({"plan": plan.model_dump(mode="json"), "notes": list(notes)}))


def plan_of(entry: Entry) -> EditPlan:
    return EditPlan.model_validate(entry.values["plan"])


def regions_entry(regions: Sequence[Region], notes: Sequence[str]) -> Entry:
    """Regions in their order, and what was warned of while they were looked for."""
    arrays = {f"{n}.mask": one.mask for n, one in enumerate(regions) if one.mask is not None}
    return Entry(_public({"regions": [_region(one) for one in regions], "notes": list(notes)}), arrays)


def regions_of(entry: Entry) -> list[Region]:
    return [_to_region(told, entry.arrays.get(f"{n}.mask")) for n, told in enumerate(entry.values["regions"])]


def edits_entry(edits: Sequence[Edited], notes: Sequence[str]) -> Entry:
    """What an editor made of one job, or of several in one batch, and what was warned of meanwhile."""
    arrays: dict[str, np.ndarray] = {}
    told = []
    for n, edited in enumerate(edits):
        pictures = {"image": edited.image, "mask": edited.mask, "unedited": edited.unedited}
        pictures |= {f"place-{number}": place.mask for number, place in enumerate(edited.places)}
        arrays |= {f"{n}.{name}": one for name, one in pictures.items() if one is not None}
        told.append({"log": dict(edited.log), "places": [_region(place) for place in edited.places]})
    return Entry(_public({"edits": told, "notes": list(notes)}), arrays)


def edits_of(entry: Entry) -> list[Edited]:
    found = []
    for n, told in enumerate(entry.values["edits"]):
        masks = [entry.arrays.get(f"{n}.place-{number}") for number in range(len(told["places"]))]
        found.append(
            Edited(
                image=entry.arrays[f"{n}.image"],
                mask=entry.arrays.get(f"{n}.mask"),
                log=told["log"],
                unedited=entry.arrays.get(f"{n}.unedited"),
                places=tuple(_to_region(*one) for one in zip(told["places"], masks, strict=True)),
            )
        )
    return found


def notes_of(entry: Entry) -> list[str]:
    """What was warned of while the entry's value was made."""
    return [str(note) for note in entry.values["notes"]]


def _region(region: Region) -> dict[str, Any]:
    box = None if region.box is None else [float(side) for side in region.box]
    point = None if region.point is None else [float(side) for side in region.point]
    score = None if region.score is None else float(region.score)
    told = {"phrase": region.phrase, "box": box, "point": point, "score": score, "subtask": region.subtask}
    return told | {"given": bool(region.given), "note": region.note, "count": region.count}


def _to_region(told: Mapping[str, Any], mask: np.ndarray | None) -> Region:
    places = {name: None if told[name] is None else tuple(told[name]) for name in ("box", "point")}
    return Region(**{**told, **places, "mask": mask})


def _public(values: dict[str, Any]) -> dict[str, Any]:
    """The values without what secret variables of the environment hold, as in a record."""
    public: dict[str, Any] = json.loads(without_secrets(json.dumps(values)))
    return public
