"""Prompt-to-Prompt: identical prompts give the picture back, controls act for their share of steps and in their rows,
every option, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gas import Registry
from gas.diffusion.masks import latent_mask
from gas.diffusion.sampling import Phases, Predictor
from gas.errors import InputRefused, OutOfResources, ResultRefused, UsageError
from gas.options import Layer, settle
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract, sample_image, sample_job
from gas.types import EditJob, EditPlan, Region, Subtask, Watch
from gas_diorama.cases import cases
from gas_diorama.world import render
from gas_editors.prompt_to_prompt import PromptToPromptEditor, PromptToPromptOptions, Words

WIDTH, HEIGHT = 96, 64
PLAN = EditPlan(
    subtasks=(Subtask(source="a red box", target="a blue ball"),),
    source_prompt="a red box on grass",
    target_prompt="a blue ball on grass",
)
TWO = EditPlan(
    subtasks=(*PLAN.subtasks, Subtask(source="grass", target="deep white snow")),
    source_prompt="a red box on grass",
    target_prompt="a blue ball on deep white snow",
)


DIORAMA = "package:gas_diorama/weights/sd"


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(device="cpu", dtype="fp32")


@pytest.fixture
def fresh() -> Runtime:
    """A runtime that no inversion was made in."""
    return Runtime(device="cpu", dtype="fp32")


def editor(runtime: Runtime, folder: Path | str, **values: Any) -> PromptToPromptEditor:
    layer = Layer("test", {"model": str(folder), "steps": 5, "inversion": "negative-prompt", **values})
    return PromptToPromptEditor(settle("editor", PromptToPromptOptions, [layer]).options, runtime)


def job(edit: Any, plan: EditPlan = PLAN, watch: Watch = Watch(), grounded: bool = False) -> EditJob:
    image = sample_image(WIDTH, HEIGHT)
    whole = sample_job(edit, image)
    left = np.zeros((HEIGHT, WIDTH), np.float32)
    left[:, :32] = 1
    regions = (*whole.regions, *(Region("", mask=left, subtask=i) for i in range(1, len(plan.subtasks))))
    return replace(whole, plan=plan, regions=regions, watch=watch, grounded=grounded)


def run(edit: Any, work: EditJob) -> tuple[Tensor, Tensor, Predictor]:
    """The edited latent, the picture's own, and what predicted."""
    z = edit.model.encode(work.image)
    predictor = Predictor(edit.model)
    phases = Phases(work.watch, edit.model.decode, z, edit.planned(work))
    with torch.no_grad():
        edited, _ = edit.run(work, phases, predictor, z, edit.targets(work, (z.shape[2], z.shape[3])))
    return edited, z, predictor


def psnr(a: Tensor, b: Tensor) -> float:
    """dB, of the range of `b`."""
    return float(10 * torch.log10((b.max() - b.min()).square() / (a - b).square().mean()))


def same(prompt: str = "a red box on grass") -> EditPlan:
    return PLAN.model_copy(update={"source_prompt": prompt, "target_prompt": prompt})


class TestContract(EditorContract):
    @pytest.fixture
    def editor(self, runtime: Runtime, tiny_sd: Path) -> Any:
        values = {"model": str(tiny_sd), "steps": 3, "null_steps": 1}
        return Registry.discover().create("editors", "prompt-to-prompt", values, runtime)


# --- identical prompts ------------------------------------------------------------------------------------------------


def scene(edit: Any, identical: bool = True) -> EditJob:
    """A scene of the embedded world, to be left as it is, or its first thing to become another."""
    case = cases(4, "validation")[0]
    plan = case.plan.model_copy(update={"target_prompt": case.plan.source_prompt}) if identical else case.plan
    return EditJob(render(case.scene), plan, case.regions(), 0, edit.options)


@pytest.mark.parametrize("mode", ["replace", "refine"])
def test_identical_prompts_give_the_picture_back(runtime: Runtime, mode: str) -> None:
    """Trained networks; what the autoencoder loses does not count."""
    edit = editor(runtime, DIORAMA, mode=mode, steps=8, fixed_point=3, self_cells=1.0)
    edited, z, _ = run(edit, scene(edit))
    assert psnr(edited, z) > 34


def test_null_text_gives_more_of_it_back_than_plain_ddim(runtime: Runtime) -> None:
    null, ddim = (
        editor(runtime, DIORAMA, inversion=name, steps=5, null_steps=5, cross_replace=0.0, self_replace=0.0)
        for name in ("null-text", "ddim")
    )
    assert psnr(*run(null, scene(null))[:2]) > psnr(*run(ddim, scene(ddim))[:2]) + 1


def test_attention_of_the_source_keeps_the_rest_of_the_picture(runtime: Runtime) -> None:
    values = {"steps": 8, "fixed_point": 3, "guidance_scale": 3.0}
    held = editor(runtime, DIORAMA, **values)
    free = editor(runtime, DIORAMA, cross_replace=0.0, self_replace=0.0, **values)
    work = scene(held, identical=False)
    inside = torch.stack([latent_mask(region.mask, (16, 16)) for region in work.regions]).amax(0)[0, 0] > 0

    def moved(edit: Any) -> tuple[float, float]:
        edited, z, _ = run(edit, work)
        error = (edited - z).square().mean(1)[0]
        return float(error[~inside].mean()), float(error[inside].mean())

    (outside, within), (outside_free, _) = moved(held), moved(free)
    assert outside < 0.7 * outside_free
    assert within > 3 * outside


# --- what acts where --------------------------------------------------------------------------------------------------


class Calls:
    """Counts rows of network calls, and keeps what each injected row takes from."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[int] = []
        self.acted: list[tuple[str, Any]] = []
        predict = Predictor.predict

        def counted(own: Predictor, z: Tensor, t: int, embeddings: Tensor) -> Tensor:
            self.rows.append(len(embeddings))
            return predict(own, z, t, embeddings)

        monkeypatch.setattr(Predictor, "predict", counted)


def test_the_source_is_computed_only_while_it_is_needed(
    fresh: Runtime, tiny_sd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)
    edit = editor(fresh, tiny_sd, cross_replace=0.4, self_replace=0.2)
    out = edit.edit(job(edit))
    assert calls.rows == [1] * 5 + [3, 3, 2, 2, 2]
    assert out.log["evaluations"] == sum(calls.rows)
    calls.rows.clear()
    edit = editor(fresh, tiny_sd, cross_replace=0.0, self_replace=0.6, local_blend=False)
    edit.edit(job(edit))
    assert calls.rows == [3, 3, 3, 2, 2], "the inversion is not made twice"
    calls.rows.clear()
    edit.edit(job(edit, TWO, grounded=True))
    assert calls.rows == [7, 7, 7, 4, 4], "three sources, the null prompt, three targets"


def test_null_text_inversion_is_made_once_for_each_picture(fresh: Runtime, tiny_sd: Path) -> None:
    edit = editor(fresh, tiny_sd, inversion="null-text", null_steps=2)
    first, second = edit.edit(job(edit)), edit.edit(job(edit))
    assert np.array_equal(first.image, second.image)
    assert second.log["evaluations"] == 4 * 3 + 2 < first.log["evaluations"]
    assert first.log["steps"] == second.log["steps"] == 15


def test_controls_are_on_for_their_share_of_steps_and_in_their_rows(
    runtime: Runtime, tiny_sd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gas_editors.prompt_to_prompt as module

    edit = editor(runtime, tiny_sd, cross_replace=0.6, self_replace=0.4, reweight="blue=2")
    seen: list[tuple[str, Any]] = []
    inject, control = module.inject_attention, module.control_attention

    def injecting(network: Any, layers: Any, rows: Any) -> Any:
        seen.append(("self", rows))
        assert {layer.level for layer in layers} == {1, 2, 3}, "of 8 x 12 cells at most a quarter"
        return inject(network, layers, rows)

    def controlling(network: Any, layers: Any, one: Any) -> Any:
        seen.append((type(one).__name__, getattr(one, "rows", None) or list(one.factors)))
        assert {layer.kind for layer in layers} == {"cross"}
        return control(network, layers, one)

    monkeypatch.setattr(module, "inject_attention", injecting)
    monkeypatch.setattr(module, "control_attention", controlling)
    edit.edit(job(edit))
    whole = [("self", {2: 0}), ("Replace", {2: 0}), ("Reweight", [2])]
    assert seen == whole * 2 + whole[1:] + [("Reweight", [1])] * 2, "rows: source, null prompt, target"
    seen.clear()
    edit.edit(job(edit, TWO, grounded=True))
    rows = {4: 0, 5: 1, 6: 2}
    assert seen[:3] == [("self", rows), ("Replace", rows), ("Reweight", [4, 6])], "blue is not in the second subtask"


def test_modes(runtime: Runtime, tiny_sd: Path) -> None:
    def words(plan: EditPlan, **values: Any) -> Words:
        edit = editor(runtime, tiny_sd, **values)
        return edit._words(edit.targets(job(edit, plan, grounded=True), (8, 12)))

    assert words(TWO).modes == ("replace", "refine", "refine")
    assert words(PLAN, mode="refine").modes == ("refine", "refine")
    assert words(PLAN).modes == ("replace", "replace")
    assert all(one is None for one in words(PLAN).factors)


@pytest.mark.parametrize("local_blend", [False, True])
def test_a_grounded_run_moves_nothing_outside_the_regions(runtime: Runtime, tiny_sd: Path, local_blend: bool) -> None:
    edit = editor(runtime, tiny_sd, local_blend=local_blend)
    work = job(edit, grounded=True)
    edited, z, _ = run(edit, work)
    inside = edit.targets(work, (8, 12)).region
    assert inside is not None and 0 < float(inside.mean()) < 1
    assert torch.equal(edited[:, :, inside[0, 0] == 0], z[:, :, inside[0, 0] == 0])
    assert not torch.equal(edited, z)


def test_local_blending_keeps_what_no_differing_word_looks_at(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, local_blend=True, blend_threshold=0.9)
    maps: dict[str, np.ndarray] = {}
    edited, z, _ = run(edit, job(edit, watch=Watch(save_map=maps.__setitem__)))
    kept = (edited == z).all(1)[0]
    assert 0 < float(kept.float().mean()) < 1
    shown = torch.from_numpy(maps["local-blend"])
    assert shown.shape == (HEIGHT, WIDTH)
    assert float(shown[4::8, 4::8][kept].max()) < 1 == float(shown.max())
    everything, _, _ = run(edit, job(edit, same()))
    assert torch.equal(everything, z), "no word differs"


# --- options ----------------------------------------------------------------------------------------------------------

CHANGED: dict[str, Any] = {
    "steps": 4,
    "guidance_scale": 3,
    "inversion": "ddim",
    "fixed_point": 2,
    "cross_replace": 0.2,
    "self_replace": 0.0,
    "self_cells": 1.0,
    "mode": "refine",
    "reweight": "blue=5",
}


@pytest.mark.parametrize("option", CHANGED)
def test_every_option_changes_the_result(runtime: Runtime, tiny_sd: Path, option: str) -> None:
    plain, changed = editor(runtime, tiny_sd), editor(runtime, tiny_sd, **{option: CHANGED[option]})
    assert getattr(changed.options, option) != getattr(plain.options, option)
    assert not torch.allclose(run(plain, job(plain))[0], run(changed, job(changed))[0], atol=1e-4)


@pytest.mark.parametrize(
    ("option", "value", "base"),
    [
        ("null_steps", 1, {"inversion": "null-text", "null_steps": 3, "steps": 3}),
        ("blend_threshold", 0.9, {"local_blend": True}),
        ("local_blend", True, {"blend_threshold": 0.9}),
        ("overlap", 1.0, {}),
        ("beta", 5.0, {}),
    ],
)
def test_options_that_belong_to_others(
    runtime: Runtime, tiny_sd: Path, option: str, value: Any, base: dict[str, Any]
) -> None:
    plain, changed = editor(runtime, tiny_sd, **base), editor(runtime, tiny_sd, **{**base, option: value})
    grounded = option in ("overlap", "beta")
    assert not torch.equal(*(run(one, job(one, TWO, grounded=grounded))[0] for one in (plain, changed)))


def test_no_option_is_without_a_test() -> None:
    models = {"model", "variant", "allow_pickle", "accept_db"}  # test_stable_diffusion, and below
    others = {"null_steps", "local_blend", "blend_threshold", "overlap", "beta"}
    assert set(PromptToPromptOptions.model_fields) == {*CHANGED, *others, *models}
    assert all(field.description for field in PromptToPromptOptions.model_fields.values())


def test_published_values() -> None:
    options = PromptToPromptOptions()
    assert (options.steps, options.guidance_scale, options.inversion) == (50, 7.5, "null-text")
    assert (options.cross_replace, options.self_replace, options.null_steps) == (0.8, 0.4, 10)


@pytest.mark.parametrize(
    ("text", "factors"), [("blue=2", {"blue": 2.0}), ("a blue = -1, ball=0.5", {"a blue": -1.0, "ball": 0.5}), ("", {})]
)
def test_factors_as_they_are_typed(text: str, factors: dict[str, float]) -> None:
    layer = Layer("-o", {"reweight": text})
    options = settle("prompt-to-prompt", PromptToPromptOptions, [layer]).options
    assert options.factors == factors  # type: ignore[attr-defined]
    assert PromptToPromptOptions.model_validate_json(options.model_dump_json()) == options


@pytest.mark.parametrize("text", ["blue", "=2", "blue=much", "blue=nan", "blue=inf", "blue=1000"])
def test_factors_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not WORD=FACTOR"):
        settle("prompt-to-prompt", PromptToPromptOptions, [Layer("-o", {"reweight": text})])


# --- refused ----------------------------------------------------------------------------------------------------------


def test_prompts_that_cannot_be_aligned_are_refused_before_anything_is_computed(
    fresh: Runtime, tiny_sd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)
    edit = editor(fresh, tiny_sd, mode="replace")
    with pytest.raises(InputRefused, match="words cannot be replaced one by one") as caught:
        edit.edit(job(edit, TWO))
    assert repr(TWO.source_prompt) in caught.value.message and repr(TWO.target_prompt) in caught.value.message
    assert "mode=refine" in caught.value.remedy and caught.value.exit_code == 3
    assert not calls.rows


def test_a_word_that_no_target_has_is_refused(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, reweight="red=2")
    with pytest.raises(InputRefused, match=r"'red' is to be reweighted, but is not in .*'a blue ball on grass'"):
        edit.edit(job(edit))


@pytest.mark.parametrize("name", ["source", "target"])
def test_both_sentences_are_needed(runtime: Runtime, tiny_sd: Path, name: str) -> None:
    edit = editor(runtime, tiny_sd)
    with pytest.raises(InputRefused, match=f"no {name} prompt") as caught:
        edit.edit(job(edit, PLAN.model_copy(update={f"{name}_prompt": " "})))
    assert caught.value.exit_code == 3


def test_a_grounded_run_needs_a_region_for_each_subtask(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    with pytest.raises(InputRefused, match=r"subtask 1 \('a red box'\) has no region"):
        edit.edit(replace(job(edit, grounded=True), regions=()))


def test_the_model_has_to_be_named(runtime: Runtime) -> None:
    edit = PromptToPromptEditor(PromptToPromptOptions(), runtime)
    with pytest.raises(UsageError, match="no model is named"):
        edit.edit(EditJob(sample_image(WIDTH, HEIGHT), PLAN, (), 0, edit.options))


def test_a_picture_from_another_world_is_refused(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, accept_db=50)
    with pytest.raises(InputRefused, match="not from this model's world"):
        edit.edit(job(edit))


def test_what_the_model_does_not_see_is_said(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    long = PLAN.target_prompt + " beside a very long list of many other things" * 2
    with pytest.warns(UserWarning, match="does not see"):
        log = edit.edit(job(edit, PLAN.model_copy(update={"target_prompt": long}))).log
    assert list(log["prompts_cut"]) == [long] and long.endswith(log["prompts_cut"][long])
    assert json.loads(json.dumps(dict(log))) == dict(log)


def test_numbers_that_are_not_finite_stop_by_name_and_leave_the_network_alone(
    fresh: Runtime, tiny_sd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = editor(fresh, tiny_sd, reweight="blue=2")
    unet = edit.model.unet
    before, forward, calls = dict(unet.attn_processors), unet.forward, iter(range(99))

    def broken(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        return (output[0] * float("nan"),) if next(calls) == 6 else output

    monkeypatch.setattr(unet, "forward", broken)
    with pytest.raises(ResultRefused, match="sampling is not a finite number") as caught:
        edit.edit(job(edit))
    assert caught.value.exit_code == 11
    assert all(one is before[name] for name, one in unet.attn_processors.items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in unet.modules())


def test_too_little_memory_says_what_to_do(fresh: Runtime, tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit = editor(fresh, tiny_sd)

    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(edit.model.unet, "forward", full)
    with pytest.raises(OutOfResources, match="12x8") as caught:
        edit.edit(job(edit))
    assert caught.value.exit_code == 7 and "bf16" in caught.value.remedy
