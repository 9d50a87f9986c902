"""Plug-and-Play: what is put in, and what comes out where all of it is; every option; grounded runs; failures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sampling_guards import DIORAMA, SamplingGuards, igloo_turned_blue, picture, psnr, regions, traces, usual

from gas import Registry
from gas.backends.options import Layer, settle
from gas.diffusion.attention.inject import inject_attention, inject_features
from gas.diffusion.load import load_backbone
from gas.errors import InputRefused, OutOfResources, UsageError
from gas.interfaces import EditJob, Watch
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract, sample_image
from gas.types import EditPlan, Subtask
from gas_diorama.world.cases import cases
from gas_diorama.world.world import render
from gas_editors.sampling.plug_and_play import PlugAndPlayEditor, PlugAndPlayOptions, decoder_attention, feature_modules

WIDTH, HEIGHT = 96, 64
SOURCE = "a red box on green grass"
ONE = EditPlan(
    subtasks=(Subtask(source="a red box", target="a blue ball"),),
    source_prompt=SOURCE,
    target_prompt="a blue ball on green grass",
)
TWO = ONE.model_copy(
    update={
        "subtasks": (*ONE.subtasks, Subtask(source="green grass", target="snow")),
        "target_prompt": "a blue ball on snow",
    }
)
FULL = {
    "features_until": 1.0,
    "attention_until": 1.0,
    "feature_blocks": tuple(range(12)),
    "attention_from": 0,
    "features": "output",
}
"""All features and all maps at all steps."""


@pytest.fixture(scope="module")
def tiny_sd(whole_tiny_sd: Path) -> Path:
    return whole_tiny_sd


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(device="cpu", dtype="fp32")


@pytest.fixture(scope="module")
def trained() -> Runtime:
    """For the diorama's networks, so that they are read once."""
    return Runtime(device="cpu", dtype="fp32")


def editor(runtime: Runtime, folder: Path | str, **values: Any) -> PlugAndPlayEditor:
    layer = Layer("test", {"model": str(folder), "steps": 4, **values})
    return PlugAndPlayEditor(settle("editor", PlugAndPlayOptions, [layer]).options, runtime)


SMALL, LARGE = regions(TWO, ((24.0, 16.0, 48.0, 40.0), (16.0, 8.0, 80.0, 48.0)))
"""One inside the other."""


def job(edit: Any, plan: EditPlan = ONE, watch: Watch = Watch(), **values: Any) -> EditJob:
    return EditJob(sample_image(WIDTH, HEIGHT), plan, (), 1, edit.options, watch=watch, **values)


def grounded(edit: Any, plan: EditPlan = TWO, watch: Watch = Watch()) -> EditJob:
    regions = (SMALL, LARGE)[: len(plan.subtasks)]
    return replace(job(edit, plan, watch), regions=regions, grounded=True)


class TestContract(EditorContract):
    @pytest.fixture
    def editor(self, runtime: Runtime, tiny_sd: Path) -> Any:
        return Registry.discover().create("editors", "plug-and-play", {"model": str(tiny_sd), "steps": 6}, runtime)


class TestGroundedContract(TestContract):
    @pytest.fixture
    def job(self, editor: Any, image: np.ndarray) -> EditJob:
        return grounded(editor, ONE)


class TestGuards(SamplingGuards):
    options = (
        *("steps", "guidance_scale", "features_until", "attention_until", "feature_blocks", "attention_from"),
        *("features", "inversion_prompt", "negative_prompt", "refine", "overlap", "beta"),
    )
    make = staticmethod(editor)
    job = staticmethod(job)
    grounded = staticmethod(grounded)
    touches = 4
    """The first call after the inversion."""


# --- what defines it --------------------------------------------------------------------------------------------------


def test_with_everything_put_in_and_the_same_prompt_the_source_comes_back(
    trained: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PlugAndPlayEditor, "compares_prompts", False)
    case = cases(16, "validation")[1]
    picture = render(case.scene)
    exact = {"inversion_prompt": "source", "guidance_scale": 1.0, "steps": 10, "refine": 2}
    full = editor(trained, DIORAMA, **exact, **{**FULL, "feature_blocks": tuple(range(6))})
    plan = case.plan.model_copy(update={"target_prompt": case.plan.source_prompt})
    round_trip = full.model.decode(full.model.encode(picture))
    made = full.edit(EditJob(picture, plan, (), 0, full.options)).image
    assert psnr(made, round_trip) > 40
    free = editor(trained, DIORAMA, **exact, features_until=0.0, attention_until=0.0)
    plain, held = (edit.edit(EditJob(picture, case.plan, (), 0, edit.options)).image for edit in (free, full))
    assert psnr(held, round_trip) > psnr(plain, round_trip) + 3, "another prompt: what is put in keeps the picture"


def test_inversion_reproduces_the_source(trained: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlugAndPlayEditor, "compares_prompts", False)
    case = cases(16, "validation")[1]
    picture = render(case.scene)
    nothing = {"features_until": 0.0, "attention_until": 0.0, "guidance_scale": 1.0, "inversion_prompt": "source"}
    edit = editor(trained, DIORAMA, steps=10, **nothing)
    plan = case.plan.model_copy(update={"target_prompt": case.plan.source_prompt})
    made = edit.edit(EditJob(picture, plan, (), 0, edit.options)).image
    assert psnr(made, edit.model.decode(edit.model.encode(picture))) > 33


def test_with_everything_put_in_a_row_is_the_source_row(runtime: Runtime, tiny_sd: Path) -> None:
    model = load_backbone(str(tiny_sd), runtime)
    unet = model.network
    modules = feature_modules(model, FULL["feature_blocks"], "output")
    sites = decoder_attention(model, 0)
    assert len(modules) == 12 and len(sites) == 9
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 4, 8, 12, generator=generator)
    words = torch.randn(1, 77, 32, generator=generator).repeat(2, 1, 1)
    with torch.no_grad(), inject_features(modules, {1: 0}), inject_attention(sites, {1: 0}):
        source, target = unet(z, torch.tensor([500, 500]), words).sample
        free = unet(z, torch.tensor([500, 500]), words.flip(2)).sample
    assert torch.equal(source, target), "another latent under the same prompt"
    assert not torch.equal(free[0], source)


def test_the_published_blocks(runtime: Runtime, tiny_sd: Path) -> None:
    model, options = load_backbone(str(tiny_sd), runtime), PlugAndPlayOptions()
    wanted = model.network.get_submodule("up_blocks.1.resnets.1.conv2")
    assert feature_modules(model, options.feature_blocks, options.features) == [wanted]
    found = [site.name.removesuffix(".transformer_blocks.0.attn1") for site in decoder_attention(model, 4)]
    assert found == [f"up_blocks.{a}.attentions.{b}" for a in (1, 2, 3) for b in (0, 1, 2) if (a, b) != (1, 0)]
    assert (options.steps, options.guidance_scale) == (50, 7.5)
    assert (options.features_until, options.attention_until) == (0.8, 0.5)


@pytest.mark.parametrize(("share", "steps"), [(0.8, 40), (0.5, 25), (0.29, 14), (0.58, 29), (0.0, 0), (1.0, 50)])
def test_thresholds_are_shares_of_the_steps(runtime: Runtime, tiny_sd: Path, share: float, steps: int) -> None:
    edit = editor(runtime, tiny_sd, steps=50, features_until=share, attention_until=share)
    stopped = edit.edit(replace(job(edit), watch=Watch(should_stop=lambda: True)))
    assert stopped.stopped
    assert edit.injected_steps() == (steps, steps)


def test_the_picture_is_inverted_once_for_two_targets(tiny_sd: Path) -> None:
    fresh = Runtime(device="cpu", dtype="fp32")
    edit = editor(fresh, tiny_sd)
    first, second = edit.edit(job(edit)), edit.edit(job(edit, TWO))
    assert first.log["evaluations"] == 4 * (1 + 3) and second.log["evaluations"] == 4 * 3
    assert not np.array_equal(first.image, second.image)


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("steps", 3),
        ("guidance_scale", 3.0),
        ("features_until", 0.25),
        ("attention_until", 0.0),
        ("feature_blocks", 5),
        ("attention_from", 9),
        ("features", "output"),
        ("inversion_prompt", "source"),
        ("negative_prompt", ""),
        ("refine", 2),
    ],
)
def test_every_option_changes_the_picture(option: str, value: Any, runtime: Runtime, tiny_sd: Path) -> None:
    plain, changed = editor(runtime, tiny_sd), editor(runtime, tiny_sd, **{option: value})
    assert getattr(changed.options, option) != getattr(plain.options, option)
    assert not np.array_equal(usual(picture, plain, job(plain)), picture(changed, job(changed)))


@pytest.mark.parametrize(("option", "value"), [("overlap", 1.0), ("beta", 3.0)])
def test_options_of_grounded_runs_change_them(option: str, value: Any, runtime: Runtime, tiny_sd: Path) -> None:
    plain, changed = editor(runtime, tiny_sd), editor(runtime, tiny_sd, **{option: value})
    assert not np.array_equal(usual(picture, plain, grounded(plain)), picture(changed, grounded(changed)))
    assert np.array_equal(usual(picture, plain, job(plain)), picture(changed, job(changed)))


def test_a_source_sentence_is_asked_for_only_where_it_is_used(runtime: Runtime, tiny_sd: Path) -> None:
    plan = ONE.model_copy(update={"source_prompt": ""})
    edit = editor(runtime, tiny_sd)
    assert not edit.edit(job(edit, plan)).stopped
    edit = editor(runtime, tiny_sd, inversion_prompt="source")
    with pytest.raises(InputRefused, match="no source prompt"):
        edit.edit(job(edit, plan))


# --- grounded ---------------------------------------------------------------------------------------------------------


def test_grounded_has_a_row_for_each_subtask_and_one_for_all(tiny_sd: Path) -> None:
    edit = editor(Runtime(device="cpu", dtype="fp32"), tiny_sd)
    log = edit.edit(grounded(edit)).log
    assert log["grounded"] and log["evaluations"] == 4 * (1 + 2 + 3)


def test_each_subtask_acts_in_its_own_region(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    other = TWO.model_copy(update={"subtasks": (TWO.subtasks[0], Subtask(source="green grass", target="fire"))})
    one, two = (edit.edit(grounded(edit, plan)).image for plan in (TWO, other))
    assert not np.array_equal(one, two)


def test_a_region_thinner_than_a_cell_still_acts(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    thin = replace(grounded(edit, ONE), regions=regions(ONE, ((40.0, 30.0, 41.0, 34.0),)))
    made = edit.edit(thin).image
    assert not np.array_equal(made, edit.model.decode(edit.model.encode(thin.image)))


# --- what fails, and what stays ---------------------------------------------------------------------------------------


def test_blocks_that_are_not_there_are_named(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, feature_blocks=(4, 12))
    with pytest.raises(UsageError, match="no block 12") as caught:
        edit.edit(job(edit))
    assert "0 to 11" in caught.value.remedy
    edit = editor(runtime, tiny_sd, attention_from=12)
    with pytest.raises(UsageError, match="no self-attention from block 12 on"):
        edit.edit(job(edit))
    edit = editor(runtime, tiny_sd, attention_from=12, attention_until=0.0)
    assert not edit.edit(job(edit)).stopped, "where none is put in, there need be none"


def full_after(calls: int) -> Iterator[None]:
    for _ in range(calls):
        yield
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory")


def test_too_little_memory_is_named_and_leaves_the_network_as_it_was(
    tiny_sd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = editor(Runtime(device="cpu", dtype="fp32"), tiny_sd)
    unet, calls = edit.model.network, full_after(5)  # four to invert, then one with all put in
    before, inside = traces(unet), []
    handle = unet.conv_out.register_forward_hook(lambda *_: (inside.append(traces(unet)), next(calls))[1])
    with pytest.raises(OutOfResources, match="3 rows of a latent of 12x8") as caught:
        edit.edit(job(edit))
    handle.remove()
    assert "bf16" in caught.value.remedy and len(inside) == 6
    assert traces(unet) == before
    hooks = [sum(len(hooks) for _, hooks, *_ in one) for one in inside]
    assert hooks[-1] == hooks[0] + 1 + 2 * 8, "while it runs, one block's features and eight layers are put in"


# --- the trained networks ---------------------------------------------------------------------------------------------


def test_a_trained_model_makes_another_thing_of_it_in_the_same_place(trained: Runtime) -> None:
    bluer, kept = igloo_turned_blue("plug-and-play", trained)
    assert bluer > 40 and kept > 25
