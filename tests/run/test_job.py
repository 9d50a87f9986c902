"""From photograph to edited file, record, replay and resume, with backends that need no model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fake_backends
import numpy as np
import pytest
from PIL import Image as Pictures

from gas.checkpoint import SUFFIX
from gas.errors import InputRefused, ResultRefused
from gas.files import OutputExists
from gas.interfaces import Edited, EditJob, Watch
from gas.picture import photo
from gas.run import record, replay
from gas.run.job import PhotoJob, WrittenEdit
from gas.run.record import Request
from gas.run.session import Session
from gas.testing import fakes
from gas.types import EditPlan, Region, Subtask

PLAN = EditPlan(subtasks=(Subtask(source="dog", target="tiger"),))
FLAGS: dict[str, Any] = {"planner": "arrows", "editor": "painter", "profile": "diorama"}


def open_session(flags: Mapping[str, Any]) -> Session:
    return Session.of(registry=fake_backends.registry(), **{**FLAGS, **flags})


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "dog.png"
    noise = np.random.default_rng(1).integers(0, 200, (90, 120, 3), dtype=np.uint8)
    Pictures.fromarray(noise).save(path)
    return path


def job(picture: Path, steps: int = 8, **changes: Any) -> PhotoJob:
    read = photo.read(picture)
    mask = np.zeros(read.pixels.shape[:2], np.float32)
    mask[20:60, 30:80] = 1
    values: dict[str, Any] = {
        "session": open_session({"options": {"painter": {"steps": steps, "grain": 20}}}),
        "photo": read,
        "plan": PLAN,
        "regions": (Region("dog", mask=mask, subtask=0),),
        "seed": 5,
        "request": Request(instruction="dog -> tiger"),
    }
    return PhotoJob(**{**values, **changes})


def test_output_record_and_measures(picture: Path) -> None:
    out = picture.with_name("out.png")
    done = job(picture).run(out)
    assert done.written.exact and done.written.outside.max == 0
    assert done.state is None and not out.with_name(out.name + SUFFIX).exists()
    told = record.read_record(out)
    assert told.seed == 5 and told.editor.name == "painter" and told.editor.options["steps"] == 8
    assert told.asked.instruction == "dog -> tiger" and told.input.name == "dog.png"
    assert told.measured.inside[0] > 10
    assert str(picture.parent) not in told.to_json()


def test_replay_gives_the_same_bytes(picture: Path) -> None:
    first = job(picture).run(picture.with_name("a.png"))
    again = replay.again(record.read_record(first.written.path), photo.read(picture), open_session)
    second = again.run(picture.with_name("b.png"))
    assert first.written.path.read_bytes() == second.written.path.read_bytes()
    assert replay.drift(first.record, second.record) == []


def test_replay_of_another_picture_is_refused(picture: Path) -> None:
    first = job(picture).run(picture.with_name("a.png"))
    other = picture.with_name("other.png")
    Pictures.new("RGB", (120, 90), "white").save(other)
    with pytest.raises(InputRefused, match=r"other\.png is not the picture"):
        replay.again(first.record, photo.read(other), open_session)


def test_drift_is_named(picture: Path) -> None:
    then = job(picture).run(picture.with_name("a.png")).record
    now = then.model_copy(update={"gas": "9.9", "libraries": {**then.libraries, "numpy": "0.1"}})
    assert replay.drift(then, now) == [f"gas was {then.gas}, is 9.9", f"numpy was {then.libraries['numpy']}, is 0.1"]


def interrupted(picture: Path, out: Path, after: int) -> WrittenEdit:
    left = iter([False] * after)
    return job(picture).run(out, watch=Watch(should_stop=lambda: next(left, True)))


@pytest.mark.parametrize("given", ["state", "output", "record"])
def test_resumed_run_gives_the_bytes_of_one_that_was_not_stopped(picture: Path, given: str) -> None:
    whole = job(picture).run(picture.with_name("whole.png"))
    part = interrupted(picture, picture.with_name("part.png"), 3)
    assert part.result.stopped and part.state is not None and part.state.exists()
    path = {"state": part.state, "output": part.written.path, "record": part.record_path}[given]
    told, state = replay.state_record(path)
    resumed = replay.again(told, photo.read(picture), open_session, resume=state)
    done = resumed.run(part.written.path, overwrite=True)
    assert done.written.path.read_bytes() == whole.written.path.read_bytes()
    assert done.result.log["steps"] == 8 and not state.exists()


@pytest.mark.parametrize(
    "change", [{"plan": EditPlan(subtasks=(Subtask(source="dog", target="wolf"),))}, {"seed": 6}, {"work": "full"}]
)
def test_resume_refuses_another_run(picture: Path, change: dict[str, Any]) -> None:
    part = interrupted(picture, picture.with_name("part.png"), 3)
    before = part.written.path.read_bytes()
    with pytest.raises(InputRefused, match="another run"):
        job(picture, resume=part.state, **change).run(part.written.path, overwrite=True)
    assert part.written.path.read_bytes() == before


def test_resume_refuses_other_options(picture: Path) -> None:
    part = interrupted(picture, picture.with_name("part.png"), 3)
    with pytest.raises(InputRefused, match="another run"):
        job(picture, steps=9, resume=part.state).run(part.written.path, overwrite=True)


def test_nothing_to_resume_says_so(picture: Path) -> None:
    done = job(picture).run(picture.with_name("a.png"))
    with pytest.raises(InputRefused, match="no unfinished run"):
        replay.state_record(done.written.path)


def test_existing_output_stays(picture: Path) -> None:
    out = picture.with_name("out.png")
    out.write_bytes(b"mine")
    with pytest.raises(OutputExists):
        job(picture).check(out)
    with pytest.raises(OutputExists):
        job(picture).run(out)
    assert out.read_bytes() == b"mine"


def test_failed_run_leaves_the_earlier_output(picture: Path) -> None:
    class Black(fakes.FakeEditor):
        def edit(self, given: EditJob) -> Edited:
            return Edited(np.zeros_like(given.image))

    out = picture.with_name("out.png")
    out.write_bytes(b"earlier")
    failing = job(picture)
    failing.session._backends["editors", "painter"] = Black(fakes.FakeEditorOptions(), failing.session.runtime)
    with pytest.raises(ResultRefused):
        failing.run(out, overwrite=True)
    assert out.read_bytes() == b"earlier"
    assert sorted(p.name for p in picture.parent.iterdir()) == ["dog.png", "out.png"]
