"""Warnings of libraries and backends: collected for the record, each once, and by each thread its own."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fake_backends
import numpy as np
import pytest
from PIL import Image as Pictures

from gas import notes
from gas.interfaces import Edited, EditJob
from gas.picture import photo
from gas.run import record, replay
from gas.run.job import prepare
from gas.run.record import Request
from gas.run.session import Session
from gas.testing import fakes

BOXES = {"places": {"boxes": {"dog": [0.1, 0.1, 0.7, 0.7]}}}


@pytest.fixture(autouse=True)
def _silent() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "dog.png"
    Pictures.fromarray(np.random.default_rng(1).integers(0, 200, (90, 120, 3), dtype=np.uint8)).save(path)
    return path


def session(flags: Mapping[str, Any] = {}) -> Session:
    chosen = {"planner": "arrows", "editor": "painter", "profile": "diorama", "grounders": ("places",)}
    return Session.of(registry=fake_backends.registry(), **{**chosen, "options": BOXES, **flags})


def warning_editor(self: Any, job: EditJob) -> Edited:
    for _ in range(3):
        notes.warn("the model does not see: 'and a hat'")
    return Edited(np.full_like(job.image, 90), log={"notes": ["a rough region"]})


def test_warnings_of_plan_place_and_edit_are_in_the_record(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.FakeEditor, "edit", warning_editor)
    monkeypatch.setattr(fakes.FakeGrounder, "segments", False)
    job = prepare(session(), photo.read(picture), Request(instruction="dog -> tiger"), required=True, seed=1)
    done = job.run(picture.with_name("out.png"))
    assert done.record.notes == (
        "the mask of 'dog' is its whole box: places outlines nothing; a segmenter after it would",
    )
    assert done.record.log["notes"] == ["a rough region", "the model does not see: 'and a hat'"]
    assert record.read_record(done.written.path) == done.record


def test_a_replay_keeps_what_was_warned_of_before_the_edit(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.FakeGrounder, "segments", False)
    read = photo.read(picture)
    done = prepare(session(), read, Request(instruction="dog -> tiger"), required=True, seed=1).run(
        picture.with_name("out.png")
    )
    again = replay.again(done.record, read, session).run(picture.with_name("again.png"))
    assert again.record.notes == done.record.notes != ()
    assert again.written.path.read_bytes() == done.written.path.read_bytes()


def test_a_mask_that_outlines_is_no_box(picture: Path) -> None:
    job = prepare(session(), photo.read(picture), Request(instruction="dog -> tiger"), required=True, seed=1)
    assert job.notes == ()  # the fake says that it is a segmenter


def test_records_without_notes_can_be_read(picture: Path) -> None:
    done = prepare(session(), photo.read(picture), Request(instruction="dog -> tiger"), required=True, seed=1).run(
        picture.with_name("out.png")
    )
    plain = json.loads(done.record.to_json())
    del plain["notes"]
    assert record.parse_record(json.dumps(plain)).notes == ()


def test_each_thread_collects_its_own() -> None:
    seen: dict[str, list[str]] = {}
    both = threading.Barrier(2)

    def run(name: str) -> None:
        with notes.collected() as mine:
            both.wait()
            notes.keep(f"from {name}")
            both.wait()
        seen[name] = mine

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"a": ["from a"], "b": ["from b"]}


def test_a_sentence_is_one_line_and_short() -> None:
    with notes.collected() as mine:
        notes.keep("red\x1b[31m\nalert " + "x" * 5000)
        for number in range(500):
            notes.keep(str(number))
    assert mine[0].startswith("red [31m alert x") and len(mine[0]) == notes.MAX_CHARACTERS
    assert len(mine) == notes.MAX_NOTES


def test_a_warning_is_pythons_own_too() -> None:
    with pytest.warns(UserWarning, match="not done") as said:
        notes.warn("not done")
    assert said[0].filename == __file__
