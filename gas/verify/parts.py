"""The part of a picture to look at for a subtask, and whether its looks or its kind are to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gas.masks import grow_box, mask_box, union
from gas.plan.phrases import main_noun

if TYPE_CHECKING:
    from gas.interfaces import VerifyJob
    from gas.types import Box, Image, Subtask


def changes_looks(subtask: Subtask) -> bool:
    """Whether a thing is to stay what it is and look otherwise: another colour or material. Where the plan does not
    say, the phrases do: they name the same thing."""
    if subtask.action != "change":
        return False
    if subtask.attribute is not None:
        return subtask.attribute in ("colour", "material")
    noun = main_noun(subtask.source)
    return noun is not None and noun == main_noun(subtask.target)


def can_be_seen(subtask: Subtask) -> bool:
    """Whether the target's phrase says how the place is to look. It does not for a tone ("darker"), an effect, and what
    is about all but a thing or the whole picture."""
    return subtask.where == "region" and subtask.attribute not in ("tone", "effect")


def region_box(job: VerifyJob, subtask: int) -> Box | None:
    """The box around all regions of a subtask; None where it has none."""
    masks = job.masks(subtask)
    if not masks:
        return None
    whole = union(masks)
    return mask_box(whole) if bool((whole > 0).any()) else None


def crop(image: Image, box: Box, room: float) -> Image:
    """The part of a picture in `box`, with `room` around it: a share of the box's longer side."""
    size = image.shape[1], image.shape[0]
    x0, y0, x1, y1 = grow_box(box, size, room)
    return image[int(y0) : max(int(y1 + 0.999), int(y0) + 1), int(x0) : max(int(x1 + 0.999), int(x0) + 1)]
