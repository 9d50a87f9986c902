"""Warnings of backends: shown to people once each, in the envelope of --json, and in the record."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import Said, edit, gas, here  # noqa: F401 (the last two are fixtures)

from gas.interfaces import Edited, EditJob
from gas.testing import fakes


@pytest.fixture(autouse=True)
def _filters() -> Any:
    with warnings.catch_warnings():
        yield


def cut(self: Any, job: EditJob) -> Edited:
    for _ in range(2):
        warnings.warn("the model does not see: 'and a \x1b[31mhat'", stacklevel=1)
    warnings.warn("old name", DeprecationWarning, stacklevel=1)
    return Edited(np.full_like(job.image, 90), log={"notes": ["the region is rough"]})


def test_a_plugins_warning_reaches_people_json_and_record(
    gas: Callable[..., Said],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fakes.FakeEditor, "edit", cut)
    said = gas(*edit("--json", "-o", "out.png"))
    assert said.code == 0, said.err
    assert said.err.count("warning: the model does not see: 'and a [31mhat'") == 1
    assert "old name" not in said.err and "\x1b[31mhat" not in said.err
    sentences = ["the model does not see: 'and a [31mhat'", "the region is rough"]
    assert json.loads(said.out)["warnings"] == sentences
    assert sorted(json.loads(gas("info", "out.png", "--json").out)["data"]["log"]["notes"]) == sorted(sentences)


def test_an_error_carries_what_was_warned_of_before_it(
    gas: Callable[..., Said],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(self: Any, job: EditJob) -> Edited:
        warnings.warn("a rough region", stacklevel=1)
        return Edited(job.image)

    monkeypatch.setattr(fakes.FakeEditor, "edit", refused)
    said = gas(*edit("--json"))
    assert said.code == 11 and json.loads(said.out)["warnings"] == ["a rough region"]
    assert json.loads(gas("backends", "editors", "--json").out)["warnings"] == []  # each command has its own


def test_a_mask_that_is_only_a_box_is_said(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fakes.FakeGrounder, "segments", False)
    boxes = 'places.boxes={"dog": [0.1, 0.1, 0.7, 0.7]}'
    found = ("--profile", "diorama", "--planner", "arrows", "--grounder", "places", "-o", boxes)
    said = gas(
        "edit", "dog.png", "dog -> tiger", *found, "--editor", "painter", "-o", "out.png", "--grounded", "--json"
    )
    assert said.code == 0, said.err
    assert "warning: the mask of 'dog' is its whole box" in said.err
    assert any("whole box" in sentence for sentence in json.loads(said.out)["warnings"])


# --- what a plugin prints, and how it ends ----------------------------------------------------------------------------


def noisy(self: Any, job: EditJob) -> Edited:
    print("training: 10%")
    sys.stdout.write("{]")
    sys.stdout.close()
    return Edited(np.full_like(job.image, 90))


def test_what_a_plugin_prints_is_no_data(
    gas: Callable[..., Said],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fakes.FakeEditor, "edit", noisy)
    said = gas(*edit("--json"))
    assert said.code == 0 and json.loads(said.out)["data"]["seed"] == 1
    assert "training: 10%" in said.err and "{]" in said.err


def test_a_plugin_that_replaces_standard_output_takes_no_data_away(
    gas: Callable[..., Said],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def replaced(self: Any, job: EditJob) -> Edited:
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        return Edited(np.full_like(job.image, 90))

    monkeypatch.setattr(fakes.FakeEditor, "edit", replaced)
    assert json.loads(gas(*edit("--json")).out)["data"]["seed"] == 1


PROGRAM = """
import os, subprocess, sys
import fake_backends
from gas.backends.registry import Registry
from gas.interfaces import Edited
from gas.testing import fakes
Registry.discover = classmethod(lambda cls: fake_backends.registry())
def edit(self, job):
    {body}
    return Edited(job.image * 0 + 90)
fakes.FakeEditor.edit = edit
from gas_cli.app import main
main()
"""


def program(body: str, *arguments: str) -> Said:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return Said(done.returncode, done.stdout, done.stderr)


def test_what_a_plugins_own_programs_print_is_no_data(here: Path) -> None:  # noqa: F811
    body = "os.write(1, b'from C'); subprocess.run([sys.executable, '-c', 'print(7 * 191)'])"
    said = program(body, *edit("--json"))
    assert said.code == 0, said.err
    assert json.loads(said.out)["data"]["seed"] == 1
    assert "from C" in said.err and "1337" in said.err


def test_the_next_command_names_the_backend_that_ended_the_process(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
) -> None:
    assert program("os._exit(0)", *edit("--json")).out == ""
    said = gas(*edit("--json"))
    assert "ended without a word while editor 'painter'" in said.err
    assert "editor 'painter'" in json.loads(said.out)["warnings"][0]
    assert "without a word" not in gas(*edit()).err


# --- replay -----------------------------------------------------------------------------------------------------------


def other(self: Any, job: EditJob) -> Edited:
    return Edited(np.full_like(job.image, 40))


def test_a_replay_with_other_bytes_is_no_success(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert gas(*edit("-o", "out.png")).code == 0
    assert gas("replay", "out.png").code == 0
    monkeypatch.setattr(fakes.FakeEditor, "edit", other)
    for more in ((), ("--allow-drift",)):  # nothing has drifted that could be allowed
        said = gas("replay", "out.png", *more, "-o", f"{len(more)}.png", "--json")
        assert said.code == 12 and "not have the same bytes" in said.err
        assert (here / f"{len(more)}.png").exists()


def test_another_version_of_the_plugin_is_drift(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert gas(*edit("-o", "out.png")).code == 0
    path = here / "out.png.gas.json"
    plain = json.loads(path.read_text())
    assert plain["editor"]["distribution"] == "this program" and plain["planner"]["version"] == ""
    plain["editor"]["version"] = "0.9"
    path.write_text(json.dumps(plain))
    monkeypatch.setattr(fakes.FakeEditor, "edit", other)
    said = gas("replay", "out.png", "-o", "again.png")
    assert said.code == 12 and "drifted: this program, which has the editor 'painter', was 0.9" in said.err
    assert "--allow-drift" in said.err
    assert gas("replay", "out.png", "-o", "third.png", "--allow-drift").code == 0


def test_a_record_without_versions_can_be_replayed(gas: Callable[..., Said], here: Path) -> None:  # noqa: F811
    assert gas(*edit("-o", "out.png")).code == 0
    path = here / "out.png.gas.json"
    plain = json.loads(path.read_text())
    for used in (plain["editor"], plain["planner"]):
        del used["distribution"], used["version"]
    path.write_text(json.dumps(plain))
    said = gas("replay", "out.png", "--allow-drift")  # the picture holds its record, which says more now
    assert said.code == 0 and "drifted: the record does not say which version of the editor 'painter'" in said.err
