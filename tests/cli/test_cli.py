"""The command line: in this process with backends that need no model, and a few runs of the installed program."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, TextIO

import fake_backends
import numpy as np
import pytest
from PIL import Image as Pictures
from warm_program import Program, start

from gas import errors
from gas.backends.registry import Registry
from gas.interfaces import Edited, EditJob
from gas.testing import fakes
from gas_cli import flags
from gas_cli.app import app
from gas_cli.run import NOBODY_READS, run

FAKE = ["--profile", "diorama", "--planner", "arrows", "--editor", "painter", "--grounder", "none"]


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAS_HOME", str(tmp_path / "home"))
    noise = np.random.default_rng(1).integers(0, 200, (90, 120, 3), dtype=np.uint8)
    Pictures.fromarray(noise).save(tmp_path / "dog.png")
    yield tmp_path


@pytest.fixture
def gas(here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    monkeypatch.setattr(Registry, "discover", classmethod(lambda cls: fake_backends.registry()))

    def call(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["gas", *arguments])
        with pytest.raises(SystemExit) as ended:
            run(app)
        out, err = capfd.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    return call


def edit(*more: str) -> list[str]:
    return ["edit", "dog.png", "dog -> tiger", *FAKE, "--box", "dog=30,20,80,60", "--seed", "1", *more]


# --- edit -------------------------------------------------------------------------------------------------------------


def test_edit_writes_a_new_name_beside_the_input_each_time(gas: Callable[..., Said], here: Path) -> None:
    before = (here / "dog.png").read_bytes()
    assert gas(*edit()).code == 0
    assert gas(*edit()).code == 0
    assert {"dog-edited.png", "dog-edited-2.png"} <= {p.name for p in here.iterdir()}
    assert (here / "dog.png").read_bytes() == before
    a, b = (np.asarray(Pictures.open(here / name)) for name in ("dog.png", "dog-edited.png"))
    assert (a != b)[25:55, 35:75].any() and (a == b)[:20].all() and (a == b)[:, 80:].all()


def test_edit_reports_to_people_on_stderr_and_data_on_stdout(gas: Callable[..., Said]) -> None:
    plain = gas(*edit())
    assert plain.out == "" and "bit for bit" in plain.err and "seed 1" in plain.err
    told = gas(*edit("--json"))
    data = json.loads(told.out)["data"]
    assert data["outside"]["max"] == 0 and data["seed"] == 1 and Path(data["output"]).exists()


def test_no_device_is_named_before_one_is_chosen(gas: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs no network never asks which device there is."""
    monkeypatch.setattr("gas_cli.edit.sys", SimpleNamespace(modules={}))
    assert "1 subtask, seed 1" in gas(*edit()).err
    assert "1 subtask on cpu, seed 1" in gas(*edit("--device", "cpu")).err


def test_how_fine_each_place_is_worked_on_is_said_before_the_edit(gas: Callable[..., Said], here: Path) -> None:
    Pictures.new("RGB", (1600, 900), (90, 90, 90)).save(here / "wide.png")
    asked = ["edit", "wide.png", "dog -> tiger; cat -> lion", *FAKE, "--seed", "1", "-o", "out.png"]
    said = gas(*asked, "--box", "dog=30,20,80,60", "--box", "cat=1500,800,1560,860")
    size = r"\(\d+x\d+\)"
    assert re.search(rf"^works in 2 working pictures: cat at 1:1.6 {size}; dog at 1:1.4 {size}$", said.err, re.M)
    assert said.err.index("works in 2") < said.err.index("wrote out.png")
    (wide,) = [line for line in gas(*asked, "--overwrite").err.splitlines() if line.startswith("works on ")]
    assert wide.startswith("works on all at 1:")
    assert "works" not in gas(*edit("--work", "crop")).err, "every pixel is seen"


def test_a_way_to_work_that_needs_regions_is_told_where_there_are_none(gas: Callable[..., Said]) -> None:
    asked = ["edit", "dog.png", "dog -> tiger; cat -> lion", *FAKE, "--work", "frames", "--box", "dog=30,20,80,60"]
    said = gas(*asked, "-o", "out.png", "--json")
    warned = "one working picture shows all: several need a region for every change, and there is none for 'lion in"
    assert said.code == 0 and f"warning: {warned}" in said.err
    assert any(note.startswith(warned) for note in json.loads(gas("info", "out.png", "--json").out)["data"]["notes"])
    assert "one working picture" not in gas(*asked, "--box", "cat=90,70,110,85").err


def test_drawn_seed_is_printed_and_recorded(gas: Callable[..., Said]) -> None:
    arguments = [a for a in edit("--json", "-o", "a.png") if a not in {"--seed", "1"}]
    said = gas(*arguments)
    seed = json.loads(said.out)["data"]["seed"]
    assert f"seed {seed}" in said.err
    assert json.loads(gas("info", "a.png", "--json").out)["data"]["seed"] == seed


def test_output_is_never_overwritten_silently(gas: Callable[..., Said], here: Path) -> None:
    (here / "out.png").write_bytes(b"mine")
    said = gas(*edit("-o", "out.png"))
    assert said.code == 2 and "out.png" in said.err
    assert (here / "out.png").read_bytes() == b"mine"
    assert gas(*edit("-o", "out.png", "--overwrite")).code == 0


def test_o_is_the_output_or_an_option(gas: Callable[..., Said], here: Path) -> None:
    said = gas(*edit("-o", "out.png", "-o", "colour=[0,0,255]", "-o", "steps=2"))
    assert said.code == 0
    pixel = np.asarray(Pictures.open(here / "out.png"))[40, 55]
    assert tuple(pixel) == (0, 0, 255)
    assert gas(*edit("-o", "a.png", "-o", "b.png")).code == 2


def test_split_o() -> None:
    assert flags.split_o(["a.png", "steps=3", "sam.points=[1]", "ground-a-score.w=1"]) == (
        Path("a.png"),
        [(None, "steps", "3"), ("sam", "points", "[1]"), ("ground-a-score", "w", "1")],
    )
    assert flags.split_o(["./a=b.png"]) == (Path("a=b.png"), [])
    assert flags.split_o(None) == (None, [])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["edit", "dog.png", *FAKE], 2, ["nothing is asked for"]),
        (["edit", "missing.png", "dog -> tiger", *FAKE], 3, ["missing.png"]),
        (["edit", "dog.png", "hello", *FAKE], 4, ["hello"]),
        (["edit", "dog.png", "dog -> tiger", *FAKE, "--box", "dog=90,20,30,60"], 3, ["90,20,30,60"]),
        (["edit", "dog.png", "dog -> tiger", *FAKE, "--box", "cat=1,1,30,60"], 3, ["cat", "dog"]),
        (["edit", "dog.png", "dog -> tiger", *FAKE, "--mask", "dog=none.png"], 3, ["none.png"]),
        (["edit", "dog.png", "dog -> tiger", *FAKE, "--plan", "x.json"], 2, ["plan file and a request"]),
        (["edit", "dog.png", *FAKE, "--plan", "x.json"], 3, ["x.json"]),
        (["edit", "dog.png", "dog -> tiger", *FAKE, "-o", "stepz=3"], 2, ["stepz", "steps"]),
        (["edit", "dog.png", "dog -> tiger", *FAKE, "-o", "steps=many"], 2, ["many"]),
        (["edit", "dog.png", "dog -> tiger", *FAKE, "-o", "preset=quik"], 2, ["quik", "quick"]),
        (["edit", "dog.png", "dog -> tiger", *FAKE, "-o", "sam.x=1"], 2, ["sam", "not in use"]),
        (["edit", "dog.png", "dog -> tiger", *FAKE, "-o", "out.gif"], 2, ["out.gif"]),
        (["edit", "dog.png", "dog -> tiger", *FAKE, "--work", "part"], 2, ["part"]),
        (["edit", "dog.png", "dog -> tiger", *FAKE, "--seed", "-1"], 2, ["seed"]),
        (["edit", "dog.png", "dog -> tiger", *FAKE, "--device", "tpu"], 2, ["tpu"]),
        (["edit", "dog.png", "dog -> tiger", *FAKE, "--source", "a"], 2, ["--target"]),
        (["edit", "dog.png", "dog -> tiger", "--editor", "grond-a-score"], 2, ["grond-a-score", "ground-a-score"]),
        (["edit", "dog.png", "dog -> tiger", *FAKE, "--resume", "x.gas-state"], 3, ["x.gas-state"]),
        (["edit", "dog.png", "dog -> tiger", *FAKE[:6], "--grounder", "places"], 5, ["dog", "best score"]),
        (["edit", "dog.png", "dog -> tiger", *FAKE, "--grounded"], 2, ["no region is given for 'dog'", "--box 'dog="]),
        (["compare", "dog.png", "dog -> tiger", *FAKE[:4], "--editors", "nobody+grounded"], 2, ["'nobody'"]),
        (["ground", "dog.png", "dog -> tiger", *FAKE[:4], "--grounder", "none"], 2, ["--box 'dog="]),
        (["info", "nothing.png"], 3, ["nothing.png"]),
        (["replay", "dog.png"], 3, ["dog.png"]),
        (["compare", "dog.png", "dog -> tiger", *FAKE[:4], "--editors", ""], 2, ["--editors"]),
        (["backends", "show", "nobody"], 2, ["nobody"]),
        (["backends", "things"], 2, ["things"]),
        (["bench", "diorama", "--editors", "nobody"], 2, ["nobody"]),
        (["keys", "set", "not a name"], 2, ["name"]),
        (["frobnicate"], 2, ["frobnicate"]),
        (["edit", "--frobnicate"], 2, ["frobnicate"]),
    ],
)
def test_errors_name_the_value_and_have_their_code(
    gas: Callable[..., Said], here: Path, arguments: list[str], code: int, words: list[str]
) -> None:
    said = gas(*arguments)
    assert (said.code, "Traceback" in said.err) == (code, False), said.err
    for word in words:
        assert word in said.err
    assert len(said.err.strip().splitlines()) <= 4
    assert {p.name for p in here.iterdir()} <= {"dog.png", "home"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.GasError("x"), 1),
        (errors.UsageError("x"), 2),
        (errors.InputRefused("x"), 3),
        (errors.PlanUnreadable("x"), 4),
        (errors.ObjectNotFound("x"), 5),
        (errors.ModelUnavailable("x"), 6),
        (errors.OutOfResources("x"), 7),
        (errors.ServiceUnavailable("x"), 8),
        (errors.PluginBroken("x"), 9),
        (errors.BatchIncomplete("x"), 10),
        (errors.ResultRefused("x"), 11),
        (errors.Interrupted("x"), 130),
        (errors.Interrupted("x", signal=15), 143),
        (MemoryError(), 7),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_whatever_happens_has_its_exit_code_and_no_traceback(
    gas: Callable[..., Said], here: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(self: Any, job: EditJob) -> Edited:
        raise error

    monkeypatch.setattr(fakes.FakeEditor, "edit", fail)
    # The fake counts as a third party's, whose bugs are broken plugins; this is about our own.
    monkeypatch.setattr(Registry, "calling", lambda *a, **k: __import__("contextlib").nullcontext())
    said = gas(*edit("-o", "out.png", "--json"))
    assert said.code == code
    assert "Traceback" not in said.err
    assert not (here / "out.png").exists()
    if not isinstance(error, KeyboardInterrupt):
        assert json.loads(said.out)["error"]["exit_code"] == code


@pytest.fixture
def unread() -> Iterator[TextIO]:
    """A pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", buffering=1)
    yield stream
    stream.close()  # what it could not write would raise here, as it does when the interpreter ends


@pytest.mark.parametrize(
    ("stream", "arguments"),
    [
        ("stdout", ["backends"]),
        ("stdout", ["backends", "--json"]),
        ("stdout", ["--help"]),
        ("stderr", edit("-o", "out.png")),
        ("stderr", ["info", "none.png"]),
    ],
)
def test_output_that_nobody_reads_ends_a_command_without_words(
    gas: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, unread: TextIO, stream: str, arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, stream, unread)
    said = gas(*arguments)
    assert (said.code, said.err) == (NOBODY_READS, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_output_that_finds_no_room_is_no_bug(gas: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", buffering=1) as full:  # what is left in it would raise when it is closed
        monkeypatch.setattr(sys, "stdout", full)
        said = gas("backends", "--json")
    assert said.code == 7 and "No space left" in said.err and "bug" not in said.err


def test_bug_in_a_plugin_names_the_plugin(gas: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.FakeEditor, "edit", lambda self, job: 1 / 0)
    said = gas(*edit())
    assert said.code == 9 and "painter" in said.err and "ZeroDivisionError" in said.err


def test_tracebacks_only_with_debug_and_never_with_values(
    gas: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, job: EditJob) -> Edited:
        secret = "canary-" + "value"
        raise RuntimeError(str(len(secret)))

    monkeypatch.setattr(fakes.FakeEditor, "edit", fail)
    assert "Traceback" not in gas(*edit()).err
    said = gas("--debug", *edit())
    assert "Traceback" in said.err and "canary-value" not in said.err
    assert "Traceback" in gas(*edit("--debug")).err


def test_previews_maps_and_raw_are_written(gas: Callable[..., Said], here: Path) -> None:
    more = ["-o", "out.png", "-o", "steps=4", "--preview-every", "2", "--save-maps", "maps", "--save-raw", "raw.png"]
    assert gas(*edit(*more)).code == 0
    assert (here / "out-steps/step00002.png").exists() and not (here / "out-steps/step00004.png").exists()
    assert [p.name for p in sorted((here / "maps").iterdir())] == [f"paint-{n}.png" for n in range(1, 5)]
    assert Pictures.open(here / "raw.png").size[0] % 4 == 0


# --- the other commands -----------------------------------------------------------------------------------------------


def test_plan_is_written_edited_by_hand_and_used(gas: Callable[..., Said], here: Path) -> None:
    assert gas("plan", "dog.png", "dog -> tiger", *FAKE[:4], "-o", "plan.json").code == 0
    text = (here / "plan.json").read_text()
    (here / "plan.json").write_text(text.replace('"tiger"', '"lion"'))
    said = gas("edit", "dog.png", "--plan", "plan.json", *FAKE, "--box", "dog=30,20,80,60", "-o", "out.png")
    assert said.code == 0
    told = json.loads(gas("info", "out.png", "--json").out)["data"]
    assert told["plan"]["subtasks"][0]["target"] == "lion" and told["planner"] is None


def test_plan_goes_to_stdout_without_a_file(gas: Callable[..., Said]) -> None:
    plain = gas("plan", "dog.png", "dog -> tiger", *FAKE[:4])
    assert json.loads(plain.out)["subtasks"][0]["source"] == "dog"
    assert json.loads(gas("plan", "dog.png", "dog -> tiger", *FAKE[:4], "--json").out)["data"]["version"] == 1


def test_dry_run_of_a_planner_that_sends_nothing(gas: Callable[..., Said]) -> None:
    assert "stay on this machine" in gas("plan", "dog.png", "dog -> tiger", *FAKE[:4], "--dry-run").out


def test_ground_writes_masks_that_edit_takes(gas: Callable[..., Said], here: Path) -> None:
    said = gas("ground", "dog.png", "dog -> tiger", *FAKE[:4], "--box", "dog=30,20,80,60", "-o", "regions")
    assert said.code == 0 and "dog: box 30, 20, 80, 60" in said.out
    assert {"dog.png", "overlay.png", "regions.json"} <= {p.name for p in (here / "regions").iterdir()}
    assert gas("edit", "dog.png", "dog -> tiger", *FAKE, "--masks", "regions", "-o", "a.png").code == 0


def test_ground_shows_the_pictures_that_an_edit_would_work_on(gas: Callable[..., Said], here: Path) -> None:
    Pictures.new("RGB", (1600, 900), (90, 90, 90)).save(here / "wide.png")
    things = ["--box", "dog=30,20,80,60", "--box", "cat=1500,800,1560,860"]
    asked = ["ground", "wide.png", "dog -> tiger; cat -> lion", *FAKE[:4], "--editor", "painter", *things]
    said = gas(*asked, "-o", "auto")
    assert "an edit with painter works on them in 2 working pictures: cat at 1:1.6; dog at 1:1.4" in said.out
    full = gas(*asked, "-o", "full", "--work", "full", "--json")
    (place,) = json.loads(full.out)["data"]["places"]
    assert place["crop"] == [0, 0, 1600, 900] and place["fine"].startswith("dog, cat at 1:")
    overlays = [np.asarray(Pictures.open(here / name / "overlay.png")) for name in ("auto", "full")]
    assert (overlays[0] != overlays[1]).any()


def test_ground_finds_regions_without_the_model_of_the_editor(gas: Callable[..., Said], here: Path) -> None:
    asked = ["ground", "dog.png", "dog -> tiger", *FAKE[:4], "--editor", "painter", "--box", "dog=30,20,80,60"]
    said = gas(*asked, "-o", "regions", "--work", "crop")
    assert "works on them: dog at 1:" in said.out and "not shown" not in said.err
    there_is_none = ["--profile", "sd15", *FAKE[2:4], "--editor", "dds"]
    said = gas("ground", "dog.png", "dog -> tiger", *there_is_none, "--box", "dog=30,20,80,60", "-o", "b")
    assert said.code == 0 and "the working pictures are not shown: " in said.err
    assert (here / "b" / "overlay.png").exists()


def test_replay_gives_the_same_bytes(gas: Callable[..., Said], here: Path) -> None:
    gas(*edit("-o", "a.png", "-o", "grain=30"))
    said = gas("replay", "a.png", "--input", "dog.png", "-o", "b.png", "--json")
    assert said.code == 0 and json.loads(said.out)["data"]["same_bytes"] is True
    assert (here / "a.png").read_bytes() == (here / "b.png").read_bytes()


def test_info_reads_like_a_sentence(gas: Callable[..., Said]) -> None:
    gas(*edit("-o", "a.png", "-o", "steps=3"))
    said = gas("info", "a.png")
    assert "dog -> tiger" in said.out and "steps=3" in said.out and "seed 1" in said.out


def test_info_names_the_whole_picture(gas: Callable[..., Said]) -> None:
    gas("edit", "dog.png", "make the picture darker", "--profile", "retouch", "--seed", "1", "-o", "a.png")
    assert "  1. the whole picture -> a darker picture" in gas("info", "a.png").out


def test_compare_shows_who_works_and_names_who_fails(gas: Callable[..., Said], here: Path) -> None:
    arguments = ["compare", "dog.png", "dog -> tiger", *FAKE[:4], "--grounder", "none", "--box", "dog=30,20,80,60"]
    said = gas(*arguments, "--editors", "painter", "-o", "strip.png", "--json")
    assert said.code == 0
    sheet = Pictures.open(here / "strip.png")
    assert sheet.height > 256 and sheet.width > 2 * 256, "a small picture is enlarged"
    words = gas(*arguments, "--editors", "painter", "-o", "again.png").out
    assert "painter: " in words and " s, outside the regions at most 0 of 255" in words
    assert json.loads(said.out)["data"]["editors"][0]["editor"] == "painter"


def test_a_grounded_edit_says_so(gas: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    said = gas(*edit("--grounded", "-o", "a.png", "--json"))
    log = json.loads(said.out)["data"]["log"]
    assert log["confined_by"] == "turns" and "painter, grounded (diorama" in said.err
    assert "grounded: each subtask confined to its region, one subtask after the other" in gas("info", "a.png").out
    monkeypatch.setenv("GAS_GROUNDED", "yes")
    assert json.loads(gas(*edit("-o", "b.png", "--json")).out)["data"]["log"]["confined_by"] == "turns"
    plain = gas(*edit("--no-grounded", "-o", "c.png", "--json"))
    assert "confined_by" not in json.loads(plain.out)["data"]["log"] and "grounded" not in plain.err
    assert "grounded" not in gas("info", "c.png").out


def test_compare_puts_plain_and_grounded_side_by_side(gas: Callable[..., Said], here: Path) -> None:
    what = ["compare", "dog.png", "dog -> tiger", *FAKE[:4], "--grounder", "none", "--seed", "1", "--json"]
    where = ["--box", "dog=30,20,80,60", "-o", "painter.steps=2"]
    said = gas(*what, *where, "--editors", "painter,painter+grounded", "-o", "strip.png")
    assert said.code == 0, said.err
    rows = json.loads(said.out)["data"]["editors"]
    assert [(row["editor"], row["grounded"]) for row in rows] == [("painter", False), ("painter+grounded", True)]
    both = Pictures.open(here / "strip.png").width
    assert gas(*what, *where, "--editors", "painter", "-o", "one.png").code == 0
    assert both > Pictures.open(here / "one.png").width
    said = gas(*what, *where, "--editors", "painter", "--grounded", "-o", "all.png")
    assert [row["grounded"] for row in json.loads(said.out)["data"]["editors"]] == [True]
    said = gas(*what, "--editors", "painter,painter+grounded", "-o", "none.png")
    assert said.code == 2 and "no region is given" in said.err, "one that is grounded needs regions for all"


def test_backends_and_doctor_as_data(gas: Callable[..., Said]) -> None:
    listed = json.loads(gas("backends", "editors", "--json").out)["data"]["backends"]
    assert {"painter", "ground-a-score"} <= {entry["name"] for entry in listed}
    assert gas("backends", "show", "painter").code == 0
    assert json.loads(gas("doctor", "--json").out)["data"]


def test_version_and_help(gas: Callable[..., Said]) -> None:
    from gas.version import __version__

    assert gas("--version").out.strip() == __version__
    assert "edit" in gas("--help").out


def test_keys_are_read_from_standard_input(gas: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from gas.settings import keys

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO("sk-canary-0123456789\n"))
    said = gas("keys", "set", "openai")
    assert said.code == 0 and "canary" not in said.out + said.err
    found = keys.find("openai")
    assert found is not None and found.get_secret_value() == "sk-canary-0123456789"
    assert keys.keys_file().stat().st_mode & 0o777 == 0o600


# --- the installed program --------------------------------------------------------------------------------------------


def program(*arguments: str, cwd: Path) -> Program:
    environ = {"GAS_HOME": str(cwd / "home"), "HF_HUB_OFFLINE": "1"}
    return start("-m", "gas_cli", *arguments, cwd=cwd, env=environ)


def real(tiny_sd: Path, *more: str) -> list[str]:
    base = ["edit", "dog.png", "a dog -> a tiger", "--profile", "sd15", "--model", str(tiny_sd), "--dtype", "fp32"]
    return [*base, "--planner", "rules", "--box", "a dog=30,20,80,60", "--seed", "1", *more]


def test_ctrl_c_keeps_the_state_and_resume_goes_on_bit_for_bit(here: Path, tiny_sd: Path) -> None:
    steps = "steps=12"
    running = program(*real(tiny_sd, "-o", "part.png", "-o", steps, "--preview-every", "1"), cwd=here)
    deadline = time.monotonic() + 120
    while not (here / "part-steps/step00003.png").exists() and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 130, err
    assert "--resume" in err and (here / "part.png").exists() and (here / "part.png.gas-state").exists()

    resumed = program("edit", "dog.png", "--resume", "part.png", "--model", str(tiny_sd), cwd=here)
    _, err = resumed.communicate(timeout=280)
    assert resumed.returncode == 0, err
    whole = program(*real(tiny_sd, "-o", "whole.png", "-o", steps), cwd=here)
    _, err = whole.communicate(timeout=280)
    assert whole.returncode == 0, err
    assert (here / "part.png").read_bytes() == (here / "whole.png").read_bytes()
    assert not (here / "part.png.gas-state").exists()


def test_real_editor_needs_no_network(
    gas: Callable[..., Said], here: Path, tiny_sd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert gas(*real(tiny_sd, "-o", "out.png", "-o", "steps=2")).code == 0


def test_missing_model_is_exit_6(gas: Callable[..., Said], here: Path) -> None:
    said = gas(*real(here / "nowhere", "-o", "out.png"))
    assert said.code == 6 and "nowhere" in said.err


# --- planners that see ------------------------------------------------------------------------------------------------


def test_suggest_needs_a_planner_that_sees(gas: Callable[..., Said]) -> None:
    said = gas("suggest", "dog.png", "--planner", "rules")
    assert said.code == 2 and "'rules' sees no pictures" in said.err
    assert "--planner ollama" in said.err and "--planner openai" in said.err and "--planner rules" not in said.err


def test_suggest_goes_on_after_a_bad_picture(
    gas: Callable[..., Said], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gas.types import Suggestions

    def propose(self: Any, image: np.ndarray, caption: str | None, avoid: Any) -> Suggestions:
        return Suggestions(suggestions=(), request="change the dog into a wolf", planner="arrows")

    monkeypatch.setattr(fakes.FakePlanner, "suggest", propose)
    monkeypatch.setattr(fakes.FakePlanner, "suggests", True)
    (here / "bad.png").write_bytes(b"")
    said = gas("suggest", "bad.png", "dog.png", "--planner", "arrows")
    assert said.code == 10 and "bad.png" in said.err
    assert said.out == "dog.png: change the dog into a wolf\n"


def test_reply_that_cannot_be_read_is_saved_too(
    gas: Callable[..., Said], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any, request: Any) -> None:
        raise errors.PlanUnreadable("no plan in it", reply="I am sorry")

    monkeypatch.setattr(fakes.FakePlanner, "plan", refuse)
    said = gas("plan", "dog.png", "dog -> tiger", "--planner", "arrows", "--save-reply", "reply.txt")
    assert said.code == 4 and (here / "reply.txt").read_text() == "I am sorry"
