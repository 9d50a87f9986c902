"""`gas edit` and `gas info`: what is refused before the work, and figures that are the same wherever they are shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pictures
from test_cli import FAKE, Said, edit, gas, here  # noqa: F401 (the last two are fixtures)

from gas.interfaces import Edited, EditJob
from gas.testing import fakes

BEGUN = "1 subtask on cpu"
"""What is printed before the first step."""


def outside(said: str) -> list[str]:
    """The lines that say what has changed where no change was asked for."""
    return [line.strip() for line in said.splitlines() if "outside" in line or "beyond" in line]


def beyond(self: Any, job: EditJob) -> Edited:
    mask = np.zeros(job.image.shape[:2], np.float32)
    mask[: len(mask) // 2] = 1
    return Edited(np.where(mask[..., None] > 0, np.uint8(250), job.image), mask=mask)


# --- one number -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["out.png", "out.jpg"])
@pytest.mark.parametrize("editor", [None, beyond])
def test_edit_and_info_print_what_is_measured_on_the_file(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    out: str,
    editor: Any,
) -> None:
    if editor is not None:
        monkeypatch.setattr(fakes.FakeEditor, "edit", editor)
    told = gas(*edit("-o", out, "--json"))
    assert told.code == 0, told.err
    before, after = (np.asarray(Pictures.open(here / name)).astype(int) for name in ("dog.png", out))
    asked = np.zeros((90, 120), bool)
    asked[20:60, 30:80] = True
    largest = np.abs(before - after)[~asked].max()
    data = json.loads(told.out)["data"]
    assert data["outside"]["max"] == largest
    assert (data["outside"]["beyond"] > 0) == (editor is beyond)
    assert outside(told.err) == outside(gas("info", out).out) != []
    number = "bit for bit" if largest == 0 else f"differs by {largest:g} at most"
    assert number in outside(told.err)[0]
    if editor is beyond:
        assert f"painter edited {100 * data['outside']['beyond']:.1f} % of the picture beyond" in outside(told.err)[1]
    elif out == "out.jpg":
        assert "PNG keeps them exactly" in outside(told.err)[0]


def test_a_record_without_its_file_says_that_encoding_came_after(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
) -> None:
    for out in ("out.png", "out.jpg"):
        assert gas(*edit("-o", out)).code == 0
        (here / f"{out}.gas.json").unlink()
    assert outside(gas("info", "out.png").out) == ["outside the regions: bit for bit the input's"]
    assert "before it became JPEG" in outside(gas("info", "out.jpg").out)[0]


def test_an_edit_without_regions_does_not_speak_of_any(gas: Callable[..., Said], monkeypatch: Any) -> None:  # noqa: F811
    whole = gas("edit", "dog.png", "dog -> tiger", *FAKE, "-o", "whole.png")
    assert "no regions: the whole picture was edited" in whole.err and "outside" not in whole.err
    assert "no regions: the whole picture was edited" in gas("info", "whole.png").out
    monkeypatch.setattr(fakes.FakeEditor, "edit", beyond)
    own = gas("edit", "dog.png", "dog -> tiger", *FAKE, "-o", "own.png")
    (line,) = outside(own.err)
    assert line.startswith("outside the place that painter chose (") and line.endswith("bit for bit the input's")
    assert outside(gas("info", "own.png").out) == [line]


# --- before the first step --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["-o", "nowhere/out.png"], "there is no such folder"),
        (["-o", "dog.png"], "is the input"),
        (["-o", "dog.png", "--overwrite"], "is the input"),
        (["-o", "link.png", "--overwrite"], "is the input"),
        (["-o", "out.png", "--save-raw", "dog.png", "--overwrite"], "is the input"),
        (["-o", "out.png", "--save-raw", "out.png"], "two outputs"),
        (["-o", "out.png", "--save-raw", "mine.png"], "is there already"),
        (["-o", "out.png", "--save-layer", "mine.png"], "is there already"),
        (["-o", "out.png", "--save-raw", "raw.jpg"], "written as PNG"),
        (["-o", "out.png", "--save-raw", "nowhere/raw.png"], "there is no such folder"),
        (["-o", "out.png", "--save-maps", "mine.png/maps"], "is no folder"),
        (["-o", "mine.png"], "is there already"),
        (["-o", "unfinished.png"], "an interrupted run has left its state"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_anything_is_computed(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    words: str,
) -> None:
    monkeypatch.setattr(fakes.FakePlanner, "plan", lambda self, request: 1 / 0)
    (here / "mine.png").write_bytes(b"mine")
    (here / "unfinished.png.gas-state").write_bytes(b"hours of work")
    (here / "link.png").symlink_to("dog.png")
    kept = {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()}
    said = gas(*edit(*more))
    assert said.code == 2 and words in said.err and BEGUN not in said.err, said.err
    assert {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()} == kept


def test_the_sides_that_a_format_takes_are_known_before_the_work(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
) -> None:
    Pictures.new("RGB", (17_000, 4)).save(here / "wide.png")
    said = gas("edit", "wide.png", "dog -> tiger", *FAKE, "-o", "wide.webp")
    assert said.code == 2 and "17000x4" in said.err and BEGUN not in said.err
    Pictures.new("RGBA", (40, 30), (9, 9, 9, 9)).save(here / "clear.png")
    said = gas("edit", "clear.png", "dog -> tiger", *FAKE, "-o", "clear.jpg")
    assert said.code == 2 and "transparency" in said.err and BEGUN not in said.err


def test_another_commands_outputs_are_checked_first_too(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fakes.FakePlanner, "plan", lambda self, request: 1 / 0)
    (here / "mine").mkdir()
    (here / "mine" / "regions.json").write_bytes(b"mine")
    (here / "reply.txt").write_bytes(b"mine")
    for arguments, words in (
        (["plan", "dog.png", "dog -> tiger", *FAKE[:4], "-o", "nowhere/plan.json"], "there is no such folder"),
        (["plan", "dog.png", "dog -> tiger", *FAKE[:4], "--save-reply", "reply.txt"], "is there already"),
        (["ground", "dog.png", "dog -> tiger", *FAKE[:4], "-o", "mine"], "is there already"),
        (["ground", "dog.png", "dog -> tiger", *FAKE[:4], "-o", "dog.png/regions"], "is no folder"),
        (["compare", "dog.png", "dog -> tiger", *FAKE[:4], "--editors", "painter", "-o", "a.jpg"], "written as PNG"),
        (
            ["compare", "dog.png", "dog -> tiger", *FAKE[:4], "--editors", "painter", "-o", "dog.png", "--overwrite"],
            "is the input",
        ),
        (["compare", "dog.png", "dog -> tiger", *FAKE[:4], "--editors", "painter", "-o", "painter.stepz=3"], "stepz"),
    ):
        said = gas(*arguments)
        assert said.code == 2 and words in said.err, (arguments, said.err)


def test_the_photograph_is_not_placed_upon_itself(gas: Callable[..., Said], here: Path) -> None:  # noqa: F811
    assert gas(*edit("-o", "out.png", "--save-layer", "layer.png")).code == 0
    for out in ("dog.png", "layer.png"):
        said = gas("place", "dog.png", "layer.png", "-o", out, "--overwrite")
        assert said.code == 2 and "is the input" in said.err


def test_resuming_replaces_the_runs_own_output_and_no_other(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = fakes.FakeEditor.edit

    def stopped(self: Any, job: EditJob) -> Edited:
        left = iter([False, False])
        return whole(self, replace(job, watch=replace(job.watch, should_stop=lambda: next(left, True))))

    with monkeypatch.context() as patch:
        patch.setattr(fakes.FakeEditor, "edit", stopped)
        said = gas(*edit("-o", "part.png"))
    assert said.code == 130 and "gas edit dog.png --resume part.png.gas-state" in said.err
    (here / "mine.png").write_bytes(b"mine")
    said = gas("edit", "dog.png", "--resume", "part.png", "-o", "mine.png")
    assert said.code == 2 and (here / "mine.png").read_bytes() == b"mine"
    assert gas("edit", "dog.png", "--resume", "part.png").code == 0
    assert not (here / "part.png.gas-state").exists()


def test_an_editor_that_returns_its_input_is_exit_11(gas: Callable[..., Said], here: Path, monkeypatch: Any) -> None:  # noqa: F811
    """On a photograph larger than the working picture it was exit 0 before, "changed by 0.6"."""
    Pictures.open(here / "dog.png").resize((700, 500)).save(here / "large.png")
    monkeypatch.setattr(fakes.FakeEditor, "edit", lambda self, job: Edited(job.image))
    said = gas("edit", "large.png", "dog -> tiger", *FAKE, "--box", "dog=30,20,280,260", "-o", "out.png", "--json")
    assert said.code == 11 and "painter has changed nothing" in said.err and not (here / "out.png").exists()
    assert json.loads(said.out)["error"]["exit_code"] == 11


def test_a_name_beside_the_photograph_is_said_as_it_would_be_typed(gas: Callable[..., Said], here: Path) -> None:  # noqa: F811
    said = gas(*edit("--json"))
    assert "wrote dog-edited.png, record dog-edited.png.gas.json" in said.err
    assert json.loads(said.out)["data"]["output"] == str(here / "dog-edited.png")


def test_neither_previews_nor_maps_replace_the_photograph(gas: Callable[..., Said], here: Path) -> None:  # noqa: F811
    (here / "out-steps").mkdir()
    for name in ("paint-1.png", "out-steps/step00001.png"):
        (here / "dog.png").rename(here / name)
        kept = (here / name).read_bytes()
        arguments = [
            "edit",
            name,
            *edit()[2:],
            "-o",
            "out.png",
            "--preview-every",
            "1",
            "--save-maps",
            ".",
            "--overwrite",
        ]
        said = gas(*arguments)
        assert said.code == 0 and f"{Path(name).name} is the photograph itself" in said.err
        assert (here / name).read_bytes() == kept and (here / "paint-2.png").exists()
        (here / name).rename(here / "dog.png")
