"""MasaCtrl: identical prompts give the picture back, sharing keeps its things, from the step and layer that are asked
for on, every option, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sampling_guards import DIORAMA, PLAN, SamplingGuards, latent_psnr, run, scene, usual
from torch import Tensor

import gas_editors.sampling.masactrl as module
from gas import Registry
from gas.backends.options import Layer, settle
from gas.diffusion.predictor import Predictor
from gas.errors import InputRefused, UsageError
from gas.interfaces import EditJob
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract, sample_image, sample_job
from gas.types import EditPlan, Region
from gas_editors.sampling.masactrl import MasaCtrlEditor, MasaCtrlOptions

WIDTH, HEIGHT = 96, 64


@pytest.fixture(scope="module")
def tiny_sd(whole_tiny_sd: Path) -> Path:
    return whole_tiny_sd


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(device="cpu", dtype="fp32")


@pytest.fixture
def fresh() -> Runtime:
    """A runtime that no inversion was made in."""
    return Runtime(device="cpu", dtype="fp32")


def editor(runtime: Runtime, folder: Path | str, **values: Any) -> MasaCtrlEditor:
    layer = Layer("test", {"model": str(folder), "steps": 5, "start_step": 2, **values})
    return MasaCtrlEditor(settle("editor", MasaCtrlOptions, [layer]).options, runtime)


def job(edit: Any, plan: EditPlan = PLAN, grounded: bool = False) -> EditJob:
    work = sample_job(edit, sample_image(WIDTH, HEIGHT))
    left = np.zeros((HEIGHT, WIDTH), np.float32)
    left[:, :32] = 1
    regions = (*work.regions, Region("grass", mask=left, subtask=1))
    return replace(work, plan=plan, regions=regions, grounded=grounded)


class TestContract(EditorContract):
    @pytest.fixture
    def editor(self, runtime: Runtime, tiny_sd: Path) -> Any:
        values = {"model": str(tiny_sd), "steps": 4, "start_step": 1}
        return Registry.discover().create("editors", "masactrl", values, runtime)


CHANGED: dict[str, Any] = {
    "steps": 4,
    "guidance_scale": 3,
    "start_step": 4,
    "start_layer": 15,
    "source_prompt": "plan",
    "within_regions": True,
    "fixed_point": 2,
    "overlap": 1.0,
    "beta": 5.0,
}


class TestGuards(SamplingGuards):
    options = CHANGED
    make = staticmethod(partial(editor, start_step=0))
    job = staticmethod(job)
    touches = 6
    not_finite = (("inversion", 0, False), ("sampling", 6, False))


# --- what it is for ---------------------------------------------------------------------------------------------------


def test_sharing_everything_with_identical_prompts_gives_the_picture_back(runtime: Runtime) -> None:
    """Trained networks, no guidance; what the autoencoder loses does not count."""
    values = {"steps": 8, "start_step": 0, "start_layer": 0, "guidance_scale": 1.0, "fixed_point": 3}
    edit = editor(runtime, DIORAMA, source_prompt="plan", **values)
    edited, z, _ = run(edit, scene(edit, identical=True))
    assert latent_psnr(edited, z) > 34
    other, _, _ = run(edit, scene(edit, identical=False))
    assert latent_psnr(other, z) < latent_psnr(edited, z) - 3


def test_sharing_keeps_more_of_the_picture(runtime: Runtime) -> None:
    values = {"steps": 6, "start_layer": 0, "source_prompt": "plan", "fixed_point": 2, "guidance_scale": 3.0}
    shared, alone = (editor(runtime, DIORAMA, start_step=step, **values) for step in (0, 1000))
    work = scene(shared, identical=False)
    assert latent_psnr(*run(shared, work)[:2]) > latent_psnr(*run(alone, work)[:2]) + 0.05


@pytest.mark.parametrize("grounded", [False, True])
def test_from_the_step_and_layer_on_all_rows_look_at_the_source(
    fresh: Runtime, tiny_sd: Path, monkeypatch: pytest.MonkeyPatch, grounded: bool
) -> None:
    shared: list[Any] = []
    share, rows, predict = module.share_attention, [], Predictor.predict

    def sharing(sites: Any, taken: Any, parts: Any) -> Any:
        shared.append((taken, parts))
        assert [site.kind for site in sites] == ["self"] * 6
        assert {site.level for site in sites} == {0, 1}
        return share(sites, taken, parts)

    def counted(own: Predictor, z: Tensor, t: float, told: Any) -> Tensor:
        rows.append(len(z))
        return predict(own, z, t, told)

    monkeypatch.setattr(module, "share_attention", sharing)
    monkeypatch.setattr(Predictor, "predict", counted)
    edit = editor(fresh, tiny_sd)
    out = edit.edit(job(edit, grounded=grounded))
    taken = {1: 0, 2: 0, 3: 0, 4: 0} if grounded else {1: 0, 2: 0}
    assert shared == [(taken, {})] * 3
    count = len(taken)
    assert rows == [1] * 5 + [count] * 2 + [count + 1] * 3
    assert out.log["evaluations"] == sum(rows) and out.log["shared_steps"] == 3
    rows.clear()
    edit.edit(job(edit, grounded=grounded))
    assert rows == [count] * 2 + [count + 1] * 3, "the inversion is not made twice"


def test_a_region_looks_at_its_own(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, within_regions=True)
    work = job(edit, grounded=True)
    parts = edit._parts(work, edit.targets(work, (8, 12)), (8, 12))
    first, second = torch.zeros(8, 12), torch.zeros(8, 12)
    first[2:6, 3:9], second[:, :4] = 1, 1
    shown = {row: one.source for row, one in parts.items()}
    assert set(shown) == {1, 2, 3, 4} and all(torch.equal(one.source, one.target) for one in parts.values())
    assert torch.equal(shown[2], first) and torch.equal(shown[3], second)
    assert torch.equal(shown[1], torch.maximum(first, second)) and torch.equal(shown[4], shown[1])
    plain = edit._parts(work, edit.targets(replace(work, grounded=False), (8, 12)), (8, 12))
    assert set(plain) == {1, 2} and torch.equal(plain[2].source, shown[1])


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", CHANGED)
def test_every_option_changes_the_result(runtime: Runtime, tiny_sd: Path, option: str) -> None:
    plain, changed = editor(runtime, tiny_sd), editor(runtime, tiny_sd, **{option: CHANGED[option]})
    assert getattr(changed.options, option) != getattr(plain.options, option)
    grounded = option in ("overlap", "beta")
    before = usual(run, plain, job(plain, grounded=grounded))[0]
    assert not torch.allclose(before, run(changed, job(changed, grounded=grounded))[0], atol=1e-5)


def test_published_values() -> None:
    options = MasaCtrlOptions()
    assert (options.steps, options.guidance_scale, options.start_step, options.start_layer) == (50, 7.5, 4, 10)


# --- refused ----------------------------------------------------------------------------------------------------------


def test_a_layer_that_is_not_there_is_refused(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, start_layer=16)
    with pytest.raises(UsageError, match="start_layer 16 is beyond the model's 16 self-attention layers") as caught:
        edit.edit(job(edit))
    assert caught.value.exit_code == 2 and "at most 15" in caught.value.remedy


def test_the_source_sentence_is_needed_only_where_it_is_used(runtime: Runtime, tiny_sd: Path) -> None:
    plan = PLAN.model_copy(update={"source_prompt": ""})
    edit = editor(runtime, tiny_sd)
    edit.edit(job(edit, plan))
    edit = editor(runtime, tiny_sd, source_prompt="plan")
    with pytest.raises(InputRefused, match="no source prompt"):
        edit.edit(job(edit, plan))
    with pytest.raises(InputRefused, match="no target prompt"):
        edit.edit(job(edit, PLAN.model_copy(update={"target_prompt": " "})))


def test_regions_are_needed_where_they_are_used(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, within_regions=True)
    with pytest.raises(InputRefused, match="there are no regions"):
        edit.edit(replace(job(edit), regions=()))
    with pytest.raises(InputRefused, match=r"subtask 1 \('a red box'\) has no region"):
        edit.edit(replace(job(edit, grounded=True), regions=()))
