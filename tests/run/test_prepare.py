"""From a request to a job: what is asked of whom, and what is refused before."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import fake_backends
import numpy as np
import pytest

from gas.errors import InputRefused, Interrupted, PluginBroken, UsageError
from gas.interfaces import Watch
from gas.picture import photo
from gas.run.job import PhotoJob, prepare
from gas.run.record import Request
from gas.run.session import Session
from gas.testing import fakes
from gas.types import EditPlan, EditRequest, Region, Subtask

PLAN = EditPlan(subtasks=(Subtask(source="dog", target="tiger"), Subtask(source="grass", target="snow")))
BOXES = {"dog": (0.1, 0.1, 0.4, 0.4), "grass": (0.5, 0.5, 1.0, 1.0)}
ASKED = Request(instruction="dog -> tiger; grass -> snow")
DOG = Region("dog", box=(10.0, 10.0, 40.0, 40.0))


def read(width: int = 120, height: int = 90) -> photo.Photo:
    return photo.of_pixels(np.random.default_rng(1).integers(0, 200, (height, width, 3), dtype=np.uint8))


def session(**flags: Any) -> Session:
    chosen = {"planner": "arrows", "grounders": ("places",), "editor": "painter", "profile": "diorama", **flags}
    options = {"places": {"boxes": BOXES}, **chosen.pop("options", {})}
    return Session.of(registry=fake_backends.registry(), options=options, **chosen)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Which backends were called, in their order."""
    called: list[str] = []

    def noted(kind: Any, method: str) -> None:
        original = getattr(kind, method)

        def call(self: Any, *arguments: Any) -> Any:
            called.append(method)
            return original(self, *arguments)

        monkeypatch.setattr(kind, method, call)

    noted(fakes.FakePlanner, "plan")
    noted(fakes.FakeGrounder, "ground")
    noted(fakes.FakeEditor, "edit")
    yield called


def test_plan_and_regions_are_made_and_the_record_will_say_by_whom(asked: list[str]) -> None:
    begun: list[tuple[str, str]] = []
    job = prepare(session(), read(), ASKED, seed=3, on_stage=lambda *what: begun.append(what))
    assert asked == ["plan", "ground"]
    assert begun == [("plan", "arrows"), ("ground", "places")]
    assert [region.phrase for region in job.regions] == ["dog", "grass"] and job.seed == 3
    assert job.request == ASKED and job.planner is not None and job.planner.name == "arrows"
    assert [one.name for one in job.grounders] == ["places"]


def test_what_is_given_is_not_asked_for(asked: list[str]) -> None:
    given = [DOG, Region("grass", box=(50.0, 50.0, 120.0, 90.0))]
    job = prepare(session(), read(), PLAN, given)
    assert asked == [] and job.plan == PLAN and job.planner is None and job.grounders == ()
    assert all(region.given and region.mask is not None for region in job.regions)
    assert job.regions[0].mask is not None and job.regions[0].mask.sum() == 30 * 30
    assert prepare(session(), read(), PLAN, [DOG]).grounders[0].name == "places" and asked == ["ground"]


def test_the_seed_is_the_callers_the_sessions_or_a_new_one() -> None:
    assert prepare(session(seed=8), read(), ASKED, seed=0).seed == 0
    assert prepare(session(seed=8), read(), ASKED).seed == 8
    assert len({prepare(session(), read(), ASKED).seed for _ in range(4)}) > 1


def test_the_planner_is_told_the_request_and_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[EditRequest] = []
    plan = fakes.FakePlanner.plan
    monkeypatch.setattr(fakes.FakePlanner, "plan", lambda self, request: told.append(request) or plan(self, request))
    picture = read()
    prepare(session(), picture, ASKED.model_copy(update={"caption": "a dog"}), seed=5)
    (request,) = told
    assert (request.instruction, request.caption, request.seed) == (ASKED.instruction, "a dog", 5)
    assert np.shares_memory(request.image, picture.pixels)


@pytest.mark.parametrize("stages", [0, 1])
def test_it_stops_when_told_to_before_the_next_stage(asked: list[str], stages: int) -> None:
    begun: list[str] = []
    watch = Watch(should_stop=lambda: len(begun) >= stages)
    with pytest.raises(Interrupted) as stopped:
        prepare(session(), read(), ASKED, watch=watch, on_stage=lambda stage, _: begun.append(stage))
    assert stopped.value.exit_code == 130 and asked == ["plan", "ground"][:stages]


@pytest.mark.parametrize(
    ("flags", "request_", "given", "error", "words"),
    [
        ({"options": {"painter": {"stepz": 3}}}, ASKED, (), UsageError, "stepz"),
        ({"editor": "paintr"}, ASKED, (), UsageError, "paintr"),
        ({"grounders": ("plases",)}, ASKED, (), UsageError, "plases"),
        ({"device": "cuda:7"}, ASKED, (), UsageError, "cuda:7"),
        ({}, Request(), (), UsageError, "nothing is asked for"),
        ({}, Request(instruction="  "), (), UsageError, "nothing is asked for"),
        ({}, Request(source="a dog"), (), UsageError, "before and after, is missing"),
        ({}, ASKED, [Region("dog", box=(90.0, 20.0, 30.0, 60.0))], InputRefused, "90,20,30,60"),
        ({}, ASKED, [Region("dog", mask=np.ones((3, 3), np.float32))], InputRefused, "3x3"),
        ({}, ASKED, [Region("dog")], InputRefused, "neither box nor mask"),
    ],
)
def test_what_can_be_refused_is_refused_before_anybody_is_asked(
    asked: list[str], flags: dict[str, Any], request_: Request, given: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        prepare(session(**flags), read(), request_, given)
    assert asked == []


def test_what_a_plan_alone_shows_is_refused_before_the_first_step(asked: list[str]) -> None:
    with pytest.raises(UsageError, match="no region is given for 'dog'"):
        prepare(session(grounders=(), grounded=True), read(), PLAN)
    with pytest.raises(InputRefused, match="cat"):
        prepare(session(), read(), PLAN, [Region("cat", box=DOG.box)])
    with pytest.raises(UsageError, match="'somehow'"):
        prepare(session(), read(), PLAN, work="somehow")  # type: ignore[arg-type]
    assert "edit" not in asked


def test_a_planner_that_is_not_needed_may_be_unusable() -> None:
    assert prepare(session(planner="nobody"), read(), PLAN).plan == PLAN
    with pytest.raises(UsageError, match="nobody"):
        prepare(session(planner="nobody"), read(), ASKED)


# --- the photograph stays as it was read ------------------------------------------------------------------------------


def writes(image: np.ndarray) -> None:
    image[0, 0] = 7


def writes_behind(image: np.ndarray) -> None:
    """As a library does that knows nothing of numpy's flag, torch among them."""
    ctypes.memset(image.__array_interface__["data"][0], 7, 1)


@pytest.mark.parametrize(
    ("who", "write"),
    [
        ("planner", writes),
        ("planner", writes_behind),
        ("grounder", writes),
        ("grounder", writes_behind),
        ("editor", writes),
    ],
)
def test_who_writes_into_the_photograph_is_named(monkeypatch: pytest.MonkeyPatch, who: str, write: Any) -> None:
    kind: Any = {"planner": fakes.FakePlanner, "grounder": fakes.FakeGrounder, "editor": fakes.FakeEditor}[who]
    method = {"planner": "plan", "grounder": "ground", "editor": "check"}[who]
    picture = read()
    original = getattr(kind, method)

    def vandal(self: Any, first: Any, *more: Any) -> Any:
        write(first if who == "editor" else first.image)
        return original(self, first, *more)

    monkeypatch.setattr(kind, method, vandal)
    before = picture.pixels.copy()
    with pytest.raises(PluginBroken) as named:
        if who == "editor":  # it sees the photograph itself only where a thing was not found
            prepare(session(options={"places": {"boxes": {}}}), picture, ASKED)
        else:
            prepare(session(), picture, ASKED)
    assert named.value.exit_code == 9
    name = {"planner": "arrows", "grounder": "places", "editor": "painter"}[who]
    assert name in named.value.message
    if write is writes:
        assert "read-only" in named.value.message and (picture.pixels == before).all()
    else:
        assert "written into the photograph" in named.value.message


def test_a_job_for_another_editor_keeps_plan_and_regions() -> None:
    job = prepare(session(), read(), ASKED, seed=1)
    other = session(options={"painter": {"colour": (0, 0, 9)}})
    first, second = job.edit(), replace(job, session=other).edit()
    assert isinstance(first.job, PhotoJob) and first.regions == second.regions
    inside = first.asked == 1
    assert (first.image != second.image)[inside].any() and (first.image == second.image)[first.asked == 0].all()
