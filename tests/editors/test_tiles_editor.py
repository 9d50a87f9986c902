"""The refiner in tiles: its place, its effort, its seeds, stopped and resumed; on two families of a closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_backbones import FAMILIES, FakeFlow, FakeXL, model_folder

from gas import Registry
from gas.diffusion import load
from gas.errors import UsageError
from gas.interfaces import EditJob, Step, Watch
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract
from gas.types import EditPlan, Region, Subtask
from gas_editors.model_options import NamedModel

PLAN = EditPlan(
    subtasks=(Subtask(source="grass", target="blue ice"), Subtask(source="wall", target="red bricks")),
    source_prompt="grass and a wall",
    target_prompt="blue ice and red bricks",
)
HEIGHT, WIDTH = 203, 301
"""No multiples of anything."""


@pytest.fixture(autouse=True)
def families(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "FAMILIES", (*load.FAMILIES, *FAMILIES))


@pytest.fixture(params=(FakeXL, FakeFlow), ids=lambda kind: kind.__name__)
def editor(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return made(model_folder(tmp_path / "model", request.param))


def made(model: Path, **values: Any) -> Any:
    options = {"model": str(model), "steps": 5, "strength": 0.4, "repeats": 2, "guidance_scale": 1.0, **values}
    return Registry.discover().create("editors", "tiles", options, Runtime(device="cpu"))


def job(editor: Any, **values: Any) -> EditJob:
    noise = np.random.default_rng(0).integers(100, 140, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    grass, wall = np.zeros((2, HEIGHT, WIDTH), np.float32)
    grass[120:, :] = 1
    wall[10:60, 200:280] = 1
    regions = (Region("wall", mask=wall, subtask=1), Region("grass", mask=grass, subtask=0))
    return replace(EditJob(noise, PLAN, regions, 1, editor.options), **values)


class TestContract(EditorContract):
    @pytest.fixture
    def editor(self, tmp_path: Path) -> Any:
        return made(model_folder(tmp_path / "model", FakeXL))


def inside(one: EditJob, subtask: int) -> np.ndarray:
    return next(region.mask for region in one.regions if region.subtask == subtask and region.mask is not None) > 0


def test_each_place_follows_its_own_prompt_and_outside_no_pixel_changes(editor: Any) -> None:
    one = job(editor)
    drawn = editor.edit(one).image
    neither = ~(inside(one, 0) | inside(one, 1))
    assert (drawn[neither] == one.image[neither]).all()
    for subtask, channel in ((0, 2), (1, 0)):
        change = (drawn.astype(float) - one.image)[inside(one, subtask)].mean(axis=0)
        assert change.argmax() == channel and change[channel] > 5


def test_a_seed_is_a_result(editor: Any) -> None:
    first, again, other = (editor.edit(job(editor, seed=seed)).image for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


def test_the_effort_is_what_is_done(editor: Any) -> None:
    steps: list[Step] = []
    effort = editor.effort(job(editor), timed=True)
    edited = editor.edit(job(editor, watch=Watch(on_step=steps.append)))
    assert [step.index for step in steps] == list(range(1, effort.steps + 1))
    assert {step.total for step in steps} == {effort.steps}
    assert edited.log["evaluations"] == effort.rows and effort.seconds is not None and effort.seconds > 0
    assert editor.effort(job(editor)).seconds is None
    assert edited.log["tiles"] == {"1": effort.tiles[0], "2": effort.tiles[1]} and effort.tiles[0] > effort.tiles[1] > 1


def test_previews_show_the_whole_picture(editor: Any) -> None:
    steps: list[Step] = []
    one = job(editor, watch=Watch(on_step=steps.append))
    edited = editor.edit(one)
    assert steps[-1].preview is not None
    shown = steps[-1].preview()
    assert shown.shape == one.image.shape and (shown == edited.image).all()


@pytest.mark.parametrize("stop", [0, 3, 57])
def test_a_stopped_run_goes_on_to_the_same_bytes(editor: Any, stop: int) -> None:
    whole = editor.edit(job(editor)).image
    states: list[Mapping[str, Any]] = []
    asked = iter(range(10_000))
    watch = Watch(should_stop=lambda: next(asked) >= stop, checkpoint=states.append)
    part = editor.edit(job(editor, watch=watch))
    assert part.stopped and part.log["steps"] == stop
    if not stop:
        assert (part.image == job(editor).image).all(), "what was not begun is not what the model makes of it"
    resumed = editor.edit(job(editor, watch=Watch(resume=states[-1])))
    assert not resumed.stopped and (resumed.image == whole).all()


def test_every_option_tells(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", FakeXL)
    plain = made(folder)
    before = plain.edit(job(plain)).image
    changes = {"steps": 8, "strength": 0.8, "repeats": 1, "guidance_scale": 2.0, "overlap": 0.2}
    for name, value in changes.items():
        other = made(folder, **{name: value})
        if name == "overlap":  # which changes nothing but the tiles where a model sees single cells alone
            assert other.effort(job(other)).tiles < plain.effort(job(plain)).tiles
        else:
            assert (other.edit(job(other)).image != before).any(), name
    assert set(changes) == set(type(plain.options).model_fields) - set(NamedModel.model_fields)


def test_a_place_smaller_than_a_tile_in_a_picture_smaller_than_a_tile(tmp_path: Path) -> None:
    editor = made(model_folder(tmp_path / "model", FakeFlow))
    mask = np.zeros((30, 21), np.float32)
    mask[3:9, 4:15] = 1
    plan = PLAN.model_copy(update={"subtasks": PLAN.subtasks[:1]})
    image = np.full((30, 21, 3), 120, np.uint8)
    one = EditJob(image, plan, (Region("grass", mask=mask, subtask=0),), 1, editor.options)
    drawn = editor.edit(one).image
    assert drawn.shape == image.shape and (drawn != image).any() and (drawn[mask == 0] == 120).all()
    assert editor.effort(one).tiles == (1,)


def test_without_a_model_it_says_so_before_anything_is_edited() -> None:
    editor = Registry.discover().create("editors", "tiles", {}, Runtime(device="cpu"))
    with pytest.raises(UsageError, match="needs a text-to-image model") as caught:
        editor.check_plan(PLAN)
    assert caught.value.remedy and "tiles" in caught.value.remedy and "off" in caught.value.remedy
