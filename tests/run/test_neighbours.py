"""Which turns show in the picture of which."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_grounded import Painter, image, job

from gas.run.neighbours import turns_seen
from gas.run.turns import edit_grounded
from gas.types import EditPlan, Region, Subtask

SIZE = (320, 200)
"""One cell of the grid is 10 pixels."""


def block(x0: int, x1: int, y0: int = 50, y1: int = 100, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size[::-1], np.float32)
    mask[y0:y1, x0:x1] = 1
    return mask


def test_far_regions_do_not_see_each_other_and_near_ones_do() -> None:
    assert turns_seen([block(0, 50), block(200, 250)]) == [(), ()]
    assert turns_seen([block(0, 50), block(40, 80)]) == [(), (0,)], "they overlap"
    assert turns_seen([block(0, 50), block(50, 80)]) == [(), (0,)], "they touch"


@pytest.mark.parametrize("offset", range(10))
def test_within_a_cell_they_always_meet_and_beyond_two_never(offset: int) -> None:
    first = block(100 + offset, 150 + offset)
    assert turns_seen([first, block(159 + offset, 200)]) == [(), (0,)]
    assert turns_seen([first, block(170 + offset, 200)]) == [(), ()]


def test_what_an_earlier_turn_saw_shows_too() -> None:
    chain = [block(0, 60), block(55, 110), block(105, 160), block(250, 300)]
    assert turns_seen(chain) == [(), (0,), (0, 1), ()]
    # The middle one comes last: it sees both, and they do not see each other.
    assert turns_seen([chain[0], chain[2], chain[1]]) == [(), (), (0, 1)]


def test_pictures_smaller_than_the_grid_work() -> None:
    assert turns_seen([block(0, 2, 0, 2, (9, 7)), block(7, 9, 5, 7, (9, 7))]) == [(), ()]
    assert turns_seen([np.zeros((7, 9), np.float32), block(0, 9, 0, 7, (9, 7))]) == [(), ()]


def far_job(editor: Painter, first: str = "red") -> object:
    """A large and a small thing far from each other, and one that lies on the large one."""
    wide = image(*SIZE)
    masks = {"sky": block(0, 120), "kite": block(30, 60), "ball": block(280, 300)}
    targets = {"sky": f"{first} sky", "kite": "blue kite", "ball": "green ball"}
    plan = EditPlan(subtasks=tuple(Subtask(source=name, target=targets[name]) for name in masks))
    regions = tuple(Region(name, mask=mask, subtask=n) for n, (name, mask) in enumerate(masks.items()))
    return replace(job(editor), image=wide, plan=plan, regions=regions)


def test_a_turn_sees_what_was_made_around_it_and_the_input_elsewhere() -> None:
    editor = Painter(grain=20)
    edited = edit_grounded(editor, far_job(editor))  # type: ignore[arg-type]
    sky, kite, ball = (one.image for one in editor.jobs)
    assert (sky == image(*SIZE)).all() and (ball == image(*SIZE)).all()
    assert (kite[50:100, :120] == edited.image[50:100, :120])[:, :25].all() and (kite != image(*SIZE)).any()
    assert [one.intermediate for one in editor.jobs] == [False, True, False]
    for mask in (block(0, 120), block(280, 300)):
        assert (edited.image[mask > 0] != image(*SIZE)[mask > 0]).any(), "all of them are in the result"
