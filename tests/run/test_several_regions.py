"""Plans that mean several things, or the whole picture: what grounders are asked, what editors get, what is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import fake_backends
import numpy as np
import pytest

import gas
from gas.errors import UsageError
from gas.interfaces import Edited, EditJob, GroundJob
from gas.run.session import Session
from gas.testing import fakes
from gas.types import EditPlan, Region, Subtask

PICTURE = np.random.default_rng(1).integers(0, 200, (60, 80, 3), dtype=np.uint8)
CARS = EditPlan(subtasks=(Subtask(source="cars", target="blue cars", count="all"),))
WINTER = Subtask(target="a winter scene", where="picture", instruction="make it look like winter")


class Rows(fakes.FakeGrounder):
    """Finds things in a row: three where all are asked for, else one."""

    def ground(self, job: GroundJob) -> list[Region]:
        return [
            replace(region, box=(20.0 * i, 0, 20.0 * i + 10, 10))
            for region in job.regions
            for i in range(3 if region.count == "all" else 1)
        ]


class Needy(fakes.FakeEditor):
    needs_regions = True
    edits_pictures = False


def session(editor: type[fakes.FakeEditor] = fakes.FakeEditor) -> Session:
    chosen = Session.of(
        registry=fake_backends.registry(), planner="arrows", grounders=("places",), editor="painter", profile="diorama"
    )
    chosen._backends["grounders", "places"] = Rows(fakes.FakeGrounderOptions(), chosen.runtime)
    chosen._backends["editors", "painter"] = editor(fakes.FakeEditorOptions(), chosen.runtime)
    return chosen


def test_a_subtask_may_have_several_regions_and_all_are_edited() -> None:
    chosen = session()
    regions = chosen.ground(PICTURE, CARS)
    assert [r.subtask for r in regions] == [0, 0, 0] and all(r.mask is not None for r in regions)
    result = chosen.edit(PICTURE, CARS, regions, seed=1)
    changed = (result.image != PICTURE).any(axis=2)
    assert all(changed[2:8, x : x + 6].any() for x in (2, 22, 42)) and not changed[:, 70:].any()


def test_an_addition_at_several_things_has_all_of_their_places() -> None:
    plan = EditPlan(
        subtasks=(*CARS.subtasks, Subtask(action="add", target="a flag", anchor="the cars", count="all")),
    )
    assert [r.subtask for r in session().ground(PICTURE, plan)] == [0, 0, 0, 1, 1, 1]


def test_doubts_are_warnings_of_the_result() -> None:
    chosen = session()
    two = EditPlan(subtasks=(Subtask(source="a red car", target="a bus"), Subtask(source="other car", target="a tram")))
    result = gas.edit(PICTURE, plan=two, seed=1, session=chosen)
    assert any("are in one place" in warning for warning in result.plan.warnings)
    assert gas.edit(PICTURE, plan=CARS, seed=1, session=chosen).plan.warnings == ()


def test_the_whole_picture_is_not_looked_for() -> None:
    chosen = session()
    plan = EditPlan(subtasks=(WINTER, Subtask(source="a dog", target="a cat")))
    assert [r.subtask for r in chosen.ground(PICTURE, plan)] == [1]
    whole = EditPlan(subtasks=(WINTER,))
    assert chosen.ground(PICTURE, whole, required=True) == ()


def test_the_users_words_reach_an_editor_of_whole_pictures() -> None:
    seen: list[Any] = []

    class Reading(fakes.FakeEditor):
        def edit(self, job: EditJob) -> Edited:
            seen.append((job.plan.instruction, job.regions))
            return super().edit(job)

    chosen = session(Reading)
    whole = EditPlan(subtasks=(WINTER,))
    result = chosen.edit(PICTURE, whole, chosen.ground(PICTURE, whole), seed=1)
    ((words, (region,)),) = seen
    assert words == "make it look like winter" and (region.mask == 1).all() and (result.mask == 1).all()


@pytest.mark.parametrize("stage", ["ground", "edit"])
def test_an_editor_of_things_refuses_the_whole_picture_by_name(stage: str) -> None:
    chosen, plan = session(Needy), EditPlan(subtasks=(WINTER,))
    with pytest.raises(UsageError) as caught:
        if stage == "ground":
            chosen.ground(PICTURE, plan)
        else:
            chosen.edit(PICTURE, plan, (), seed=1)
    assert "'make it look like winter' is about the whole picture, and painter edits" in caught.value.message
    assert "follows instructions" in caught.value.remedy
