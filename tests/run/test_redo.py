"""One change of a finished edit taken back, and things outlined where the user points."""

from __future__ import annotations

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
from gas.run.job import Planned, make_plan, prepare
from gas.run.record import Request
from gas.run.redo import taken_back
from gas.run.session import Session
from gas.testing import fakes
from gas.types import EditPlan, Region, Subtask

PLAN = EditPlan(subtasks=(Subtask(source="dog", target="tiger"), Subtask(source="grass", target="snow")))
PLACES = [Region("dog", box=(10.0, 10.0, 50.0, 50.0)), Region("grass", box=(40.0, 40.0, 110.0, 80.0))]


@pytest.fixture
def dog(tmp_path: Path) -> Path:
    noise = np.random.default_rng(1).integers(0, 200, (90, 120, 3), dtype=np.uint8)
    Pictures.fromarray(noise).save(tmp_path / "dog.png")
    return tmp_path / "dog.png"


def session(**flags: Any) -> Session:
    chosen = {"planner": "arrows", "grounders": ("places",), "editor": "painter", "profile": "diorama", **flags}
    return Session.of(registry=fake_backends.registry(), **chosen)


def test_only_the_region_of_the_change_is_the_originals_again(dog: Path, tmp_path: Path) -> None:
    photo = photos.read(dog)
    done = prepare(session(grounders=()), photo, PLAN, PLACES, seed=1).run(tmp_path / "out.png")
    back = taken_back(tmp_path / "out.png", photo, done.record, 0, tmp_path / "back.png")
    own, other = np.zeros((2, 90, 120), bool)
    own[10:50, 10:50], other[40:80, 40:110] = True, True
    assert np.array_equal(back.pixels[own & ~other], photo.pixels[own & ~other])
    assert np.array_equal(back.pixels[other | ~own], done.result.image[other | ~own])
    assert not np.array_equal(done.result.image[own & ~other], photo.pixels[own & ~other])


def test_a_change_without_a_region_is_not_taken_back_alone(dog: Path, tmp_path: Path) -> None:
    photo = photos.read(dog)
    done = prepare(session(grounders=()), photo, PLAN, [], seed=1).run(tmp_path / "out.png")
    with pytest.raises(InputRefused, match="change 1 has no region"):
        taken_back(tmp_path / "out.png", photo, done.record, 0, tmp_path / "back.png")
    small = photos.of_pixels(np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(InputRefused, match="10"):
        taken_back(tmp_path / "out.png", small, done.record, 0, tmp_path / "back.png")


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
