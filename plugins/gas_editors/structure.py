"""The option `keep_structure`: where a subtask changes only a colour or a material, all but that stays the source's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gas.interfaces import Edited
from gas.masks import union
from gas.picture.structure import keep_structure

if TYPE_CHECKING:
    from gas.interfaces import EditJob
    from gas.types import Subtask


def keeps_structure(subtask: Subtask) -> bool:
    """Whether `subtask` changes nothing of a thing but its colour or its material."""
    if subtask.action != "change" or subtask.where != "region":
        return False
    return subtask.preserve_shape if subtask.attribute is None else subtask.attribute in ("colour", "material")


def structured(job: EditJob, edited: Edited, keep: bool) -> Edited:
    """`edited` with the source's structure in the regions of the subtasks that keep it (`keep_structure`).

    Its log says which they are. A subtask without a region stays as it was edited: nobody knows where it is.
    """
    if not keep or edited.stopped:
        return edited
    image, kept = edited.image, []
    for index, subtask in enumerate(job.plan.subtasks):
        own = [region.mask for region in job.regions if region.subtask == index and region.mask is not None]
        if not own or not keeps_structure(subtask):
            continue
        made = keep_structure(job.image, image, union(own), subtask.source)
        if made is not None:
            image = made
            kept.append(index + 1)
    return replace(edited, image=image, log={**edited.log, "structure_kept": kept})
