"""Things that the user points at: outlined before they are edited, by a segmenter that can."""

from __future__ import annotations

import fake_backends
import numpy as np
import pytest
from PIL import Image as Pictures

from gas.errors import InputRefused, PluginBroken, UsageError
from gas.picture import photo
from gas.run.job import prepare
from gas.run.session import Session
from gas.testing.fakes import FakeGrounder
from gas.types import EditPlan, Region, Subtask

PLAN = EditPlan(subtasks=(Subtask(source="dog", target="tiger"), Subtask(source="sky", target="night")))
IMAGE = np.random.default_rng(1).integers(0, 200, (48, 64, 3), dtype=np.uint8)


def session(*grounders: str) -> Session:
    registry = fake_backends.registry()
    return Session.of(
        registry=registry, planner="arrows", grounders=grounders, editor="painter", profile="diorama", grow=0.2
    )


def test_what_is_at_a_point_is_outlined_and_taken_literally() -> None:
    box = Region("sky", box=(0, 0, 20, 10))
    dog, sky = session("places").ground(IMAGE, PLAN, [Region("dog", point=(40, 30), given=True), box])
    assert (dog.box, dog.subtask, dog.given) == ((32, 24, 64, 48), 0, True)
    assert dog.mask is not None and dog.mask[24:, 32:].all() and dog.mask.sum() == 32 * 24
    assert sky.box == (0, 0, 20, 10)


def test_two_points_are_two_regions_of_one_subtask() -> None:
    points = [Region("dog", point=(40, 30)), Region("dog", point=(1, 1))]
    sky = Region("sky", box=(0, 0, 20, 10))
    found = session("places").ground(IMAGE, PLAN, [*points, sky])
    assert [(region.subtask, region.box) for region in found[:2]] == [(0, (32, 24, 64, 48)), (0, (0, 0, 32, 24))]


def test_one_point_alone_is_outlined_without_a_plan() -> None:
    found = session("places").outline(IMAGE, Region("dog", point=(40, 30), given=True))
    assert (found.phrase, found.box, found.subtask, found.given) == ("dog", (32, 24, 64, 48), None, True)
    assert found.mask is not None and found.mask.sum() == 32 * 24
    with pytest.raises(UsageError, match="at a point"):
        session().outline(IMAGE, Region("dog", point=(40, 30)))
    with pytest.raises(InputRefused, match="outside the picture"):
        session("places").outline(IMAGE, Region("dog", point=(400, 30)))


def test_without_a_grounder_that_can_it_says_which_does() -> None:
    with pytest.raises(UsageError, match="at a point") as raised:
        session("colour").ground(IMAGE, PLAN, [Region("dog", point=(40, 30)), Region("sky", box=(0, 0, 20, 10))])
    assert "sam" in str(raised.value.remedy)


def test_a_phrase_that_is_not_asked_for_is_refused_before_anything_is_outlined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeGrounder, "ground", lambda self, job: pytest.fail("asked"))
    with pytest.raises(InputRefused, match="cat"):
        session("places").ground(IMAGE, PLAN, [Region("cat", point=(40, 30))])


def test_an_answer_without_a_place_is_the_grounders_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeGrounder, "ground", lambda self, job: [])
    with pytest.raises(PluginBroken):
        session("places").ground(IMAGE, PLAN, [Region("dog", point=(40, 30)), Region("sky", box=(0, 0, 20, 10))])


def test_a_job_with_points_names_the_grounder_in_its_record(tmp_path) -> None:  # type: ignore[no-untyped-def]
    Pictures.fromarray(IMAGE).save(tmp_path / "a.png")
    read = photo.read(tmp_path / "a.png")
    given = [Region("dog", point=(40, 30)), Region("sky", box=(0, 0, 20, 10))]
    done = prepare(session("places"), read, PLAN, given, seed=1).run(tmp_path / "b.png")
    assert [used.name for used in done.record.grounders] == ["places"]
    changed = (photo.read(tmp_path / "b.png").pixels != IMAGE).any(axis=2)
    assert changed[26:46, 34:62].any() and not changed[26:, :30].any()
    with pytest.raises(InputRefused, match="outside"):
        prepare(session("places"), read, PLAN, [Region("dog", point=(64, 1))], seed=1)
