"""What is said of detail for large places: before the run with its cost, and after it with how sharp they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_backends
import numpy as np
import pytest
from fake_backbones import FAMILIES, FakeXL, model_folder
from PIL import Image as Pictures

from gas.diffusion import load
from gas.picture import photo
from gas.run.job import PhotoJob, prepare
from gas.run.session import Session
from gas.types import EditPlan, Region, Subtask
from gas_cli.render import describe_record, detail_ahead, detail_lines

IMAGE = np.random.default_rng(1).integers(60, 160, (200, 280, 3), dtype=np.uint8)
SAND = Subtask(source="grass", target="red sand")
RED = Subtask(source="roof", target="red roof", attribute="colour")
SMALL = {"steps": 2, "strength": 0.5, "repeats": 1}


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the job of an edit of these subtasks, each with half of the picture."""
    monkeypatch.setattr(load, "FAMILIES", (*load.FAMILIES, *FAMILIES))
    Pictures.fromarray(IMAGE).save(tmp_path / "in.png")
    options = {"tiles": {"model": str(model_folder(tmp_path / "xl", FakeXL)), **SMALL}}

    def make(*subtasks: Subtask, box: tuple[float, float, float, float] = (0, 100, 280, 200)) -> PhotoJob:
        plan = EditPlan(subtasks=subtasks, source_prompt="before", target_prompt="after")
        places = (box, (0, 0, 280, 100))
        regions = [Region(one.source, place) for one, place in zip(subtasks, places, strict=False)]
        session = Session.of(
            registry=fake_backends.registry(),
            profile="retouch",
            planner="arrows",
            editor="painter",
            detail="tiles",
            options=options,
        )
        return prepare(session, photo.read(tmp_path / "in.png"), plan, regions, seed=3)

    return make


def test_the_cost_is_said_before_it_begins(job: Any) -> None:
    made = job(SAND, RED)
    said = detail_ahead(made.plan, made.detail())
    effort = made.detail().effort()
    assert said.startswith("then detail for roof at 1:") and "(the photograph's own)" in said
    assert f"grass at 1:3.7 in {effort.tiles[0]} tiles: {effort.rows} rows, about " in said and said.endswith(" s")
    fine = job(SAND, box=(10, 10, 30, 30))
    assert detail_ahead(fine.plan, fine.detail()) == "detail: nothing is shown so coarse that it would get any"


def test_what_was_done_is_said_and_in_the_record(job: Any, tmp_path: Path) -> None:
    record = job(SAND, RED).run(tmp_path / "out.png").record
    sand, roof = detail_lines(record)
    assert sand.startswith("detail for grass: in ") and "tiles by tiles; sharpness " in sand
    assert roof.startswith("detail for roof: the photograph's own; sharpness ")
    assert {sand, roof} <= set(describe_record(record, {}, ""))
