"""Outputs: refused before the work, reserved while it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_backends
import numpy as np
import pytest
from PIL import Image as Pictures

from gas.errors import GasError, ResultRefused, UsageError
from gas.files import OutputExists
from gas.interfaces import Edited, EditJob, Step, Watch
from gas.picture import photo
from gas.run import output
from gas.run.job import PhotoJob
from gas.run.session import Session
from gas.testing import fakes
from gas.types import EditPlan, Region, Subtask

PLAN = EditPlan(subtasks=(Subtask(source="dog", target="tiger"),))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    noise = np.random.default_rng(1).integers(0, 200, (90, 120, 3), dtype=np.uint8)
    Pictures.fromarray(noise).save(tmp_path / "dog.png")
    return tmp_path / "dog.png"


def job(picture: Path | photo.Photo, edit: Callable[[Any, EditJob], Edited] | None = None) -> PhotoJob:
    read = photo.read(picture) if isinstance(picture, Path) else picture
    session = Session.of(registry=fake_backends.registry(), planner="arrows", editor="painter", profile="diorama")
    if edit is not None:
        kind = type("Made", (fakes.FakeEditor,), {"edit": edit})
        session._backends["editors", "painter"] = kind(fakes.FakeEditorOptions(), session.runtime)
    mask = np.zeros(read.pixels.shape[:2], np.float32)
    mask[: len(mask) // 2] = 1
    return PhotoJob(session, read, PLAN, (Region("dog", mask=mask, subtask=0),), 1)


def must_not(self: Any, given: EditJob) -> Edited:
    raise AssertionError("the work was begun")


def wide(width: int, height: int) -> photo.Photo:
    return photo.of_pixels(np.zeros((height, width, 3), np.uint8))


def refused(picture: photo.Photo, out: Path, **how: Any) -> GasError:
    """What is refused, by the check and by the run alike; the run does not begin, and leaves nothing."""
    before = sorted(out.parent.rglob("*")) if out.parent.is_dir() else []
    with pytest.raises(GasError) as checked:
        job(picture).check(out, **how)
    with pytest.raises(GasError) as ran:
        job(picture, must_not).run(out, **how)
    assert (checked.value.message, checked.value.exit_code) == (ran.value.message, ran.value.exit_code)
    assert (sorted(out.parent.rglob("*")) if out.parent.is_dir() else []) == before
    return checked.value


def test_what_the_format_cannot_hold(tmp_path: Path, picture: Path) -> None:
    clear = replace(photo.read(picture), alpha=np.zeros((90, 120), np.uint8))
    for found, words in (
        (refused(clear, tmp_path / "a.jpg"), "transparency"),
        (refused(wide(17_000, 4), tmp_path / "wide.webp"), "17000x4"),
        (refused(wide(4, 65_600), tmp_path / "tall.jpg"), "4x65600"),
        (refused(photo.read(picture), tmp_path / "a.xyz"), "unknown extension"),
        (refused(photo.read(picture), tmp_path / "nul.png"), "Windows"),
    ):
        assert found.exit_code == 2 and words in found.message


def test_a_folder_that_is_missing_or_may_not_be_written_to(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = refused(photo.read(picture), tmp_path / "nowhere" / "a.png")
    assert found.exit_code == 2 and "there is no such folder" in found.message
    assert not (tmp_path / "nowhere").exists(), "a wrong name would go unnoticed if it were made"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "may not be written to" in refused(photo.read(picture), tmp_path / "a.png").message


def test_a_folder_that_only_turns_out_to_be_closed(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Access lists and network shares tell only who tries. The reservation tries."""

    def closed(path: Path, flags: int, mode: int = 0o777) -> int:
        if path.name.endswith(".gas-lock"):
            raise PermissionError(13, "Permission denied")
        return os_open(path, flags, mode)

    os_open = os.open
    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(UsageError, match="Permission denied"):
        job(picture, must_not).run(tmp_path / "a.png")


def test_the_photograph_is_never_replaced_under_any_name(tmp_path: Path, picture: Path) -> None:
    before = picture.read_bytes()
    (tmp_path / "link.png").symlink_to(picture)
    os.link(picture, tmp_path / "hard.png")
    (tmp_path / "also").symlink_to(tmp_path)
    for name in (picture, tmp_path / "link.png", tmp_path / "hard.png", tmp_path / "also" / "dog.png"):
        found = refused(photo.read(picture), name, overwrite=True)
        assert found.exit_code == 2 and "is the input" in found.message
    linked = photo.read(tmp_path / "link.png")
    assert "is the input" in refused(linked, picture, overwrite=True).message
    assert picture.read_bytes() == before


@pytest.mark.parametrize("name", ["out.png", "out.png.gas.json", "out.png.gas-state"])
def test_what_is_there_stays_unless_it_may_be_replaced(tmp_path: Path, picture: Path, name: str) -> None:
    """An output, its record, and the state that an interrupted run has left."""
    (tmp_path / name).write_bytes(b"mine")
    found = refused(photo.read(picture), tmp_path / "out.png")
    assert isinstance(found, OutputExists) and found.exit_code == 2 and (tmp_path / name).read_bytes() == b"mine"
    assert ("resume" in found.remedy) == name.endswith("state")
    job(picture).run(tmp_path / "out.png", overwrite=True)


def test_only_a_file_is_replaced(tmp_path: Path, picture: Path) -> None:
    os.mkfifo(tmp_path / "out.png")
    found = refused(photo.read(picture), tmp_path / "out.png", overwrite=True)
    assert found.exit_code == 2 and "not a file that could be replaced" in found.message


# --- at the same time -------------------------------------------------------------------------------------------------


class Slow:
    """An editor that waits in its first step until it is told to go on."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def on_step(self, step: Step) -> None:
        self.begun.set()
        assert self.go.wait(30)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_run_with_the_same_output_is_refused_at_its_start(
    tmp_path: Path, picture: Path, overwrite: bool
) -> None:
    slow, out = Slow(), tmp_path / "out.png"
    done: list[Any] = []
    first = threading.Thread(target=lambda: done.append(job(picture).run(out, watch=Watch(on_step=slow.on_step))))
    first.start()
    try:
        assert slow.begun.wait(30) and not out.exists()
        with pytest.raises(OutputExists, match=r"out\.png") as found:
            job(picture, must_not).run(out, overwrite=overwrite)
        assert found.value.exit_code == 2
        job(picture).run(tmp_path / "other.png")
    finally:
        slow.go.set()
        first.join()
    assert done and out.exists()
    assert {path.name for path in tmp_path.iterdir()} == {
        "dog.png",
        *(f"{name}.png{end}" for name in ("out", "other") for end in ("", ".gas.json")),
    }


def test_names_beside_the_photograph_are_told_apart_while_nothing_is_written_yet(tmp_path: Path, picture: Path) -> None:
    read = photo.read(picture)
    (tmp_path / "dog-edited-2.png.gas-state").write_bytes(b"of an interrupted run")
    with output.reserve_output(read) as first, output.reserve_output(read) as second:
        assert [first.path.name, second.path.name] == ["dog-edited.png", "dog-edited-3.png"]
    with output.reserve_output(read) as again:
        assert again.path == first.path
    with pytest.raises(UsageError, match="no file"), output.reserve_output(photo.of_pixels(read.pixels)):
        raise AssertionError("there is no name beside an array")


KILLED = """
import os, signal, sys
from pathlib import Path
import fake_backends
from test_output import job
from gas.interfaces import Watch
from gas import files
def die(step):
    if step.index == 2:
        with files.atomic(Path(sys.argv[1]).with_name("other.png")) as stream:
            stream.write(b"half")
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)
job(Path(sys.argv[1])).run(Path(sys.argv[2]), watch=Watch(on_step=die))
"""


def test_the_next_run_clears_up_after_one_that_was_killed_and_keeps_its_state(tmp_path: Path, picture: Path) -> None:
    tests = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(tests.parent), str(tests)])}
    out = tmp_path / "killed.png"
    command = [sys.executable, "-c", KILLED, str(picture), str(out)]
    assert subprocess.run(command, env=environment, timeout=120).returncode == -signal.SIGKILL
    left = {path.name for path in tmp_path.iterdir()} - {"dog.png"}
    hidden = {name for name in left if name.startswith(".")}
    assert len(hidden) == 2 and left - hidden == {"killed.png.gas-state"}
    job(picture).run(tmp_path / "next.png")
    assert not hidden & {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "killed.png.gas-state").exists()
    with pytest.raises(OutputExists, match="interrupted"):
        job(picture).run(out)


# --- states -----------------------------------------------------------------------------------------------------------


def test_a_run_that_ended_in_a_refusal_leaves_no_state(tmp_path: Path, picture: Path) -> None:
    def refuses(self: Any, given: EditJob) -> Edited:
        assert given.watch.checkpoint is not None
        given.watch.checkpoint({"step": 1})
        raise ResultRefused("not finite")

    with pytest.raises(ResultRefused):
        job(picture, refuses).run(tmp_path / "out.png")
    assert [path.name for path in tmp_path.iterdir()] == ["dog.png"]


def test_a_run_that_broke_keeps_its_state(tmp_path: Path, picture: Path) -> None:
    def breaks(self: Any, given: EditJob) -> Edited:
        assert given.watch.checkpoint is not None
        given.watch.checkpoint({"step": 1})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job(picture, breaks).run(tmp_path / "out.png")
    assert {path.name for path in tmp_path.iterdir()} == {"dog.png", "out.png.gas-state"}


def test_the_callers_own_checkpoint_is_called_too(tmp_path: Path, picture: Path) -> None:
    states: list[Any] = []
    job(picture).run(tmp_path / "out.png", watch=Watch(checkpoint=states.append))
    assert len(states) == 4


# --- plain pictures ---------------------------------------------------------------------------------------------------


def test_maps_are_scaled_to_white(tmp_path: Path) -> None:
    output.write_picture(tmp_path / "m.png", np.array([[0.0, 0.25], [0.5, 0.5]], np.float32))
    assert np.asarray(Pictures.open(tmp_path / "m.png")).tolist() == [[0, 128], [255, 255]]


def test_a_plain_picture_is_a_png(tmp_path: Path) -> None:
    output.check_picture(tmp_path / "m.png")
    with pytest.raises(UsageError, match="written as PNG"):
        output.check_picture(tmp_path / "m.jpg")
    (tmp_path / "m.png").write_bytes(b"mine")
    with pytest.raises(OutputExists):
        output.check_picture(tmp_path / "m.png")
    output.check_picture(tmp_path / "m.png", overwrite=True)
