"""From the places that were found or drawn to the places that are edited: the thing, all but the thing, or all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gas.types import EditPlan, Region

if TYPE_CHECKING:
    from gas.masks import Size


def edited_regions(plan: EditPlan, regions: Sequence[Region], size: Size) -> tuple[Region, ...]:
    """The regions as `where` of their subtasks means them; `size` is the picture's `(width, height)`.

    Of `outside` the regions of one subtask together become one, with all that is in none of them; `picture` gets one
    with all of the picture. Those that are of no subtask stay.
    """
    width, height = size
    out = [region for region in regions if region.subtask is None]
    for index, subtask in enumerate(plan.subtasks):
        own = [region for region in regions if region.subtask == index]
        if subtask.where == "picture":
            out.append(Region("", mask=np.ones((height, width), np.float32), subtask=index, given=True))
        elif subtask.where == "outside" and own:
            kept = np.max([region.mask for region in own if region.mask is not None], axis=0)
            out.append(replace(own[0], box=None, mask=np.asarray(1 - kept, np.float32)))
        else:
            out += own
    return tuple(out)
