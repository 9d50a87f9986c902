"""LEDITS++: the inversion gives the picture back, concepts act where their masks are, every option, interruptions."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sampling_guards import SamplingGuards, regions, run

from gas import Registry
from gas.backends.options import Layer, settle
from gas.diffusion.load import load_backbone
from gas.diffusion.predictor import Predictor
from gas.diffusion.sample.edit_friendly import SDESolver, invert_edit_friendly
from gas.diffusion.sample.phases import Phases, clean
from gas.diffusion.schedule import VPSchedule, times
from gas.diffusion.stable_diffusion import StableDiffusion
from gas.errors import InputRefused
from gas.interfaces import EditJob, Watch
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract, sample_image, sample_job
from gas.testing.tiny import build_tiny_stable_diffusion
from gas.types import EditPlan, Subtask
from gas_editors.sampling.ledits_pp import (
    LEditsPPEditor,
    LEditsPPOptions,
    above_quantile,
    attention_mask,
    concepts_of,
)

WIDTH, HEIGHT = 96, 64
PLAN = EditPlan(
    subtasks=(
        Subtask(source="a red box", target="a blue ball"),
        Subtask(action="add", target="snow", anchor="grass"),
    ),
    source_prompt="a red box on green grass",
    target_prompt="a blue ball on snowy grass",
)
REGIONS = regions(PLAN, ((0.0, 0.0, 48.0, 64.0), (32.0, 16.0, 64.0, 48.0)))
"""Two that overlap: the left half, and a smaller one across its edge."""


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(device="cpu", dtype="fp32")


@pytest.fixture
def model(tiny_sd: Path, runtime: Runtime) -> StableDiffusion:
    return load_backbone(str(tiny_sd), runtime)


def editor(runtime: Runtime, folder: Path, **values: Any) -> LEditsPPEditor:
    layer = Layer("test", {"model": str(folder), "steps": 2, **values})
    return LEditsPPEditor(settle("editor", LEditsPPOptions, [layer]).options, runtime)


def job(edit: Any, plan: EditPlan = PLAN, grounded: bool = False, watch: Watch = Watch(), seed: int = 1) -> EditJob:
    return EditJob(sample_image(WIDTH, HEIGHT), plan, REGIONS, seed, edit.options, watch=watch, grounded=grounded)


class TestContract(EditorContract):
    @pytest.fixture
    def editor(self, runtime: Runtime, tiny_sd: Path) -> Any:
        return Registry.discover().create("editors", "ledits-pp", {"model": str(tiny_sd), "steps": 5}, runtime)

    grounded = False

    @pytest.fixture
    def job(self, editor: Any, image: Any) -> EditJob:
        return replace(sample_job(editor, image), grounded=self.grounded)


class TestGroundedContract(TestContract):
    grounded = True


class TestGuards(SamplingGuards):
    options = (
        *("steps", "skip", "guidance_scale", "remove_scale", "threshold", "remove_threshold", "mask"),
        *("overlap", "beta"),
    )
    make = staticmethod(editor)
    job = staticmethod(job)
    touches = 2
    """The first call after the inversion."""
    stops = (2, 7)
    make_long = staticmethod(partial(editor, steps=5))
    outside = 1e-5

    def wordy(self, plan: EditPlan) -> tuple[EditPlan, list[str]]:
        long = Subtask(source="a box", target="a very blue ball " * 9)
        return EditPlan(subtasks=(long,)), [long.target]


# --- the inversion ----------------------------------------------------------------------------------------------------


def test_the_solver_makes_the_steps_of_diffusers_scheduler(model: StableDiffusion) -> None:
    from diffusers import DPMSolverMultistepScheduler

    kept = model.schedule.alphas_cumprod.double()
    betas = (1 - kept / torch.cat([kept.new_ones(1), kept[:-1]])).tolist()
    kind: Any = DPMSolverMultistepScheduler
    scheduler = kind(trained_betas=betas, algorithm_type="sde-dpmsolver++", solver_order=2)
    solver = SDESolver(model.schedule, times(model.schedule, 20, 0.8))
    scheduler.set_timesteps(timesteps=list(solver.times))
    generator = torch.Generator().manual_seed(0)
    z = other = torch.randn(1, 4, 8, 8, generator=generator)
    before = torch.zeros_like(z)
    for i, t in enumerate(solver.times):
        eps, noise = torch.randn(2, 1, 4, 8, 8, generator=generator)
        other = scheduler.step(eps, t, other, variance_noise=noise, return_dict=False)[0]
        estimate = clean(model.schedule, z, eps, t)
        last = i + 1 == len(solver.times)
        z = solver.mean(i, z, estimate, before) + (0 if last else solver.deviation(i) * noise)
        before = estimate
        assert torch.allclose(z, other, atol=1e-4, rtol=1e-4), f"step {i}"


def test_the_solver_begins_where_all_is_noise() -> None:
    kept = torch.tensor([0.99, 0.5, 0.1, 0.0])
    solver = SDESolver(VPSchedule(kept), (3, 2, 1))
    z, estimate = torch.full((1, 1, 2, 2), 7.0), torch.ones(1, 1, 2, 2)
    assert torch.allclose(solver.mean(0, z, estimate, z), kept[2].sqrt() * estimate)
    assert solver.deviation(0) == pytest.approx(0.9**0.5)
    assert bool(torch.isfinite(solver.mean(1, z, estimate, 2 * estimate)).all())


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("skip", [0.0, 0.2])
def test_without_a_concept_the_way_back_ends_at_the_source(
    prediction: Any, skip: float, runtime: Runtime, tmp_path: Path
) -> None:
    folder = build_tiny_stable_diffusion(tmp_path / "sd", prediction_type=prediction)
    edit = editor(runtime, folder, steps=8, skip=skip, guidance_scale=0, remove_scale=0)
    z, z_source, _ = run(edit, job(edit))
    error = float((z - z_source).square().mean())
    span = float(z_source.max() - z_source.min())
    assert error < span**2 * 10**-9, "more than 90 dB: nothing but fp32's rounding, which grows with the noise"
    pictures = edit.model.decode(z).astype(int), edit.model.decode(z_source)
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_the_inversion_is_of_latents_noised_apart(model: StableDiffusion) -> None:
    z = model.encode(sample_image(WIDTH, HEIGHT))
    ordered = times(model.schedule, 10)
    with torch.no_grad():
        found = invert_edit_friendly(
            Phases(Watch(), model.decode, z, 10), Predictor(model, (8, 12)), z, ordered, seed=3
        )
    drawn = torch.randn(10, *z.shape[1:], generator=torch.Generator().manual_seed(3))
    noised = model.schedule.add_noise(z, drawn, torch.tensor(ordered))
    assert torch.allclose(found.latents[:-1], noised, atol=1e-4)
    assert torch.allclose(found.at(10), z, atol=1e-5)
    assert found.noises[:-1].std() > 1.05, "larger than the sampler's own"


def test_a_second_target_does_not_pay_the_inversion(tiny_sd: Path) -> None:
    fresh = Runtime(device="cpu", dtype="fp32")
    edit = editor(fresh, tiny_sd)
    steps: list[Any] = []
    first, again = edit.edit(job(edit)), edit.edit(job(edit, watch=Watch(on_step=steps.append)))
    assert first.log["evaluations"] == 2 * (1 + 4) and again.log["evaluations"] == 2 * 4
    assert np.array_equal(first.image, again.image)
    assert [step.index for step in steps] == [3, 4] and steps[0].total == 4
    assert edit.edit(job(edit, seed=2)).log["evaluations"] == first.log["evaluations"], (
        "another seed, another inversion"
    )


# --- concepts and where they act --------------------------------------------------------------------------------------


def test_a_subtasks_concepts() -> None:
    assert concepts_of(Subtask(source="a cat", target="a dog")) == ("a cat", "a dog")
    assert concepts_of(Subtask(action="add", target="a hat", anchor="the dog")) == ("", "a hat")
    assert concepts_of(Subtask(action="remove", source="a car", anchor="the road")) == ("a car", "")


def test_the_log_names_concepts_and_their_directions(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, guidance_scale=8, remove_scale=4)
    strong = PLAN.subtasks[1].model_copy(update={"strength": 2.0})
    log = edit.edit(job(edit, PLAN.model_copy(update={"subtasks": (PLAN.subtasks[0], strong)}))).log
    assert [(one["phrase"], one["scale"]) for one in log["concepts"]] == [
        ("a red box", -4),
        ("a blue ball", 8),
        ("snow", 16),
    ]
    assert json.loads(json.dumps(dict(log))) == dict(log)


def test_a_concept_acts_where_both_masks_are_and_nowhere_else(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, steps=6, threshold=0.9, remove_threshold=0.9)
    seen: list[tuple[str, np.ndarray]] = []
    edit.edit(job(edit, watch=Watch(save_map=lambda name, one: seen.append((name, one)))))
    assert [name for name, _ in seen] == ["1-from-a-red-box", "2-to-a-blue-ball", "3-to-snow"]
    for _, one in seen:
        assert one.shape == (HEIGHT, WIDTH) and one.min() >= 0 and one.max() <= 1
        assert 0 < one.mean() < 0.25, "a tenth of the cells, or what two masks of a tenth share"


def test_the_quantile_leaves_its_share_of_cells_out() -> None:
    values = torch.arange(100.0).view(10, 10)
    assert above_quantile(values, 0.9).sum() == 10 and bool(above_quantile(values, 0.9)[9].all())
    assert above_quantile(values, 0).all()


def test_the_attention_mask_is_smooth_and_lies_on_the_latents_cells() -> None:
    attention = torch.zeros(8, 8)
    attention[2:5, 2:5] = 1.0
    attention[7, 7] = 1.2  # alone: smoothing takes it below the block's middle
    mask = attention_mask(attention, 1 - 1 / 64, torch.zeros(1, 1, 16, 16))
    assert mask.shape == (1, 16, 16) and set(mask.unique().tolist()) == {0.0, 1.0}
    assert bool((mask[0, 6:8, 6:8] == 1).all()) and mask[0, 14:, 14:].sum() == 0


def test_attention_at_the_border_is_smoothed_with_its_mirror_image() -> None:
    """As the reference code pads; with the border's own cells repeated, the corner would be the largest."""
    attention = torch.zeros(8, 8)
    attention[0, 0], attention[4, 4] = 0.9, 1.0
    mask = attention_mask(attention, 1 - 1 / 64, torch.zeros(1, 1, 8, 8))
    assert mask[0, 4, 4] == 1 and mask[0, 0, 0] == 0


# --- grounded ---------------------------------------------------------------------------------------------------------


def test_grounded_nothing_outside_the_regions_moves(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, steps=4)
    z, z_source, log = run(edit, job(edit, grounded=True))
    inside = torch.zeros(1, 1, 8, 12, dtype=torch.bool)
    inside[..., :6] = inside[..., 2:6, 4:8] = True
    change = (z - z_source).abs().amax(1, keepdim=True)
    assert float(change[~inside].max()) < 1e-5
    assert float(change[inside].min()) > 1e-3
    assert len(log["concepts"]) == 5, "the subtasks' and the whole sentences'"
    plain = run(edit, job(edit))[0]
    assert float((plain - z_source).abs().amax(1, keepdim=True)[~inside].max()) > 1e-3


def test_grounded_each_subtask_acts_in_its_region_alone(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, steps=1)
    seen: dict[str, np.ndarray] = {}
    edit.edit(job(edit, grounded=True, watch=Watch(save_map=seen.__setitem__)))
    left, right = seen["2-to-a-blue-ball"], seen["3-to-snow"]
    assert left[32, 10] > 0.5 and left[32, 60] < 0.1 < 0.5 < right[32, 56] and right[32, 10] == 0
    assert right[32, 40] > left[32, 40] > 0, "the larger region counts less where they overlap"


def test_plain_needs_no_regions_and_no_sentences(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    bare = EditPlan(subtasks=PLAN.subtasks)
    with_regions, without = edit.edit(job(edit)), edit.edit(replace(job(edit, bare), regions=()))
    assert np.array_equal(with_regions.image, without.image)
    with pytest.raises(InputRefused, match="no source prompt"):
        edit.edit(job(edit, bare, grounded=True))


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "grounded"),
    [
        ("steps", 3, False),
        ("skip", 0.8, False),
        ("guidance_scale", 3, False),
        ("remove_scale", 1, False),
        ("threshold", 0.5, False),
        ("remove_threshold", 0.5, False),
        ("mask", "attention", False),
        ("mask", "noise", False),
        ("mask", "none", False),
        ("overlap", 0.9, True),
        ("beta", 3.0, True),
    ],
)
def test_every_option_changes_the_picture(
    option: str, value: Any, grounded: bool, runtime: Runtime, tiny_sd: Path
) -> None:
    plain, changed = editor(runtime, tiny_sd), editor(runtime, tiny_sd, **{option: value})
    before, after = (edit.edit(job(edit, grounded=grounded)).image for edit in (plain, changed))
    assert not np.array_equal(before, after)


def test_published_values() -> None:
    options = LEditsPPOptions()
    assert (options.steps, options.skip) == (50, 0.2)
    assert (options.remove_scale, options.guidance_scale) == (5, 10)
    assert (options.remove_threshold, options.threshold) == (0.9, 0.85)


def test_steps_are_those_that_are_made(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, steps=50)
    assert len(edit.times(edit.model.schedule)) == 50 and edit.planned(job(edit)) == 100
    assert edit.times(edit.model.schedule) == times(edit.model.schedule, 60)[10:]


@pytest.mark.parametrize("size", [(64, 160), (128, 64), (56, 72), (8, 16)])
def test_any_size_and_aspect_ratio(runtime: Runtime, tiny_sd: Path, size: tuple[int, int]) -> None:
    edit = editor(runtime, tiny_sd, steps=1)
    work = replace(job(edit), image=sample_image(size[1], size[0]), regions=())
    assert edit.edit(work).image.shape == (*size, 3)


# --- interrupted and refused ------------------------------------------------------------------------------------------


def test_a_state_of_another_run_is_refused(tiny_sd: Path) -> None:
    edit = editor(Runtime(device="cpu", dtype="fp32"), tiny_sd, steps=5)
    states: list[Any] = []
    edit.edit(job(edit, watch=Watch(checkpoint=states.append)))
    for wrong in ({**states[0], "inversion.latents": torch.zeros(3)}, {"z": torch.zeros(1)}):
        edit = editor(Runtime(device="cpu", dtype="fp32"), tiny_sd, steps=5)
        with pytest.raises(InputRefused, match="does not belong to this run"):
            edit.edit(job(edit, watch=Watch(resume=wrong)))


def test_a_size_that_does_not_divide_is_refused(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    with pytest.raises(InputRefused, match="does not divide"):
        edit.edit(replace(job(edit), image=sample_image(61, 33), regions=()))
