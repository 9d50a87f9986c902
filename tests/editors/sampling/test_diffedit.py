"""DiffEdit as an editor: the mask from two sentences, the edit within it, plain and grounded."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sampling_guards import DIORAMA, PLAN, REGIONS, SamplingGuards, latents, option_changes

from gas import Registry
from gas.backends.options import Layer, settle
from gas.diffusion.masks import latent_mask
from gas.diffusion.predictor import Predictor
from gas.diffusion.sample.inversion import invert
from gas.diffusion.sample.phases import Phases
from gas.diffusion.schedule import times
from gas.diffusion.stable_diffusion import StableDiffusion
from gas.errors import InputRefused, ResultRefused, UsageError
from gas.interfaces import EditJob, Watch
from gas.masks import box_mask
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract, sample_image, sample_job
from gas.types import Subtask
from gas_diorama.world.cases import cases
from gas_diorama.world.world import render
from gas_editors.sampling.diffedit import DiffEditEditor, DiffEditOptions, scaled_difference

HEIGHT, WIDTH = 64, 96
SIZE = (8, 12)


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(device="cpu", dtype="fp32")


def editor(runtime: Runtime, folder: Path | str, **values: Any) -> DiffEditEditor:
    layer = Layer("test", {"model": str(folder), "steps": 3, "mask_noises": 2, **values})
    return DiffEditEditor(settle("editor", DiffEditOptions, [layer]).options, runtime)


def job(edit: Any, **values: Any) -> EditJob:
    return EditJob(sample_image(WIDTH, HEIGHT), PLAN, REGIONS, 1, edit.options, **values)


@pytest.mark.parametrize("grounded", [False, True])
class TestContract(EditorContract):
    @pytest.fixture
    def editor(self, grounded: bool, runtime: Runtime, tiny_sd: Path) -> Any:
        values = {"model": str(tiny_sd), "steps": 4, "mask_noises": 4, "grounded_mask": "both"}
        return Registry.discover().create("editors", "diffedit", values, runtime)

    @pytest.fixture
    def job(self, grounded: bool, editor: Any, image: Any) -> EditJob:
        return replace(sample_job(editor, image), grounded=grounded)


CHANGED = {
    "steps": 5,
    "guidance_scale": 3.0,
    "encoding_ratio": 0.3,
    "inversion_prompt": "source",
    "refine": 1,
    "reference": "empty",
    "mask_strength": 0.9,
    "mask_noises": 1,
    "mask_clamp": 0.3,
    "mask_scale": "clamp",
    "mask_threshold": 0.2,
}
GROUNDED = {"overlap": 1.0, "beta": (0.9,), "grounded_mask": "both"}


class TestGuards(SamplingGuards):
    make = staticmethod(editor)
    options = (*CHANGED, *GROUNDED)
    job = staticmethod(job)
    first_rows = 2
    not_finite = (("mask", 0, False), ("inversion", 0, True))
    stops = stops_grounded = (0, 1, 3, 6)
    make_long = staticmethod(partial(editor, steps=4, grounded_mask="both"))


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), [*CHANGED.items(), *GROUNDED.items()])
def test_every_option_changes_the_picture(name: str, value: Any, runtime: Runtime, tiny_sd: Path) -> None:
    edits = editor(runtime, tiny_sd), editor(runtime, tiny_sd, **{name: value})
    assert option_changes(name, *edits, partial(job, grounded=name in GROUNDED))


def test_published_values() -> None:
    options = DiffEditOptions()
    assert (options.encoding_ratio, options.inversion_prompt) == (0.8, "empty")
    assert (options.mask_strength, options.mask_noises, options.mask_threshold) == (0.5, 10, 0.5)


@pytest.mark.parametrize(
    "value", [{"encoding_ratio": 0}, {"mask_threshold": 1}, {"mask_noises": 0}, {"mask_clamp": 0}, {"reference": "x"}]
)
def test_values_that_mean_nothing_are_refused(value: dict[str, Any], runtime: Runtime, tiny_sd: Path) -> None:
    with pytest.raises(UsageError, match=next(iter(value))):
        editor(runtime, tiny_sd, **value)


# --- the mask ---------------------------------------------------------------------------------------------------------


def test_differences_are_cut_and_scaled_to_one() -> None:
    difference = torch.tensor([[1.0, 1.0, 2.0, 16.0]])
    everywhere = torch.ones_like(difference, dtype=torch.bool)
    torch.testing.assert_close(scaled_difference(difference, everywhere, 2.0), difference.clamp(max=10) / 10)
    torch.testing.assert_close(scaled_difference(difference, everywhere, 99.0), difference / 16)
    torch.testing.assert_close(
        scaled_difference(difference, difference < 10, 99.0), torch.tensor([[0.5, 0.5, 1.0, 0.0]])
    )
    torch.testing.assert_close(scaled_difference(difference, everywhere, 99.0, "clamp"), difference / (99 * 5))
    torch.testing.assert_close(scaled_difference(difference, everywhere, 2.0, "clamp"), difference.clamp(max=10) / 10)
    assert not scaled_difference(torch.zeros(1, 4), everywhere, 3.0, "clamp").any()
    assert not scaled_difference(torch.zeros(1, 4), everywhere, 3.0).any()
    assert not scaled_difference(difference, ~everywhere, 3.0).any()


@pytest.mark.parametrize("number", [0, 8, 12])
def test_the_mask_overlaps_the_exact_region(number: int, runtime: Runtime) -> None:
    """One thing of a scene becomes another one; the mask is made by trained networks and knows no region."""
    case = cases(16, "validation")[number]
    edit = editor(runtime, DIORAMA, steps=2, mask_noises=10)
    edited = edit.edit(EditJob(render(case.scene), case.plan, (), 0, edit.options))
    found, exact = edited.mask > 0.5, case.regions()[0].mask > 0.5
    overlap = (found & exact).sum() / (found | exact).sum()
    assert overlap > (0.4 if case.stratum == "small" else 0.5), f"IoU {overlap:.2f}"
    assert edited.log["mask_area"] == pytest.approx(found.mean(), abs=1e-6)


def test_what_is_outside_the_mask_stays_bit_for_bit(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    z, edited = latents(edit, job(edit))
    source = edit.model.encode(job(edit).image)
    mask = torch.from_numpy(edited.mask[::8, ::8] > 0)
    assert mask.any() and not mask.all()
    assert torch.equal(z[..., ~mask], source[..., ~mask])
    assert bool((z[..., mask] != source[..., mask]).all())
    assert set(np.unique(edited.mask)) == {0.0, 1.0}


@pytest.mark.parametrize("encoding_ratio", [0.34, 1.0])
def test_each_step_is_blended_with_the_inverted_latent_of_its_time(
    encoding_ratio: float, runtime: Runtime, tiny_sd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = editor(runtime, tiny_sd, encoding_ratio=encoding_ratio)
    model, work = edit.model, job(edit)
    z = model.encode(work.image)
    at = times(model.schedule, 3, encoding_ratio)
    path = invert(Phases(Watch(), model.decode, z, 9), Predictor(model, (8, 12)), z, "", at)
    _, edited = latents(edit, work)
    outside = torch.from_numpy(edited.mask[::8, ::8] == 0)
    seen: list[torch.Tensor] = []
    predict = Predictor.predict

    def watched(self: Predictor, z: torch.Tensor, t: float, told: Any) -> torch.Tensor:
        seen.append(z[:1])
        return predict(self, z, t, told)

    monkeypatch.setattr(Predictor, "predict", watched)
    edit.edit(work)
    assert len(seen) == 2 + len(at), "the inversion was remembered"
    for i in range(len(at)):
        assert torch.equal(seen[2 + i][..., outside], path.at(i)[..., outside])


def test_sentences_that_mean_the_same_are_refused(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    same = PLAN.model_copy(update={"target_prompt": PLAN.source_prompt})
    with pytest.raises(ResultRefused, match="'a red box on grass' and 'a red box on grass' mean the same") as caught:
        edit.edit(replace(job(edit), plan=same))
    assert caught.value.exit_code == 11 and "grounded=True" in caught.value.remedy
    with pytest.raises(ResultRefused, match="mean the same"):
        long = "a red box " * 20  # they differ after the words that the text encoder sees
        cut = same.model_copy(update={"source_prompt": long + "here", "target_prompt": long + "there"})
        with pytest.warns(UserWarning, match="does not see"):
            edit.edit(replace(job(edit), plan=cut))
    assert edit.edit(replace(job(edit, grounded=True), plan=same)).log["grounded"], "regions need no difference"


def test_a_model_that_does_not_hear_the_prompts_is_refused(
    runtime: Runtime, tiny_sd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = editor(runtime, tiny_sd)
    predict = StableDiffusion.predict

    def deaf(self: StableDiffusion, z: torch.Tensor, t: torch.Tensor, told: Any) -> torch.Tensor:
        return predict(self, z, t, told.with_embeddings(torch.zeros_like(told.embeddings)))

    monkeypatch.setattr(StableDiffusion, "predict", deaf)
    with pytest.raises(ResultRefused, match="their difference gives no mask"):
        edit.edit(job(edit))


@pytest.mark.parametrize("reference", ["source", "empty"])
def test_the_source_sentence_is_asked_for_where_it_is_used(reference: str, runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, reference=reference)
    work = replace(job(edit), plan=PLAN.model_copy(update={"source_prompt": ""}))
    if reference == "empty":
        assert edit.edit(work).mask is not None
        edit = editor(runtime, tiny_sd, reference=reference, inversion_prompt="source")
    with pytest.raises(InputRefused, match="no source prompt"):
        edit.edit(work)


def test_maps_show_the_mask_before_and_after_the_threshold(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, grounded_mask="both")
    maps: dict[str, np.ndarray] = {}
    edited = edit.edit(job(edit, watch=Watch(save_map=maps.__setitem__)))
    assert list(maps) == ["1-difference", "1-mask"]
    assert maps["1-difference"].max() <= 1 and maps["1-difference"].shape == (HEIGHT, WIDTH)
    assert len(np.unique(maps["1-difference"])) > 50 and maps["1-difference"].min() > 0
    middle = np.s_[4::8, 4::8]
    assert np.array_equal(maps["1-mask"][middle] > 0.5, edited.mask[middle] > 0.5)
    maps.clear()
    edit.edit(job(edit, grounded=True, watch=Watch(save_map=maps.__setitem__)))
    assert list(maps) == ["1-difference", "1-mask", "2-difference", "2-mask"]


# --- the method -------------------------------------------------------------------------------------------------------


def test_the_inversion_is_made_once_for_a_picture(tiny_sd: Path) -> None:
    edit = editor(Runtime(device="cpu", dtype="fp32"), tiny_sd)
    first, second = (edit.edit(job(edit)) for _ in range(2))
    length = len(edit.times(edit.model.schedule))
    assert first.log["evaluations"] == 2 * 2 + length + 2 * length
    assert second.log["evaluations"] == 2 * 2 + 2 * length
    assert np.array_equal(first.image, second.image)
    assert first.log["steps"] == second.log["steps"] == edit.planned(job(edit))


def test_a_plain_run_does_not_look_at_the_regions(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    one, other = edit.edit(job(edit)), edit.edit(replace(job(edit), regions=()))
    assert np.array_equal(one.image, other.image) and np.array_equal(one.mask, other.mask)


# --- grounded ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grounded_mask", ["region", "both"])
def test_a_grounded_run_keeps_what_is_outside_the_regions_bit_for_bit(
    grounded_mask: str, runtime: Runtime, tiny_sd: Path
) -> None:
    edit = editor(runtime, tiny_sd, grounded_mask=grounded_mask)
    z, edited = latents(edit, job(edit, grounded=True))
    source = edit.model.encode(job(edit).image)
    region = torch.stack([latent_mask(one.mask, SIZE) for one in REGIONS]).amax(0)[0, 0] > 0  # type: ignore[arg-type]
    assert torch.equal(z[..., ~region], source[..., ~region])
    changed = (z != source).all(1)[0]
    if grounded_mask == "region":
        assert edited.mask is None and torch.equal(changed, region)
        return
    assert changed.any() and not torch.equal(changed, region) and not bool((changed & ~region).any())
    assert torch.equal(torch.from_numpy(edited.mask[::8, ::8] > 0), changed)


def test_masks_stay_within_the_pixels_of_the_regions(runtime: Runtime, tiny_sd: Path) -> None:
    """A region that covers cells in part is pasted in its own pixels alone."""
    edit = editor(runtime, tiny_sd, grounded_mask="both", mask_threshold=0.0)
    uneven = box_mask((3, 5, 50, 37), (WIDTH, HEIGHT))
    mine = tuple(replace(one, mask=uneven) for one in REGIONS)
    mask = edit.edit(replace(job(edit, grounded=True), regions=mine)).mask
    assert mask.any() and not mask[uneven == 0].any()


def test_subtasks_whose_phrases_mean_the_same_are_refused_by_name(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, grounded_mask="both")
    plan = PLAN.model_copy(update={"subtasks": (PLAN.subtasks[0], Subtask(action="remove", source="x", anchor=None))})
    assert edit.edit(replace(job(edit, grounded=True), plan=plan)).log["grounded"]
    empty = Subtask(action="add", target="x", anchor="   ").model_copy(update={"target": "", "anchor": ""})
    plan = PLAN.model_copy(update={"subtasks": (PLAN.subtasks[0], empty)})
    with pytest.raises(ResultRefused, match="no words and '' mean the same"):
        edit.edit(replace(job(edit, grounded=True), plan=plan))


# --- interrupted, refused ---------------------------------------------------------------------------------------------


def test_a_state_of_another_run_is_refused(runtime: Runtime, tiny_sd: Path) -> None:
    edit, states = editor(runtime, tiny_sd), []
    edit.edit(job(edit, watch=Watch(should_stop=lambda: True, checkpoint=states.append)))
    with pytest.raises(InputRefused, match="does not belong to this run"):
        edit.edit(job(edit, watch=Watch(resume={**states[0], "mask.sum": torch.zeros(2, 1, 8, 12)})))
