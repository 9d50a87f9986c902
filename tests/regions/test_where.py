"""Which pixels a subtask edits: its thing, all but its thing, or the whole picture."""

import numpy as np

from gas.regions.where import edited_regions
from gas.types import EditPlan, Region, Subtask

SIZE = (8, 6)
MASK = np.zeros((6, 8), np.float32)
MASK[1:3, 2:5] = 1
SOFT = np.zeros((6, 8), np.float32)
SOFT[4:6] = 0.25


def test_a_region_stays() -> None:
    plan = EditPlan(subtasks=(Subtask(source="a", target="b"),))
    region = Region("a", (2.0, 1.0, 5.0, 3.0), MASK, subtask=0)
    assert edited_regions(plan, [region], SIZE) == (region,)


def test_outside_is_what_is_in_none_of_a_subtasks_regions() -> None:
    plan = EditPlan(subtasks=(Subtask(source="a", target="b", where="outside"),))
    (region,) = edited_regions(plan, [Region("a", mask=MASK, subtask=0), Region("a", mask=SOFT, subtask=0)], SIZE)
    assert region.mask is not None and region.box is None and region.subtask == 0
    assert (region.mask == 1 - np.maximum(MASK, SOFT)).all()


def test_the_whole_picture_gets_a_region_of_its_own() -> None:
    plan = EditPlan(subtasks=(Subtask(source="a", target="b"), Subtask(target="c", where="picture")))
    own, whole = edited_regions(plan, [Region("a", mask=MASK, subtask=0)], SIZE)
    assert own.subtask == 0 and whole.subtask == 1 and whole.mask is not None and (whole.mask == 1).all()


def test_what_is_of_no_subtask_stays() -> None:
    plan = EditPlan(subtasks=(Subtask(target="c", where="picture"),))
    loose = Region("", mask=MASK)
    assert edited_regions(plan, [loose], SIZE)[0] is loose
