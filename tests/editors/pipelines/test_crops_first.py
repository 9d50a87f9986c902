"""Crops first: what each crop ends with alone, where it is put, what is outside, and what all of it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gas import Registry
from gas.errors import ModelUnavailable
from gas.interfaces import EditJob, Step, Watch
from gas.masks import box_mask
from gas.runtime import Runtime
from gas.testing.contracts import sample_image
from gas.testing.tiny_edit import build_tiny_flux2_klein, build_tiny_kontext, build_tiny_qwen_image_edit
from gas.types import EditPlan, Region, Subtask
from gas_editors.pipelines.crops_first import steps_alone
from gas_editors.pipelines.row import row_of
from gas_editors.pipelines.table import EDIT_MODELS

PICTURE = sample_image(256, 256)
PLAN = EditPlan(
    subtasks=(
        Subtask(source="red box", target="blue ball", instruction="make the box a ball."),
        Subtask(source="grass", target="snow", instruction="make the grass snow"),
    )
)
BOXES = ((32.0, 32.0, 80.0, 80.0), (160.0, 160.0, 224.0, 224.0))
REGIONS = tuple(
    Region(phrase, box, box_mask(box, (256, 256)), subtask=index)
    for index, (phrase, box) in enumerate(zip(("red box", "grass"), BOXES, strict=True))
)
MODELS: dict[str, Callable[[Path], Path]] = {
    "kontext": build_tiny_kontext,
    "flux2-klein": lambda folder: build_tiny_flux2_klein(folder, distilled=False),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(MODELS[request.param](tmp_path_factory.mktemp(request.param) / "model"))


RUNTIME = Runtime(device="cpu", dtype="fp32")
"""Of all editors in here: models stay as they are, so each is read once."""


def made(model: str, **values: Any) -> Any:
    options = {"model": model, "steps": 5, "resolution": 128, "crops_first": 0.4, "guidance_scale": 1.0, **values}
    return Registry.discover().create("editors", "edit-model", options, RUNTIME)


def job(editor: Any, **more: Any) -> EditJob:
    return EditJob(PICTURE.copy(), PLAN, REGIONS, 1, editor.options, **more)


def test_outside_keeps_its_bits_and_the_steps_are_shared(model: str) -> None:
    editor = made(model)
    steps: list[Step] = []
    edited = editor.edit(job(editor, watch=Watch(on_step=steps.append)))
    inside = np.max([region.mask for region in REGIONS], axis=0) > 0
    assert np.array_equal(edited.image[~inside], PICTURE[~inside])
    assert edited.mask is not None and np.array_equal(edited.mask > 0, inside)
    for region in REGIONS:
        here = region.mask > 0
        assert np.abs(edited.image[here].astype(int) - PICTURE[here]).mean() > 1
    assert edited.log["evaluations"] == 2 * 2 + 3, "two steps of each crop alone, three of all together"
    assert [step.index for step in steps] == list(range(1, 8)) and steps[0].total == 7
    assert [turn["subtask"] for turn in edited.log["turns"]] == [2, 1]
    assert {turn["told"] for turn in edited.log["turns"]} == {"make the grass snow. make the box a ball"}
    turns = made(model, crops_first=0.0)
    assert turns.edit(job(turns)).log["evaluations"] == 2 * 5
    again = editor.edit(job(editor))
    assert np.array_equal(again.image, edited.image)


class Exact:
    """In the place of a network: the velocity of a world in which every crop is the one clean picture `c` (its tokens
    all alike, by the call's place), and what the calls were given."""

    def __init__(self, network: Any, n: Callable[[int], int]) -> None:
        self.network, self.n = network, n
        self.seen: list[tuple[Tensor, Tensor, float]] = []

    def __call__(self, module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        tokens = kwargs["hidden_states"]
        n = self.n(tokens.shape[1])
        z, source, t = tokens[:, :n], tokens[:, n : 2 * n], float(kwargs["timestep"].float().mean())
        self.seen.append((z.clone(), source.clone(), t))
        velocity = (z - self.clean(len(self.seen))) / t
        return (torch.cat([velocity, velocity], dim=1),)

    def clean(self, call: int) -> float:
        return {1: 2.0, 2: 2.0, 3: -3.0, 4: -3.0}.get(call, 7.0)


@pytest.mark.parametrize("share", [0.4, 0.2])
def test_crops_come_into_their_place_and_the_outside_is_the_source_at_the_time_that_is_reached(
    model: str, share: float
) -> None:
    editor = made(model, crops_first=share, steps=5)
    alone = steps_alone(5, share)
    network = editor.pipeline(editor.row).transformer
    exact = Exact(network, lambda tokens: tokens // 2)
    calls = {call: 2.0 if call <= alone else -3.0 for call in range(1, 2 * alone + 1)}
    exact.clean = lambda call: calls.get(call, 7.0)  # type: ignore[method-assign]
    hook = network.register_forward_hook(exact, with_kwargs=True)
    try:
        editor.edit(job(editor))
    finally:
        hook.remove()
    together = exact.seen[2 * alone :]
    assert len(together) == 5 - alone
    z, source, t = together[0]
    # 256 pixels are 8 x 8 tokens of 128: 32 pixels of the photograph each.
    inside = {index: np.zeros((8, 8), bool) for index in (0, 1)}
    inside[0][1:3, 1:3] = True
    inside[1][5:7, 5:7] = True
    first, second = (torch.from_numpy(inside[index].reshape(-1)) for index in (0, 1))
    outside = ~(first | second)
    noise = (z - (1 - t) * source)[:, outside] / t
    for index, clean in ((first, -3.0), (second, 2.0)):  # the grass is larger, and was made first
        left = z[:, index] - (1 - t) * clean
        assert float(left.std() / t) == pytest.approx(1, abs=0.25), "its clean tokens with the run's noise"
    for later, was, time in together[1:]:
        assert torch.equal(was, source)
        torch.testing.assert_close((later - (1 - time) * source)[:, outside] / time, noise, rtol=1e-4, atol=1e-4)
    assert float((together[-1][0] - 7.0)[:, ~outside].abs().mean()) < float((z - 7.0)[:, ~outside].abs().mean())


def test_one_region_alone_is_a_turn(model: str) -> None:
    editor = made(model)
    plan = EditPlan(subtasks=PLAN.subtasks[:1])
    log = editor.edit(EditJob(PICTURE, plan, REGIONS[:1], 1, editor.options)).log
    assert "crops_first" not in log["turns"][0] and log["evaluations"] == 5


def test_it_stops_on_the_way_with_nothing_done(model: str) -> None:
    editor = made(model)
    for after in (1, 3, 5):
        steps: list[Step] = []
        watch = Watch(on_step=steps.append, should_stop=lambda steps=steps, after=after: len(steps) >= after)
        edited = editor.edit(job(editor, watch=watch))
        assert edited.stopped and len(steps) == after and np.array_equal(edited.image, PICTURE)


def test_qwen_begins_at_latents_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It brings pictures to a megapixel itself (test_pipeline_table has the sizes); here to a sixteenth of it."""
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as qwen

    editor = made(
        str(build_tiny_qwen_image_edit(tmp_path / "model", pipeline="QwenImageEditPlusPipeline")),
        resolution=None,
        steps=3,
    )
    row, sides = editor.row, qwen.calculate_dimensions
    monkeypatch.setattr(qwen, "calculate_dimensions", lambda area, ratio: sides(area // 16, ratio))
    monkeypatch.setattr(type(editor), "row", replace(row, resolution=row.resolution // 4))
    edited = editor.edit(job(editor))
    inside = np.max([region.mask for region in REGIONS], axis=0) > 0
    assert np.array_equal(edited.image[~inside], PICTURE[~inside])
    assert edited.log["evaluations"] == 2 * 1 + 2


def test_a_pipeline_that_takes_no_latents_is_refused_by_name(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = made(model)
    row = editor.row
    monkeypatch.setattr(type(editor), "row", type(row)(**{**vars(row), "latents": ""}))
    with pytest.raises(
        ModelUnavailable, match=r"crops_first=0.4 does not work with \w+, which takes no latents"
    ) as caught:
        editor.edit(job(editor))
    assert caught.value.exit_code == 6 and "crops_first" in caught.value.remedy
    assert row_of("LongCatImageEditPipeline", EDIT_MODELS).latents == ""  # type: ignore[union-attr]
