"""One change of a finished edit made again, and things outlined where the user points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_backends
import numpy as np
import pytest
from PIL import Image as Pictures

from gas.errors import InputRefused, Interrupted, UsageError
from gas.interfaces import Watch
from gas.picture import photo as photos
from gas.run.differences import differences
from gas.run.job import PhotoJob, Planned, WrittenEdit, make_plan, prepare
from gas.run.record import Request, read_record
from gas.run.redo import redone
from gas.run.replay import again
from gas.run.session import Session
from gas.testing import fakes
from gas.types import EditPlan, Region, Subtask

PLAN = EditPlan(subtasks=(Subtask(source="dog", target="tiger"), Subtask(source="grass", target="snow")))
GRAIN = {"options": {"painter": {"grain": 40}}}
PLACES = [Region("dog", box=(10.0, 10.0, 50.0, 50.0)), Region("grass", box=(40.0, 40.0, 110.0, 80.0))]


@pytest.fixture
def dog(tmp_path: Path) -> Path:
    noise = np.random.default_rng(1).integers(0, 200, (90, 120, 3), dtype=np.uint8)
    Pictures.fromarray(noise).save(tmp_path / "dog.png")
    return tmp_path / "dog.png"


def session(**flags: Any) -> Session:
    chosen = {"planner": "arrows", "grounders": ("places",), "editor": "painter", "profile": "diorama", **flags}
    return Session.of(registry=fake_backends.registry(), **chosen)


def edited(dog: Path, out: Path, regions: list[Region] = PLACES, **flags: Any) -> tuple[PhotoJob, WrittenEdit]:
    job = prepare(session(grounders=(), **GRAIN, **flags), photos.read(dog), PLAN, regions, seed=1)
    return job, job.run(out)


def replayed(dog: Path, written: WrittenEdit, out: Path, **flags: Any) -> WrittenEdit:
    """The edit in the record of a file, made again."""

    def opened(recorded: Mapping[str, Any]) -> Session:
        return Session.of(registry=fake_backends.registry(), **{**recorded, **flags})

    return again(read_record(written.written.path), photos.read(dog), opened).run(out)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_change_made_again_leaves_the_others_and_its_record_makes_the_same_file(
    dog: Path, tmp_path: Path, suffix: str
) -> None:
    photo = tmp_path / f"photo{suffix}"
    Pictures.open(dog).save(photo, quality=90)
    job, done = edited(photo, tmp_path / f"first{suffix}")
    result = done.result
    for number, subtask in enumerate((0, 1, 0)):  # the second one begins from what the first has left, and so on
        before, result = result, redone(job, result, subtask, "painter", seed=70 + number)
        own, other = np.zeros((2, 90, 120), bool)
        own[10:50, 10:50], other[40:80, 40:110] = True, True
        mine, theirs = (own, other) if subtask == 0 else (other, own)
        assert np.array_equal(result.image[theirs & ~mine], before.image[theirs & ~mine])
        assert np.array_equal(result.image[~(own | other)], job.photo.pixels[~(own | other)])
        assert (result.image[mine & ~theirs] != before.image[mine & ~theirs]).any()
    written = job.write(result, tmp_path / f"redone{suffix}")
    verified = written.record.verified
    assert verified is not None and verified.findings == () and written.record.verifier is None
    assert [(one.finding.subtask, one.seed, one.asked, one.kept) for one in verified.attempts] == [
        (0, 70, True, "accepted"),
        (1, 71, True, "accepted"),
        (0, 72, True, "accepted"),
    ]
    assert differences(done.record, written.record) == [
        "tiger in the place of dog: made again: no, "
        "now by hand with painter, seed 70, then by hand with painter, seed 72",
        "snow in the place of grass: made again: no, now by hand with painter, seed 71",
    ]
    same = replayed(photo, written, tmp_path / f"again{suffix}")
    assert same.written.path.read_bytes() == written.written.path.read_bytes()


def test_what_is_made_again_begins_from_the_photograph_and_is_done_by_whoever_was_named(
    dog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, done = edited(dog, tmp_path / "first.png")
    seen: list[Any] = []
    edit = fakes.FakeEditor.edit
    monkeypatch.setattr(fakes.FakeEditor, "edit", lambda self, job: (seen.append(job), edit(self, job))[1])
    redone(job, done.result, 1, "painter", seed=9)
    (asked,) = seen
    assert [one.target for one in asked.plan.subtasks] == ["snow"] and asked.seed == 9
    with pytest.raises(UsageError, match="nobody"):
        redone(job, done.result, 1, "nobody", seed=9)


def test_what_is_made_again_is_verified_where_the_rest_was(dog: Path, tmp_path: Path) -> None:
    flags = {"verify": True, "verifier": "colour-eye"}
    job, done = edited(dog, tmp_path / "first.png", **flags)
    assert done.record.verified is not None
    first = [one.verdict for one in done.record.verified.findings]
    result = redone(job, done.result, 0, "painter", seed=5)
    assert result.verified is not None
    (attempt,) = result.verified.attempts
    assert attempt.finding.evidence and attempt.finding == result.verified.findings[0]
    assert [one.verdict for one in result.verified.first] == first
    written = job.write(result, tmp_path / "redone.png")
    assert written.record.verifier is not None and written.record.verifier.name == "colour-eye"
    same = replayed(dog, written, tmp_path / "again.png")
    assert same.written.path.read_bytes() == written.written.path.read_bytes()


def test_the_model_that_was_named_stays_for_the_same_editor_and_is_no_other_ones() -> None:
    named = session(model="somewhere", retry_editors=("dds",)).settings
    assert named.with_editor("painter").model == "somewhere" and named.with_editor("painter").grounded
    assert named.with_editor("dds").model is None


def test_a_change_without_a_region_is_not_made_again_alone(dog: Path, tmp_path: Path) -> None:
    job, done = edited(dog, tmp_path / "first.png", [])
    with pytest.raises(InputRefused, match="change 1 has no region"):
        redone(job, done.result, 0, "painter", seed=5)


def test_a_change_that_is_stopped_while_it_is_made_again_is_nothing(dog: Path, tmp_path: Path) -> None:
    job, done = edited(dog, tmp_path / "first.png")
    with pytest.raises(Interrupted):
        redone(job, done.result, 0, "painter", seed=5, watch=Watch(should_stop=lambda: True))


def test_a_plan_that_was_made_before_is_not_made_again(dog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, asked = photos.read(dog), Request(instruction="dog -> tiger; grass -> snow")
    begun: list[str] = []
    mine = session(grounders=())
    planned = make_plan(mine, photo, asked, seed=4, on_stage=lambda stage, names: begun.append(f"{stage} {names}"))
    assert begun == ["plan arrows"] and planned.planner.name == "arrows"
    monkeypatch.setattr(fakes.FakePlanner, "plan", lambda *_: pytest.fail("asked again"))
    job = prepare(mine, photo, replace(planned, notes=("look out",)), PLACES, seed=4)
    assert (job.plan, job.request, job.planner) == (planned.plan, asked, planned.planner)
    assert job.notes == ("look out",)
    with pytest.raises(Interrupted):
        make_plan(mine, photo, asked, seed=4, watch=Watch(should_stop=lambda: True))
    assert isinstance(planned, Planned)


class Segmenter(fakes.FakeGrounder):
    """A box becomes its left half."""

    segments = True
    detects = False

    def ground(self, job: Any) -> list[Region]:
        height, width = job.image.shape[:2]
        (region,) = job.regions
        assert region.box is not None and region.mask is None
        x0, y0, x1, y1 = (int(value) for value in region.box)
        mask = np.zeros((height, width), np.float32)
        mask[y0:y1, x0 : (x0 + x1) // 2] = 1
        return [replace(region, mask=mask)]


def test_a_box_is_a_hint_to_the_segmenter(dog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes, "FakeGrounder", Segmenter)
    drawn = Region("dog", box=(10.0, 10.0, 50.0, 50.0), subtask=1, given=True)
    found = session().outline(photos.read(dog).pixels, drawn)
    assert (found.phrase, found.subtask) == ("dog", 1)
    assert found.mask is not None and found.mask.sum() == 20 * 40


def test_without_a_segmenter_it_says_so(dog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.FakeGrounder, "segments", False)
    pixels = photos.read(dog).pixels
    with pytest.raises(UsageError, match="none of the grounders outlines"):
        session().outline(pixels, PLACES[0])
    with pytest.raises(UsageError, match="none is chosen"):
        session(grounders=()).outline(pixels, PLACES[0])
