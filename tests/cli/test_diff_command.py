"""`gas diff`: plans, records and pictures compared in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pictures
from test_cli import Said, edit, gas, here  # noqa: F401 (the last two are fixtures)

from gas.plan.file import write_plan
from gas.types import EditPlan, Subtask

CAR = Subtask(source="a red car", target="a blue car")


def plan_file(path: Path, **changes: Any) -> None:
    write_plan(EditPlan(subtasks=(CAR.model_copy(update=changes),)), path)


def test_two_plan_files_are_compared(gas: Callable[..., Said], here: Path) -> None:  # noqa: F811
    plan_file(here / "a.json")
    plan_file(here / "b.json", strength=2.0)
    said = gas("diff", "a.json", "b.json")
    assert said.code == 0 and said.out == "a blue car in the place of a red car: strength: 1, now 2\n"
    data = json.loads(gas("diff", "a.json", "b.json", "--json").out)["data"]
    assert data == {"compared": "plans", "differences": ["a blue car in the place of a red car: strength: 1, now 2"]}
    same = gas("diff", "a.json", "a.json")
    assert same.code == 0 and same.out == "" and "no difference: both ask for the same" in same.err


def test_two_edits_are_compared_by_their_records(gas: Callable[..., Said], here: Path) -> None:  # noqa: F811
    assert gas(*edit("-o", "a.png")).code == 0
    assert gas(*edit("-o", "same.png")).code == 0
    other = ["edit", "dog.png", "dog -> lion", "--profile", "diorama", "--planner", "arrows", "--editor", "painter"]
    other += ["--grounder", "none", "--box", "dog=30,20,80,40", "--seed", "2", "-o", "b.png", "-o", "steps=2"]
    assert gas(*other).code == 0
    assert "no difference: both are of the same edit" in gas("diff", "a.png", "same.png").err
    said = gas("diff", "a.png", "b.png.gas.json").out
    assert "tiger in the place of dog: now lion in the place of dog" in said
    assert "the region of 'dog' lies elsewhere: the two share 50 % of what they cover" in said
    assert "painter.steps: 4, now 2" in said and "seed: 1, now 2" in said
    assert "profile" not in said and "model" not in said and "gas was" not in said


def test_another_photograph_or_backend_is_said(gas: Callable[..., Said], here: Path) -> None:  # noqa: F811
    assert gas(*edit("-o", "a.png")).code == 0
    small = np.zeros((80, 100, 3), np.uint8)
    Pictures.fromarray(small).save(here / "dog.png")
    assert gas(
        *edit("-o", "b.png", "--no-grounded", "--work", "crop", "--verify", "--verifier", "colour-eye")
    ).code in {
        0,
        12,
    }
    said = gas("diff", "a.png", "b.png").out
    assert "another photograph: dog.png (120x90), now dog.png (100x80)" in said
    assert "verifier: none, now colour-eye" in said and "work: auto, now crop" in said
    assert "lies elsewhere" not in said  # masks of two sizes have no common pixels to count


def test_a_plan_and_an_edit_share_their_plans(gas: Callable[..., Said], here: Path) -> None:  # noqa: F811
    assert gas(*edit("-o", "a.png")).code == 0
    plan_file(here / "p.json")
    said = gas("diff", "a.png", "p.json")
    assert "new: a blue car in the place of a red car" in said.out and "seed" not in said.out
    assert "the plans alone are compared" in said.err


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.json", b"{}"), ("x.json", b"[1]"), ("x.json", b"\xff"), ("x.json", b'{"plan": 3}'), ("x.png", b"no picture")],
)
def test_what_is_neither_is_refused(gas: Callable[..., Said], here: Path, name: str, content: bytes) -> None:  # noqa: F811
    plan_file(here / "a.json")
    (here / name).write_bytes(content)
    assert gas("diff", "a.json", name).code == 3
    assert gas("diff", "a.json", "nothing.json").code == 3


def test_a_folder_is_no_edit(gas: Callable[..., Said], here: Path) -> None:  # noqa: F811
    plan_file(here / "a.json")
    for said in (gas("diff", ".", "a.json"), gas("info", "."), gas("replay", ".", "--input", "dog.png")):
        assert said.code == 3 and "is a folder" in said.err
