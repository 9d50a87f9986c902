"""SDEdit as an editor: noise put on and taken off, plain and grounded."""

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
from gas.errors import InputRefused, UsageError
from gas.interfaces import EditJob, Watch
from gas.masks import box_mask
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract, sample_image
from gas_diorama.world.cases import cases
from gas_diorama.world.world import render
from gas_editors.sampling.sdedit import SDEditEditor, SDEditOptions

HEIGHT, WIDTH = 64, 96


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(device="cpu", dtype="fp32")


def editor(runtime: Runtime, folder: Path | str, **values: Any) -> SDEditEditor:
    layer = Layer("test", {"model": str(folder), "steps": 4, **values})
    return SDEditEditor(settle("editor", SDEditOptions, [layer]).options, runtime)


def job(edit: Any, **values: Any) -> EditJob:
    return EditJob(sample_image(WIDTH, HEIGHT), PLAN, REGIONS, 1, edit.options, **values)


@pytest.mark.parametrize("grounded", [False, True])
class TestContract(EditorContract):
    @pytest.fixture
    def editor(self, grounded: bool, runtime: Runtime, tiny_sd: Path) -> Any:
        values = {"model": str(tiny_sd), "steps": 12, "strength": 0.5, "repeats": 2}
        return Registry.discover().create("editors", "sdedit", values, runtime)

    @pytest.fixture
    def job(self, grounded: bool, editor: Any, image: Any) -> EditJob:
        from gas.testing.contracts import sample_job

        return replace(sample_job(editor, image), grounded=grounded)


CHANGED = {"steps": 8, "guidance_scale": 3.0, "strength": 0.9, "repeats": 2, "eta": 0.0}
GROUNDED = {"overlap": 1.0, "beta": (0.9,)}


class TestGuards(SamplingGuards):
    make = staticmethod(editor)
    options = (*CHANGED, *GROUNDED)
    job = staticmethod(job)
    first_rows = 2
    not_finite = (("sampling", 0, False),)
    stops = stops_grounded = (0, 3, 5)
    make_long = staticmethod(partial(editor, steps=6, strength=0.5, repeats=2))


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), [*CHANGED.items(), *GROUNDED.items()])
def test_every_option_changes_the_picture(name: str, value: Any, runtime: Runtime, tiny_sd: Path) -> None:
    edits = editor(runtime, tiny_sd), editor(runtime, tiny_sd, **{name: value})
    assert option_changes(name, *edits, partial(job, grounded=name in GROUNDED))


def test_published_values() -> None:
    options = SDEditOptions()
    assert (options.strength, options.repeats, options.eta) == (0.5, 1, 1.0)


@pytest.mark.parametrize("value", [{"strength": 0}, {"strength": 1.1}, {"repeats": 0}, {"eta": -0.1}, {"eta": 1.1}])
def test_values_that_mean_nothing_are_refused(value: dict[str, Any], runtime: Runtime, tiny_sd: Path) -> None:
    with pytest.raises(UsageError, match=next(iter(value))):
        editor(runtime, tiny_sd, **value)


# --- the method -------------------------------------------------------------------------------------------------------


def test_little_noise_returns_what_encoding_leaves_of_the_picture(runtime: Runtime, tiny_sd: Path) -> None:
    """The nearer the strength is to 0, the nearer the result is to the source's own latent."""
    errors = []
    for strength in (1.0, 0.5, 0.1, 0.001):
        edit = editor(runtime, tiny_sd, steps=1000 if strength == 0.001 else 10, strength=strength)
        z, _ = latents(edit, job(edit))
        errors.append(float((z - edit.model.encode(job(edit).image)).square().mean().sqrt()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05, "of unit noise one step from the clean end leaves 0.03"


def test_trained_networks_give_the_picture_back_where_little_noise_is_put_on(runtime: Runtime) -> None:
    edit = editor(runtime, DIORAMA, steps=20)
    case = cases(4, "validation")[0]
    decibels = []
    for strength in (0.05, 0.8):
        weak = SDEditEditor(edit.options.model_copy(update={"strength": strength}), runtime)
        image = render(case.scene)
        edited = weak.edit(EditJob(image, case.plan, (), 1, weak.options)).image.astype(float)
        error = np.square(edited - weak.model.decode(weak.model.encode(image))).mean()
        decibels.append(10 * np.log10(255**2 / error))
    assert decibels[0] > 30 > 24 > decibels[1]


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_each_seed_gives_another_picture(eta: float, runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, eta=eta)
    one, other = (edit.edit(replace(job(edit), seed=seed)).image for seed in (1, 2))
    assert not np.array_equal(one, other)


def test_a_repeat_begins_with_what_the_last_one_made(runtime: Runtime, tiny_sd: Path) -> None:
    once, twice = editor(runtime, tiny_sd), editor(runtime, tiny_sd, repeats=2)
    previews: list[Any] = []
    first = once.edit(job(once))
    both = twice.edit(job(twice, watch=Watch(on_step=lambda step: previews.append(step.preview and step.preview()))))
    assert len(previews) == both.log["steps"] == 2 * first.log["steps"] == 4
    assert np.array_equal(previews[1], first.image), "the same seed makes the same first repeat"
    assert both.log["evaluations"] == 4 * 2


def test_only_the_target_sentence_is_needed(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    said = [PLAN.model_copy(update={"source_prompt": text}) for text in ("", PLAN.source_prompt)]
    one, other = (edit.edit(replace(job(edit), plan=plan)).image for plan in said)
    assert np.array_equal(one, other)
    with pytest.raises(InputRefused, match="no target prompt"):
        edit.edit(replace(job(edit), plan=PLAN.model_copy(update={"target_prompt": " "})))


def test_a_plain_run_does_not_look_at_the_regions(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    assert np.array_equal(edit.edit(job(edit)).image, edit.edit(replace(job(edit), regions=())).image)


# --- grounded ---------------------------------------------------------------------------------------------------------


def test_a_grounded_run_keeps_what_is_outside_the_regions_bit_for_bit(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, repeats=2)
    z, edited = latents(edit, job(edit, grounded=True))
    source = edit.model.encode(job(edit).image)
    inside = torch.stack([latent_mask(one.mask, (8, 12)) for one in REGIONS]).amax(0)[0, 0] > 0  # type: ignore[arg-type]
    assert inside.any() and not inside.all()
    assert torch.equal(z[..., ~inside], source[..., ~inside])
    assert bool((z[..., inside] != source[..., inside]).all())
    assert edited.log["grounded"] and edited.log["evaluations"] == 4 * 4, "null, two subtasks, the whole"


@pytest.mark.parametrize("number", [0, 1])
def test_each_subtask_acts_in_its_own_region(number: int, runtime: Runtime, tiny_sd: Path) -> None:
    """Another target for one subtask changes nothing in the first step's estimate outside its region."""
    edit = editor(runtime, tiny_sd, steps=1, strength=1.0)
    subtasks = list(PLAN.subtasks)
    subtasks[number] = subtasks[number].model_copy(update={"target": "a golden statue"})
    other = replace(job(edit, grounded=True), plan=PLAN.model_copy(update={"subtasks": tuple(subtasks)}))
    change = latents(edit, job(edit, grounded=True))[0] != latents(edit, other)[0]
    inside = latent_mask(REGIONS[number].mask, (8, 12))[0, 0] > 0  # type: ignore[arg-type]
    assert bool(change[..., inside].any()) and not bool(change[..., ~inside].any())


def test_a_region_thinner_than_a_cell_is_edited(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    thin = (replace(REGIONS[0], mask=box_mask((40, 20, 41, 21), (WIDTH, HEIGHT))), REGIONS[1])
    plan = PLAN.model_copy(update={"subtasks": PLAN.subtasks[:1]})
    z, _ = latents(edit, replace(job(edit, grounded=True), regions=thin[:1], plan=plan))
    changed = (z != edit.model.encode(job(edit).image)).any(1)[0]
    assert changed.sum() == 1 and changed[2, 5]


# --- interrupted, refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"sampling.z": torch.zeros(1, 4, 3, 3)}, {"sampling.step": 99}, {"sampling.z": 1}])
def test_a_state_of_another_run_is_refused(change: dict[str, Any], runtime: Runtime, tiny_sd: Path) -> None:
    edit, states = editor(runtime, tiny_sd), []
    edit.edit(job(edit, watch=Watch(should_stop=lambda: True, checkpoint=states.append)))
    with pytest.raises(InputRefused, match="does not belong to this run"):
        edit.edit(job(edit, watch=Watch(resume={**states[0], **change})))


def test_the_first_time_is_in_the_log(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    assert edit.edit(job(edit)).log["first_time"] == 499


def test_pictures_of_other_worlds_are_refused_before_the_edit(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd, accept_db=50)
    with pytest.raises(InputRefused, match="not of the kind that this model knows"):
        edit.check(sample_image(300, 200))
