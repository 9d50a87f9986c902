"""Rows of a real network's calls, counted: a second run makes none for what did not change. Random weights suffice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gas.diffusion.stable_diffusion import StableDiffusion
from gas.masks import box_mask
from gas.picture.photo import of_pixels
from gas.run.job import PhotoJob
from gas.run.session import Session
from gas.types import EditPlan, Region, Subtask

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SIDE = 128
THINGS = {"a dog": (0, 0, 48, 48), "a cat": (88, 0, 128, 40), "a bird": (40, 92, 76, 128)}


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """The rows of each call of the network."""
    monkeypatch.setenv("GAS_CACHE_FOLDER", str(tmp_path / "cache"))
    counted: list[int] = []
    predict = StableDiffusion.predict

    def counting(self: StableDiffusion, z_t: Any, t: Any, conditioning: Any) -> Any:
        counted.append(len(z_t))
        return predict(self, z_t, t, conditioning)

    monkeypatch.setattr(StableDiffusion, "predict", counting)
    return counted


def run(model: Path, targets: list[str], editor: str, grounded: bool = True, cache: bool = True) -> Any:
    """An edit of three things in a new session, as another process would have it."""
    chosen = Session.of(
        profile="diorama",
        editor=editor,
        grounded=grounded,
        grounders=(),
        device="cpu",
        dtype="fp32",
        cache=cache,
        options={editor: {"model": str(model), "steps": 2, "accept_db": 0}},
    )
    subtasks = tuple(Subtask(source=source, target=to) for source, to in zip(THINGS, targets, strict=True))
    drawn = tuple(
        Region(name, box=box, mask=box_mask(box, (SIDE, SIDE)), subtask=n, given=True)
        for n, (name, box) in enumerate(THINGS.items())
    )
    picture = np.random.default_rng(2).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    plan = EditPlan(subtasks=subtasks, source_prompt="animals", target_prompt="others")
    return PhotoJob(chosen, of_pixels(picture), plan, drawn, 3, work="full").edit()


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_a_second_run_in_turns_makes_rows_for_the_changed_subtask_alone(
    rows: list[int], tiny_sd: Path, changed: int
) -> None:
    first = run(tiny_sd, ["a tiger", "a lion", "a bat"], "dds")
    whole = sum(rows)
    assert whole > 0 and whole % 3 == 0
    rows.clear()
    again = run(tiny_sd, ["a tiger", "a lion", "a bat"], "dds")
    assert sum(rows) == 0 and (again.image == first.image).all()
    targets = ["a tiger", "a lion", "a bat"]
    targets[changed] = "a horse"
    second = run(tiny_sd, targets, "dds")
    assert sum(rows) == whole // 3
    plain = run(tiny_sd, targets, "dds", cache=False)
    assert (second.image == plain.image).all() and dict(second.log) == dict(plain.log)


def test_a_coupled_edit_makes_all_its_rows_anew(rows: list[int], tiny_sd: Path) -> None:
    run(tiny_sd, ["a tiger", "a lion", "a bat"], "ground-a-score", grounded=False)
    whole = sum(rows)
    rows.clear()
    result = run(tiny_sd, ["a tiger", "a lion", "a horse"], "ground-a-score", grounded=False)
    assert sum(rows) == whole > 0 and [one.anew for one in result.reused] == ["together"]
