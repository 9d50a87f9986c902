"""FlowEdit as an editor: its algorithm written out on a flow and by change of variables, plain and grounded."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import fake_backbones
import pytest
import torch
from fake_backbones import FakeFlow, FakeXL, colours
from sampling_guards import PLAN, REGIONS, SamplingGuards, latents, option_changes, run
from torch import Tensor

from gas import Registry
from gas.backends.options import Layer, settle
from gas.diffusion.masks import latent_mask
from gas.diffusion.predictor import Predictor
from gas.diffusion.sample.phases import Phases
from gas.diffusion.sample.targets import Targets
from gas.interfaces import EditJob, Watch
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract, sample_image
from gas_editors.sampling.flow_edit import FlowEditEditor, FlowEditOptions

HEIGHT, WIDTH = 64, 96


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(device="cpu", dtype="fp32")


def editor(runtime: Runtime, folder: Path | str, **values: Any) -> FlowEditEditor:
    layer = Layer("test", {"model": str(folder), "steps": 4, **values})
    return FlowEditEditor(settle("editor", FlowEditOptions, [layer]).options, runtime)


def job(edit: Any, **values: Any) -> EditJob:
    return EditJob(sample_image(WIDTH, HEIGHT), PLAN, REGIONS, 1, edit.options, **values)


@pytest.mark.parametrize("grounded", [False, True])
class TestContract(EditorContract):
    @pytest.fixture
    def editor(self, grounded: bool, runtime: Runtime, tiny_sd: Path) -> Any:
        return Registry.discover().create("editors", "flow-edit", {"model": str(tiny_sd), "steps": 18}, runtime)

    @pytest.fixture
    def job(self, grounded: bool, editor: Any, image: Any) -> EditJob:
        from gas.testing.contracts import sample_job

        return replace(sample_job(editor, image), grounded=grounded)


CHANGED = {"steps": 8, "guidance_scale": 3.0, "strength": 0.9, "source_guidance": 1.0, "average": 2, "align": 0.1}
GROUNDED = {"overlap": 1.0, "beta": (0.9,)}


class TestGuards(SamplingGuards):
    make = staticmethod(editor)
    options = (*CHANGED, *GROUNDED)
    job = staticmethod(job)
    first_rows = 4
    not_finite = (("flow", 0, False),)
    stops = stops_grounded = (0, 3, 5)
    make_long = staticmethod(partial(editor, steps=9))


@pytest.mark.parametrize(("name", "value"), [*CHANGED.items(), *GROUNDED.items()])
def test_every_option_changes_the_picture(name: str, value: Any, runtime: Runtime, tiny_sd: Path) -> None:
    edits = editor(runtime, tiny_sd), editor(runtime, tiny_sd, **{name: value})
    assert option_changes(name, *edits, partial(job, grounded=name in GROUNDED))


def test_published_values() -> None:
    options = FlowEditOptions()
    assert (options.steps, round(options.steps * options.strength)) == (50, 33)
    assert (options.guidance_scale, options.source_guidance, options.average, options.align) == (13.5, 3.5, 1, 0)


def test_it_takes_the_rows_of_both_points(runtime: Runtime, tiny_sd: Path) -> None:
    """With guidance the null prompt on both; grounded a pair for each subtask and one for the whole."""
    edit = editor(runtime, tiny_sd, average=2)
    steps = edit.planned(job(edit))
    assert run(edit, job(edit))[2] is not None and steps == 3
    assert edit.edit(job(edit)).log["evaluations"] == steps * 2 * 4
    assert edit.edit(job(edit, grounded=True)).log["evaluations"] == steps * 2 * 2 * (1 + 3)


# --- the algorithm ----------------------------------------------------------------------------------------------------

SIZE = (8, 8)
X = torch.randn((1, 3, *SIZE), generator=torch.Generator().manual_seed(3)) * 0.3
MASK = torch.zeros(1, 1, *SIZE)
MASK[..., :4] = 1


def edited(kind: type, targets: Targets, **values: Any) -> tuple[Tensor, Any, FlowEditEditor]:
    model = kind()
    model.name = kind.__name__
    edit = FlowEditEditor(FlowEditOptions(**values), Runtime("cpu", "fp32"))
    work = EditJob(sample_image(64, 64), PLAN, (), 7, edit.options)
    phases = Phases(Watch(), model.decode, X, 99)
    return edit.run(work, phases, Predictor(model, SIZE), X, targets)[0], model, edit


@pytest.mark.parametrize("kind", [FakeFlow, FakeXL])
def test_it_is_algorithm_1_in_the_flows_own_time(kind: type) -> None:
    """Written out with the exact velocity of a world in which every prompt's pictures are normal about one colour: the
    same for a flow and, by change of variables, for a model that preserves variance."""
    guided = kind is FakeXL
    w = (3.5, 2.0) if guided else (1.0, 1.0)  # a model that is told its guidance has another scale than this world's
    z, model, edit = edited(
        kind, Targets.plain("red", "blue"), steps=6, strength=1, source_guidance=w[0], guidance_scale=w[1], align=0.05
    )
    means = {prompt: colours([prompt])[0].view(1, 3, 1, 1) for prompt in ("", "red", "blue")}

    def velocity(point: Tensor, tau: float, prompt: str) -> Tensor:
        """E[eps - x | (1 - tau) x + tau eps = point] for x normal about the mean with SPREAD."""
        variance = (1 - tau) ** 2 * fake_backbones.SPREAD**2 + tau**2
        away = (point - (1 - tau) * means[prompt]) / variance
        return tau * away - (means[prompt] + (1 - tau) * fake_backbones.SPREAD**2 * away)

    def guide(point: Tensor, tau: float, prompt: str, scale: float) -> Tensor:
        if not guided:
            return velocity(point, tau, prompt)
        null = velocity(point, tau, "")
        return null + scale * (velocity(point, tau, prompt) - null)

    every = edit.times(model.schedule)
    noises = torch.randn((len(every), 1, *X.shape), generator=torch.Generator().manual_seed(7))
    taus = [model.schedule.sigma(t) / (model.schedule.alpha(t) + model.schedule.sigma(t)) for t in every] + [0.0]
    expected = X
    for i, noise in enumerate(noises[:, 0]):
        q = (1 - taus[i]) * X + taus[i] * noise
        p = expected + q - X
        v_q, v_p = guide(q, taus[i], "red", w[0]), guide(p, taus[i], "blue", w[1])
        back = 0.05 * ((q - taus[i] * v_q) - (p - taus[i] * v_p))
        expected = expected + (taus[i + 1] - taus[i]) * (v_p - v_q) + back
    torch.testing.assert_close(z, expected, rtol=1e-3, atol=1e-4)
    assert float((z - X).abs().max()) > 0.3


@pytest.mark.parametrize("kind", [FakeFlow, FakeXL])
def test_each_subtask_goes_where_its_region_is_and_nothing_moves_outside(kind: type) -> None:
    schedule = kind.schedule
    targets = Targets.grounded([("red", "blue")], ("red thing", "blue thing"), [MASK], schedule)
    z, *_ = edited(kind, targets, steps=6, strength=1, source_guidance=1, guidance_scale=1, align=0.05)
    assert torch.equal(z[..., 4:], X[..., 4:])
    moved = (z - X)[..., :4].mean((0, 2, 3))
    toward = colours(["blue"])[0] - colours(["red"])[0]
    assert torch.cosine_similarity(moved, toward, dim=0) > 0.9


def test_outside_the_regions_the_latent_keeps_its_bits(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    work = job(edit, grounded=True)
    z, edited_ = latents(edit, work)
    masks = [latent_mask(region.mask, (HEIGHT // 8, WIDTH // 8)) for region in REGIONS if region.mask is not None]
    outside = (torch.stack(masks).amax(0) < 0.5).expand_as(z)
    assert torch.equal(z[outside], edit.model.encode(work.image)[outside]) and bool(outside.any())
    assert not torch.equal(z[~outside], edit.model.encode(work.image)[~outside]) and edited_.log["grounded"]
