"""The option `keep_structure` of the editors with a diffusion model: which subtasks it is for, and what it changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gas import Registry
from gas.interfaces import Edited, EditJob
from gas.masks import box_mask
from gas.runtime import Runtime
from gas.types import EditPlan, Region, Subtask
from gas_editors.structure import keeps_structure, structured

SIDE = 64
BOX, REST = box_mask((8, 8, 40, 40), (SIDE, SIDE)), box_mask((44, 44, 60, 60), (SIDE, SIDE))
RED = Subtask(source="a red box", target="a blue box", preserve_shape=True)
KIND = Subtask(source="a red box", target="a blue ball")
PLAN = EditPlan(subtasks=(RED,), source_prompt="a red box", target_prompt="a blue box")


def source() -> np.ndarray:
    picture = np.full((SIDE, SIDE, 3), (60, 130, 50), np.uint8)
    picture[12:36, 12:36] = (190, 30, 40)
    return picture


def job(plan: EditPlan = PLAN, **more: Any) -> EditJob:
    return EditJob(source(), plan, (Region("a red box", mask=BOX, subtask=0),), 1, None, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("subtask", "kept"),
    [
        (RED, True),
        (KIND, False),
        (Subtask(source="a cup", target="a red cup", attribute="colour"), True),
        (Subtask(source="a cup", target="a wooden cup", attribute="material"), True),
        (Subtask(source="a cup", target="a dark cup", attribute="tone", preserve_shape=True), False),
        (Subtask(source="a cup", target="a bowl", attribute="kind", preserve_shape=True), False),
        (Subtask(source="a cup", target="a red room", attribute="colour", where="outside"), False),
        (Subtask(action="remove", source="a cup"), False),
    ],
)
def test_which_subtasks_keep_their_structure(subtask: Subtask, kept: bool) -> None:
    assert keeps_structure(subtask) == kept


def test_only_their_regions_change_and_the_log_says_so() -> None:
    made = np.full((SIDE, SIDE, 3), (40, 60, 200), np.uint8)
    edited = structured(job(), Edited(made), True)
    blue = edited.image[..., 2] > edited.image[..., 0]
    assert blue[14:34, 14:34].all() and not blue[(BOX > 0) & (source()[..., 0] < 100)].any()
    assert np.array_equal(edited.image[BOX == 0], made[BOX == 0]) and edited.log["structure_kept"] == [1]


@pytest.mark.parametrize(
    ("work", "edited", "keep"),
    [
        (job(), {}, False),
        (job(), {"stopped": True}, True),
        (job(EditPlan(subtasks=(KIND,))), {}, True),
        (replace(job(), regions=()), {}, True),
    ],
)
def test_else_the_edit_stays_as_it_is(work: EditJob, edited: dict[str, Any], keep: bool) -> None:
    made = np.full((SIDE, SIDE, 3), (40, 60, 200), np.uint8)
    assert np.array_equal(structured(work, Edited(made, **edited), keep).image, made)


@pytest.mark.parametrize("name", ["dds", "sdedit", "instruct-pix2pix"])
def test_every_family_of_editors_has_it(name: str, tiny_sd: Path, tmp_path: Path) -> None:
    from gas.testing.tiny import build_tiny_instruct_pix2pix

    model = build_tiny_instruct_pix2pix(tmp_path / "ip2p", layers=1) if name == "instruct-pix2pix" else tiny_sd
    results = []
    for keep in (False, True):
        options = {"model": str(model), "steps": 2, "keep_structure": keep}
        editor = Registry.discover().create("editors", name, options, Runtime("cpu", "fp32"))
        edited = editor.edit(replace(job(), options=editor.options))
        results.append(edited.image)
        assert edited.log.get("structure_kept") == ([1] if keep else None)
    plain, kept = results
    assert np.array_equal(plain[BOX == 0], kept[BOX == 0]) and not np.array_equal(plain, kept)
