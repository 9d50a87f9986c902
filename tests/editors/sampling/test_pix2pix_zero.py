"""pix2pix-zero: edit directions, the pull of cross-attention, the way back to the source; every option; failures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sampling_guards import DIORAMA, SamplingGuards, igloo_turned_blue, psnr, regions, traces
from torch import Tensor

from gas import Registry
from gas.backends.options import Layer, settle
from gas.diffusion.attention.sites import unet_sites
from gas.diffusion.backbone import Conditioning
from gas.diffusion.load import load_backbone
from gas.diffusion.predictor import Predictor
from gas.errors import InputRefused, OutOfResources, UsageError
from gas.interfaces import EditJob, Watch
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract, sample_image
from gas.types import EditPlan, Subtask
from gas_diorama.world.cases import cases
from gas_diorama.world.world import render
from gas_editors.sampling.pix2pix_zero import (
    SENTENCES,
    Pix2PixZeroEditor,
    Pix2PixZeroOptions,
    attention_pull,
    edit_direction,
)

WIDTH, HEIGHT = 96, 64
SOURCE = "a red box on green grass"
BOX = Subtask(source="a red box", target="a blue ball")
GRASS = Subtask(source="green grass", target="snow")
NOTHING = Subtask.model_construct(**{**BOX.model_dump(), "target": BOX.source})
"""From a thing to the same thing, which plans refuse."""
TWO = EditPlan(subtasks=(BOX, GRASS))
QUICK = {"regularisation_steps": 1, "rolls": 1}


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(device="cpu", dtype="fp32")


@pytest.fixture(scope="module")
def trained() -> Runtime:
    """For the diorama's networks, so that they are read once."""
    return Runtime(device="cpu", dtype="fp32")


def plan(*subtasks: Subtask, source: str = SOURCE, target: str = "") -> EditPlan:
    return EditPlan.model_construct(**{**EditPlan(subtasks=(BOX,)).__dict__, "subtasks": subtasks}).model_copy(
        update={"source_prompt": source, "target_prompt": target}
    )


def editor(runtime: Runtime, folder: Path | str, **values: Any) -> Pix2PixZeroEditor:
    # Few sentences: the tiny text encoder reads a token for each byte.
    layer = Layer("test", {"model": str(folder), "steps": 4, "sentences": ["{}", "a photo of {}"], **QUICK, **values})
    return Pix2PixZeroEditor(settle("editor", Pix2PixZeroOptions, [layer]).options, runtime)


SMALL, LARGE = regions(TWO, ((24.0, 16.0, 48.0, 40.0), (16.0, 8.0, 80.0, 48.0)))
"""One inside the other."""


def job(edit: Any, *subtasks: Subtask, watch: Watch = Watch(), seed: int = 1) -> EditJob:
    return EditJob(sample_image(WIDTH, HEIGHT), plan(*(subtasks or (BOX,))), (), seed, edit.options, watch=watch)


def grounded(edit: Any, *subtasks: Subtask) -> EditJob:
    subtasks = subtasks or (BOX, GRASS)
    return replace(job(edit, *subtasks), regions=(SMALL, LARGE)[: len(subtasks)], grounded=True)


class TestContract(EditorContract):
    @pytest.fixture
    def editor(self, runtime: Runtime, tiny_sd: Path) -> Any:
        values = {"model": str(tiny_sd), "steps": 5, "sentences": ("{}",), **QUICK}
        return Registry.discover().create("editors", "pix2pix-zero", values, runtime)


class TestGroundedContract(TestContract):
    @pytest.fixture
    def job(self, editor: Any, image: np.ndarray) -> EditJob:
        return grounded(editor, BOX)


class TestGuards(SamplingGuards):
    options = (
        *("steps", "guidance_scale", "negative_prompt", "cross_attention", "autocorrelation", "kl", "rolls"),
        *("regularisation_steps", "refine", "sentences", "overlap", "beta"),
    )
    make = staticmethod(editor)
    job = staticmethod(job)
    grounded = staticmethod(grounded)
    touches = 4
    """After the inversion, while the source's attention is looked at."""

    def wordy(self, plan: EditPlan) -> tuple[EditPlan, list[str]]:
        long = ("a very very very very blue ball " * 5).strip()
        cut = plan.subtasks[0].model_copy(update={"target": long})
        return plan.model_copy(update={"subtasks": (cut,)}), [long, f"a photo of {long}"]


# --- directions -------------------------------------------------------------------------------------------------------


def test_a_direction_is_the_difference_of_mean_embeddings(runtime: Runtime, tiny_sd: Path) -> None:
    predictor = Predictor(load_backbone(str(tiny_sd), runtime), (8, 12))
    found = edit_direction(predictor, "a cat", "a dog", ("{}", "see {} here"))
    embedded = predictor.condition(["a cat", "see a cat here", "a dog", "see a dog here"]).embeddings
    torch.testing.assert_close(found, (embedded[2:].mean(0) - embedded[:2].mean(0))[None])
    assert found.shape == (1, 77, 32) and found.abs().max() > 0.1


def test_from_a_thing_to_itself_is_no_direction(runtime: Runtime, tiny_sd: Path) -> None:
    predictor = Predictor(load_backbone(str(tiny_sd), runtime), (8, 12))
    assert not edit_direction(predictor, "a cat", "a cat", SENTENCES[:3]).any()
    there, back = (edit_direction(predictor, *pair, ("{}",)) for pair in (("a cat", "a dog"), ("a dog", "a cat")))
    torch.testing.assert_close(there, -back)


def test_an_empty_phrase_leaves_no_hole(runtime: Runtime, tiny_sd: Path) -> None:
    predictor = Predictor(load_backbone(str(tiny_sd), runtime), (8, 12))
    found = edit_direction(predictor, "", "a hat", ("see {} here",))
    embedded = predictor.condition(["see here", "see a hat here"]).embeddings
    torch.testing.assert_close(found, embedded[1:] - embedded[:1])


def test_the_sentences_are_sentences() -> None:
    assert len(set(SENTENCES)) == len(SENTENCES) == 20
    assert all(sentence.count("{}") == 1 for sentence in SENTENCES)


def test_several_subtasks_add_up(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    both, same = edit.edit(job(edit, BOX, GRASS)), edit.edit(job(edit, GRASS, BOX))
    assert np.abs(both.image.astype(int) - same.image).max() <= 1, "but for rounding the order is nothing"
    assert both.log["directions"] == same.log["directions"][::-1]
    assert not np.array_equal(both.image, edit.edit(job(edit)).image)


def test_a_subtasks_strength_is_its_directions_length(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    plain, strong = edit.edit(job(edit)), edit.edit(job(edit, BOX.model_copy(update={"strength": 2.0})))
    assert strong.log["directions"][0] == pytest.approx(2 * plain.log["directions"][0])
    assert not np.array_equal(plain.image, strong.image)


# --- the pull of cross-attention --------------------------------------------------------------------------------------


def attention(predictor: Predictor, z: Tensor, t: float, words: Conditioning) -> dict[str, Tensor]:
    from gas_editors.sampling.pix2pix_zero import _attention

    with torch.no_grad():
        return _attention(predictor, unet_sites(predictor.model.network, "cross"), z, t, words)


def test_a_step_down_the_gradient_brings_attention_nearer(runtime: Runtime, tiny_sd: Path) -> None:
    predictor = Predictor(load_backbone(str(tiny_sd), runtime), (8, 12))
    layers = unet_sites(predictor.model.network, "cross")
    z = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    words = predictor.condition([SOURCE, "a blue ball", "snow"])
    reference = attention(predictor, z, 500, words[:1])
    assert len(reference) == len(layers) == 3 + 1 + 6, "down, in the middle, and up"
    pull, far = attention_pull(predictor, layers, reference, z, 500, words[1:])
    assert pull.shape == (2, 4, 8, 12) and far.shape == (2,) and not pull.requires_grad
    for row in (0, 1):
        expected = sum(
            (one - reference[name]).square().sum((2, 3)).mean()
            for name, one in attention(predictor, z, 500, words[row + 1 : row + 2]).items()
        )
        torch.testing.assert_close(far[row], expected)
        step = 0.1 * pull[row : row + 1] / pull[row].norm()
        _, nearer = attention_pull(predictor, layers, reference, z - step, 500, words[row + 1 : row + 2])
        assert float(nearer) < float(far[row])


def test_where_attention_is_the_sources_nothing_pulls(runtime: Runtime, tiny_sd: Path) -> None:
    predictor = Predictor(load_backbone(str(tiny_sd), runtime), (8, 12))
    layers = unet_sites(predictor.model.network, "cross")
    z, words = torch.ones(1, 4, 8, 12), predictor.condition([SOURCE])
    pull, far = attention_pull(predictor, layers, attention(predictor, z, 500, words), z, 500, words)
    assert not pull.any() and not far.any()


# --- the way back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_no_direction_gives_the_source_back(trained: Runtime, weight: float) -> None:
    case = cases(16, "validation")[1]
    picture = render(case.scene)
    edit = editor(trained, DIORAMA, steps=10, cross_attention=weight)
    made = edit.edit(EditJob(picture, plan(NOTHING, source=case.plan.source_prompt), (), 0, edit.options))
    assert psnr(made.image, edit.model.decode(edit.model.encode(picture))) > 33
    assert made.log["directions"] == [0.0]


def test_without_a_direction_guidance_has_nothing_to_do(runtime: Runtime, tiny_sd: Path) -> None:
    weak, strong = (editor(runtime, tiny_sd, guidance_scale=scale, cross_attention=0) for scale in (1, 20))
    one, two = (edit.edit(job(edit, NOTHING)).image.astype(int) for edit in (weak, strong))
    assert np.abs(one - two).max() <= 1


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unchanged(runtime: Runtime, tiny_sd: Path) -> tuple[Any, np.ndarray, np.ndarray]:
    """The options that others are compared with, and their pictures: a plain one and a grounded one."""
    edit = editor(runtime, tiny_sd)
    return edit.options, edit.edit(job(edit)).image, edit.edit(grounded(edit)).image


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("steps", 3),
        ("guidance_scale", 2.0),
        ("negative_prompt", ""),
        ("cross_attention", 0.0),
        ("autocorrelation", 0.0),
        ("kl", 0.0),
        ("regularisation_steps", 9),
        ("rolls", 4),
        ("refine", 1),
        ("sentences", "look: {}"),
    ],
)
def test_every_option_changes_the_picture(
    option: str, value: Any, unchanged: tuple[Any, ...], runtime: Runtime, tiny_sd: Path
) -> None:
    options, picture, _ = unchanged
    changed = editor(runtime, tiny_sd, **{option: value})
    assert getattr(changed.options, option) != getattr(options, option)
    assert not np.array_equal(picture, changed.edit(job(changed)).image)


@pytest.mark.parametrize(("option", "value"), [("overlap", 1.0), ("beta", 3.0)])
def test_options_of_grounded_runs_change_them(
    option: str, value: Any, unchanged: tuple[Any, ...], runtime: Runtime, tiny_sd: Path
) -> None:
    changed = editor(runtime, tiny_sd, **{option: value})
    assert not np.array_equal(unchanged[2], changed.edit(grounded(changed)).image)


def test_published_values() -> None:
    options = Pix2PixZeroOptions()
    assert (options.steps, options.guidance_scale, options.cross_attention) == (50, 5.0, 0.1)
    assert (options.autocorrelation, options.kl, options.regularisation_steps, options.rolls) == (20, 20, 5, 5)


def test_a_sentence_needs_a_place_for_the_phrase(runtime: Runtime, tiny_sd: Path) -> None:
    with pytest.raises(UsageError, match="'a photo' has no"):
        editor(runtime, tiny_sd, sentences=["{}", "a photo"])


def test_the_seed_matters_only_to_the_regularisation(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    assert not np.array_equal(edit.edit(job(edit)).image, edit.edit(job(edit, seed=2)).image)
    edit = editor(runtime, tiny_sd, autocorrelation=0)
    assert np.array_equal(edit.edit(job(edit)).image, edit.edit(job(edit, seed=2)).image)


def test_evaluations_are_counted(tiny_sd: Path) -> None:
    edit = editor(Runtime(device="cpu", dtype="fp32"), tiny_sd)
    assert edit.edit(job(edit)).log["evaluations"] == 4 * (1 + 1 + 1 + 2), "invert; source, pull, both of guidance"
    assert edit.edit(job(edit, GRASS)).log["evaluations"] == 4 * (1 + 1 + 2), "the inversion is known"
    log = edit.edit(grounded(edit)).log
    assert log["evaluations"] == 4 * (1 + 3 + 4) and json.loads(json.dumps(dict(log))) == dict(log)
    edit = editor(edit.runtime, tiny_sd, cross_attention=0)
    log = edit.edit(job(edit)).log
    assert log["evaluations"] == 4 * 2 and log["attention_distance"] is None


# --- grounded ---------------------------------------------------------------------------------------------------------


def test_each_subtask_acts_in_its_own_region(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    first = edit.edit(grounded(edit)).image
    moved = replace(grounded(edit), regions=(replace(SMALL, subtask=1), replace(LARGE, subtask=0)))
    assert not np.array_equal(first, edit.edit(moved).image)


# --- what fails, and what stays ---------------------------------------------------------------------------------------


def test_the_pictures_own_sentence_is_needed_and_the_target_is_not(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    with pytest.raises(InputRefused, match="no source prompt") as caught:
        edit.edit(replace(job(edit), plan=plan(BOX, source=" ", target="a blue ball")))
    assert caught.value.exit_code == 3 and "give source, or caption" in caught.value.remedy
    without, given = (replace(job(edit), plan=plan(BOX, target=target)) for target in ("", "a blue ball on grass"))
    assert np.array_equal(edit.edit(without).image, edit.edit(given).image)


def test_a_source_sentence_that_is_cut_is_shown(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, steps=1)
    long = "a very green meadow " * 20
    with pytest.warns(UserWarning, match="does not see"):
        log = edit.edit(replace(job(edit), plan=plan(BOX, source=long))).log
    assert long in log["prompts_cut"]


def test_too_little_memory_for_the_gradient_is_named(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit = editor(Runtime(device="cpu", dtype="fp32"), tiny_sd)
    before = traces(edit.model.network)

    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    edit.edit(job(edit))  # inverted, which needs gradients of its own
    monkeypatch.setattr(torch.autograd, "grad", full)
    with pytest.raises(OutOfResources, match="gradient of attention over a latent of 12x8") as caught:
        edit.edit(job(edit))
    assert "cross_attention=0" in caught.value.remedy and caught.value.exit_code == 7
    assert traces(edit.model.network) == before


def test_too_little_memory_for_the_network_is_named(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit = editor(Runtime(device="cpu", dtype="fp32"), tiny_sd)
    edit.edit(job(edit))
    before = traces(edit.model.network)

    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(edit.model.network.conv_out, "forward", full)
    with pytest.raises(OutOfResources, match="1 rows of a latent of 12x8"):
        edit.edit(job(edit))
    assert traces(edit.model.network) == before, "it was looking at attention when it failed"


# --- the trained networks ---------------------------------------------------------------------------------------------


def test_a_trained_model_makes_another_thing_of_it_in_the_same_place(trained: Runtime) -> None:
    bluer, kept = igloo_turned_blue("pix2pix-zero", trained)
    assert bluer > 40 and kept > 25
