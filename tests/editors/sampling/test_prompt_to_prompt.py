"""Prompt-to-Prompt: identical prompts give the picture back, controls act for their share of steps and in their rows,
every option, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sampling_guards import DIORAMA, SamplingGuards, latent_psnr, run, scene, usual
from torch import Tensor

from gas import Registry
from gas.backends.options import Layer, settle
from gas.diffusion.masks import latent_mask
from gas.diffusion.predictor import Predictor
from gas.errors import InputRefused, UsageError
from gas.interfaces import EditJob, Watch
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract, sample_image, sample_job
from gas.types import EditPlan, Region, Subtask
from gas_editors.sampling.prompt_to_prompt import PromptToPromptEditor, PromptToPromptOptions, Words

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


def same(prompt: str = "a red box on grass") -> EditPlan:
    return PLAN.model_copy(update={"source_prompt": prompt, "target_prompt": prompt})


class TestContract(EditorContract):
    @pytest.fixture
    def editor(self, runtime: Runtime, tiny_sd: Path) -> Any:
        values = {"model": str(tiny_sd), "steps": 3, "null_steps": 1}
        return Registry.discover().create("editors", "prompt-to-prompt", values, runtime)


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


class TestGuards(SamplingGuards):
    options = (*CHANGED, "null_steps", "local_blend", "blend_threshold", "overlap", "beta")
    make = staticmethod(partial(editor, reweight="blue=2"))
    job = staticmethod(job)
    touches = 6
    not_finite = (("inversion", 0, False), ("sampling", 6, False))


# --- identical prompts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["replace", "refine"])
def test_identical_prompts_give_the_picture_back(runtime: Runtime, mode: str) -> None:
    """Trained networks; what the autoencoder loses does not count."""
    edit = editor(runtime, DIORAMA, mode=mode, steps=8, fixed_point=3, self_cells=1.0)
    edited, z, _ = run(edit, scene(edit))
    assert latent_psnr(edited, z) > 34


def test_null_text_gives_more_of_it_back_than_plain_ddim(runtime: Runtime) -> None:
    null, ddim = (
        editor(runtime, DIORAMA, inversion=name, steps=5, null_steps=5, cross_replace=0.0, self_replace=0.0)
        for name in ("null-text", "ddim")
    )
    assert latent_psnr(*run(null, scene(null))[:2]) > latent_psnr(*run(ddim, scene(ddim))[:2]) + 1


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

        def counted(own: Predictor, z: Tensor, t: float, told: Any) -> Tensor:
            self.rows.append(len(told))
            return predict(own, z, t, told)

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
    import gas_editors.sampling.prompt_to_prompt as module

    edit = editor(runtime, tiny_sd, cross_replace=0.6, self_replace=0.4, reweight="blue=2")
    seen: list[tuple[str, Any]] = []
    inject, control = module.inject_attention, module.control_attention

    def injecting(sites: Any, rows: Any) -> Any:
        seen.append(("self", rows))
        assert {site.level for site in sites} == {1, 2, 3}, "of 8 x 12 cells at most a quarter"
        return inject(sites, rows)

    def controlling(sites: Any, one: Any) -> Any:
        seen.append((type(one).__name__, getattr(one, "rows", None) or list(one.factors)))
        assert {site.kind for site in sites} == {"cross"}
        return control(sites, one)

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


@pytest.mark.parametrize("option", CHANGED)
def test_every_option_changes_the_result(runtime: Runtime, tiny_sd: Path, option: str) -> None:
    plain, changed = editor(runtime, tiny_sd), editor(runtime, tiny_sd, **{option: CHANGED[option]})
    assert getattr(changed.options, option) != getattr(plain.options, option)
    assert not torch.allclose(usual(run, plain, job(plain))[0], run(changed, job(changed))[0], atol=1e-4)


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
    assert 'mode="refine"' in caught.value.remedy and caught.value.exit_code == 3
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
