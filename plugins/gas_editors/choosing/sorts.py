"""What sort of change a subtask is, as far as it matters for who makes it best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from gas_editors.job_regions import is_backdrop
from gas_editors.retouch.asked import Affected, Recolour, Toned, asked

if TYPE_CHECKING:
    from gas.types import Mask, Subtask

Sort = Literal["colour", "material", "tone", "effect", "kind", "backdrop", "add", "remove"]
"""* colour, material, tone, effect: of a thing that stays what it is;
* backdrop: what spans the picture from its left edge to its right one becomes something else: a ground, a sky, a wall;
* kind: any other thing becomes something else;
* add, remove: as the plan says.
"""
SORTS: tuple[Sort, ...] = get_args(Sort)


def sort_of(subtask: Subtask, mask: Mask) -> Sort:
    """The sort of `subtask`, whose regions together are `mask` `(H, W)`. The plan's attribute says it; without one the
    phrases do."""
    if subtask.action != "change":
        return subtask.action
    if subtask.attribute in ("colour", "material", "tone", "effect"):
        return subtask.attribute
    if subtask.attribute is None:
        what = asked(subtask)
        if isinstance(what, Recolour):
            return "colour"
        if isinstance(what, Toned):
            return "tone"
        if isinstance(what, Affected):
            return "effect"
    return "backdrop" if is_backdrop(mask) else "kind"
