"""`edit-model` and `inpaint` with tiny models of the pipelines that are told a picture and read the words with a whole
language model, or fill a mask: FLUX.2 dev, FIBO Edit, Qwen-Image 2.1, FLUX.1 Fill; real classes, random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gas import Registry
from gas.interfaces import EditJob, Step, Watch
from gas.masks import box_mask
from gas.runtime import Runtime
from gas.testing.contracts import sample_image
from gas.testing.tiny_edit import build_tiny_flux_fill
from gas.testing.tiny_language_edit import build_tiny_fibo_edit, build_tiny_flux2, build_tiny_qwen_image_21
from gas.types import EditPlan, Region, Subtask

PICTURE = sample_image(192, 128)
BOX = (64.0, 32.0, 112.0, 80.0)
REGION = Region("red box", BOX, box_mask(BOX, (192, 128)), subtask=0)
OUTSIDE = box_mask(BOX, (192, 128)) == 0
MODELS: dict[str, tuple[str, Callable[[Path], Path], int]] = {
    "flux2": ("edit-model", build_tiny_flux2, 1),
    "fibo": ("edit-model", build_tiny_fibo_edit, 2),
    "qwen-21": ("edit-model", build_tiny_qwen_image_21, 1),
    "flux-fill": ("inpaint", build_tiny_flux_fill, 1),
}
"""The editor, what builds the model, and the rows of a step."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {name: str(build(tmp_path_factory.mktemp(name) / "model")) for name, (_, build, _) in MODELS.items()}


def made(name: str, model: str, **values: Any) -> Any:
    options: dict[str, Any] = {
        "model": model,
        "steps": 2,
        **({} if name == "qwen-21" else {"resolution": 64}),
        **values,
    }
    options = {key: value for key, value in options.items() if value is not ...}
    return Registry.discover().create("editors", MODELS[name][0], options, Runtime(device="cpu", dtype="fp32"))


def job(editor: Any, target: str = "blue ball", **more: Any) -> EditJob:
    plan = EditPlan(subtasks=(Subtask(source="red box", target=target),))
    return EditJob(PICTURE.copy(), plan, (REGION,), 1, editor.options, grounded=True, **more)


@pytest.mark.parametrize("name", MODELS)
def test_it_edits_the_region_alone_by_its_words(name: str, models: dict[str, str]) -> None:
    editor = made(name, models[name])
    steps: list[Step] = []
    edited = editor.edit(job(editor, watch=Watch(on_step=steps.append)))
    assert np.array_equal(edited.image[OUTSIDE], PICTURE[OUTSIDE])
    assert np.abs(edited.image[~OUTSIDE].astype(int) - PICTURE[~OUTSIDE]).mean() > 1
    assert edited.log["evaluations"] == 2 * MODELS[name][2] and [step.index for step in steps] == [1, 2]
    if name != "qwen-21":  # the slow one
        assert np.array_equal(editor.edit(job(editor)).image, edited.image)
        assert not np.array_equal(editor.edit(job(editor, "green tree")).image, edited.image)


def test_a_turn_of_flux2_goes_on_from_where_it_was(models: dict[str, str]) -> None:
    editor = made("flux2", models["flux2"], steps=12)
    whole = editor.edit(job(editor))
    steps: list[Step] = []
    states: list[Any] = []
    watch = Watch(on_step=steps.append, should_stop=lambda: len(steps) >= 7, checkpoint=states.append)
    assert editor.edit(job(editor, watch=watch)).stopped
    resumed = editor.edit(job(editor, watch=Watch(resume=states[-1])))
    assert np.array_equal(resumed.image, whole.image) and resumed.log == whole.log


def test_steps_that_its_authors_chose_are_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Qwen-Image 2.1's index may name the noise levels of its steps; other steps are spaced evenly."""
    from gas_editors.pipelines.calling import PipelineCalls

    told: list[dict[str, Any]] = []

    def make(self: Any, arguments: dict[str, Any], *rest: Any) -> np.ndarray:
        told.append(arguments)
        return np.asarray(arguments["image"])

    monkeypatch.setattr(PipelineCalls, "make", make)
    model = str(build_tiny_qwen_image_21(tmp_path / "model", sample_sigmas=[1.0, 0.7, 0.4]))
    for steps, expected in ((..., 3), (5, 5)):
        editor = made("qwen-21", model, steps=steps)
        log = editor.edit(job(editor)).log
        assert log["steps"] == told[-1]["num_inference_steps"] == expected
        assert editor.pipeline(editor.row).config.sample_sigmas == [1.0, 0.7, 0.4]
    assert "sigmas" not in told[0] and told[1]["sigmas"] == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])
    assert "negative_prompt" not in told[0], "it is meant to be sampled without guidance"
    guided = made("qwen-21", model, guidance_scale=3.0)
    guided.edit(job(guided))
    assert told[-1]["negative_prompt"] == " "
