"""Editors with a diffusion model: a zero update, and prompts that are the same to the model, are no success."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gas.errors import ResultRefused
from gas.interfaces import Step, Watch
from gas.run.session import Session
from gas.types import EditPlan, Region, Subtask

LONG = "on very green grass " * 30
IMAGE = np.random.default_rng(3).integers(0, 255, (96, 128, 3), dtype=np.uint8)


def plan(source: str, target: str) -> EditPlan:
    subtask = Subtask(source="a dog", target="a tiger")
    return EditPlan(subtasks=(subtask,), source_prompt=source, target_prompt=target)


def edit(tiny_sd: Path, editor: str, planned: EditPlan, **options: Any) -> list[Step]:
    """The steps that were made. The region is drawn."""
    steps: list[Step] = []
    session = Session.of(
        profile="sd15",
        editor=editor,
        planner="rules",
        grounders=(),
        model=str(tiny_sd),
        dtype="fp32",
        options={editor: {"steps": 2, **options}},
    )
    region = Region("a dog", box=(20.0, 20.0, 90.0, 80.0), subtask=0, given=True)
    session.edit(IMAGE, planned, [region], seed=1, watch=Watch(on_step=steps.append))
    return steps


@pytest.mark.parametrize("editor", ["dds", "ground-a-score"])
def test_a_zero_update_is_refused_though_the_model_changes_the_picture(tiny_sd: Path, editor: str) -> None:
    """Without guidance both branches predict the same. What comes back has gone through the autoencoder."""
    options = {"full_prompt": False} if editor == "ground-a-score" else {}
    with pytest.raises(ResultRefused, match=f"{editor} has changed nothing.*coding"):
        edit(tiny_sd, editor, plan("a dog", "a tiger"), guidance_scale=0.0, **options)
    assert len(edit(tiny_sd, editor, plan("a dog", "a tiger"), **options)) == 2


@pytest.mark.parametrize("editor", ["dds", "cds", "prompt-to-prompt"])
def test_prompts_that_differ_only_beyond_what_the_model_sees_are_refused(tiny_sd: Path, editor: str) -> None:
    with pytest.raises(ResultRefused, match="does not see: 'tiger'") as refused:
        edit(tiny_sd, editor, plan(f"{LONG} with a dog", f"{LONG} with a tiger"))
    assert refused.value.exit_code == 11 and "shorten" in refused.value.remedy


def test_prompts_that_are_the_same_to_the_model_are_refused_before_the_first_step(tiny_sd: Path) -> None:
    with pytest.raises(ResultRefused, match="the same, 'a dog'"):
        edit(tiny_sd, "dds", plan("a dog", "a  dog"), steps=100_000)


def test_prompts_that_only_the_model_takes_for_the_same_are_an_edit_of_nothing(tiny_sd: Path) -> None:
    """CLIP's text encoder knows no capitals."""
    with pytest.raises(ResultRefused, match="dds has changed nothing"):
        edit(tiny_sd, "dds", plan("A dog", "a dog"))


@pytest.mark.parametrize("editor", ["sds", "sdedit"])
def test_an_editor_that_does_not_compare_with_the_source_needs_no_difference(tiny_sd: Path, editor: str) -> None:
    assert edit(tiny_sd, editor, plan("a dog", "a dog"))


def test_a_subtask_of_its_own_is_enough_to_edit_by(tiny_sd: Path) -> None:
    """Ground-A-Score's whole prompts may be the same to the model: each subtask has a pair of its own."""
    assert len(edit(tiny_sd, "ground-a-score", plan(f"{LONG} with a dog", f"{LONG} with a tiger"))) == 2
