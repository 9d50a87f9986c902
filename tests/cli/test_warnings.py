"""Warnings of backends: shown to people once each, in the envelope of --json, and in the record."""

from __future__ import annotations

import json
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
