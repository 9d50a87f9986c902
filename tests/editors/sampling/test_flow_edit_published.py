"""FlowEdit held against its published algorithm, written plainly on diffusers' own networks, and against the closed
form of a world of normal pictures in the parameterisation of each family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gas.diffusion.distill.draws import Draws
from gas.diffusion.distill.loop import Method, Problem, distill
from gas.diffusion.distill.terms import Term
from gas.diffusion.load import backbone_from_folder
from gas.diffusion.predictor import Predictor
from gas.diffusion.sample.phases import Phases
from gas.diffusion.sample.targets import Targets
from gas.diffusion.schedule import FlowSchedule
from gas.interfaces import EditJob, Watch
from gas.runtime import Runtime
from gas.testing.contracts import sample_image
from gas.testing.gaussian import GaussianDenoiser, stable_diffusion_schedule
from gas.testing.tiny import build_tiny_flux, build_tiny_stable_diffusion_3
from gas.types import EditPlan, Subtask
from gas_editors.sampling.flow_edit import FlowEditEditor, FlowEditOptions

SOURCE, TARGET = "a red box on grass", "a blue ball on grass"
PLAN = EditPlan(subtasks=(Subtask(source="red box", target="blue ball"),))
Velocity = Callable[[Tensor, float, str, float], Tensor]


def latent(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def edited(model: Any, x: Tensor, pair: tuple[str, str], **values: Any) -> tuple[Tensor, FlowEditEditor]:
    """What the editor makes of the latent `x`."""
    edit = FlowEditEditor(FlowEditOptions(**values), Runtime("cpu", "fp32"))
    work = EditJob(sample_image(64, 64), PLAN, (), 7, edit.options)
    predictor = Predictor(model, (x.shape[2], x.shape[3]))
    z, _ = edit.run(work, Phases(Watch(), model.decode, x, 99), predictor, x, Targets.plain(*pair))
    return z, edit


def algorithm_1(velocity: Velocity, x: Tensor, times: list[float], noises: Tensor, w: tuple[float, float]) -> Tensor:
    """Algorithm 1 of the paper (arXiv 2412.08629) from the first of `times` down, with n_min = 0 and n_avg = 1."""
    z_fe = x
    for t, then, noise in zip(times, [*times[1:], 0.0], noises, strict=True):
        z_source = (1 - t) * x + t * noise
        z_target = z_fe + z_source - x
        change = velocity(z_target, t, TARGET, w[1]) - velocity(z_source, t, SOURCE, w[0])
        z_fe = z_fe + (then - t) * change
    return z_fe


@torch.no_grad()
def test_it_is_the_published_algorithm_on_stable_diffusion_3(tmp_path: Path) -> None:
    from diffusers import StableDiffusion3Pipeline

    folder = build_tiny_stable_diffusion_3(tmp_path / "model")
    pipe: Any = StableDiffusion3Pipeline.from_pretrained(folder)

    def velocity(z: Tensor, t: float, prompt: str, scale: float) -> Tensor:
        states, nulls, pooled, null_pooled = pipe.encode_prompt(prompt, prompt, prompt, negative_prompt="")
        both = torch.cat([nulls, states]), torch.cat([null_pooled, pooled])
        null, told = pipe.transformer(z.expand(2, -1, -1, -1), *both, torch.full((2,), 1000 * t)).sample.split(1)
        return null + scale * (told - null)

    x, w = latent(3, 1, 16, 8, 12), (3.5, 13.5)
    model = backbone_from_folder(folder)
    z, edit = edited(model, x, (SOURCE, TARGET), steps=6, source_guidance=w[0], guidance_scale=w[1])
    times = list(edit.times(Predictor(model, (8, 12)).schedule))
    assert len(times) == 4, "the last 0.66 of six steps"
    noises = torch.randn((4, 1, *x.shape), generator=torch.Generator().manual_seed(7))[:, 0]
    expected = algorithm_1(velocity, x, times, noises, w)
    assert float((expected - x).abs().max()) > 0.05
    torch.testing.assert_close(z, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_it_is_the_published_algorithm_on_flux(tmp_path: Path) -> None:
    from diffusers import FluxPipeline

    folder = build_tiny_flux(tmp_path / "model")
    pipe: Any = FluxPipeline.from_pretrained(folder)
    height, width = 8, 12
    ids = pipe._prepare_latent_image_ids(1, height // 2, width // 2, "cpu", torch.float32)

    def velocity(z: Tensor, t: float, prompt: str, scale: float) -> Tensor:
        states, pooled, text_ids = pipe.encode_prompt(prompt, prompt)
        found = pipe.transformer(
            hidden_states=pipe._pack_latents(z, 1, 16, height, width),
            timestep=torch.tensor([t]),
            guidance=torch.tensor([scale]),
            pooled_projections=pooled,
            encoder_hidden_states=states,
            txt_ids=text_ids,
            img_ids=ids,
        ).sample
        return pipe._unpack_latents(found, 8 * height, 8 * width, 8)

    x, w = latent(3, 1, 16, height, width), (1.5, 5.5)
    model = backbone_from_folder(folder)
    z, edit = edited(model, x, (SOURCE, TARGET), steps=7, strength=24 / 28, source_guidance=w[0], guidance_scale=w[1])
    times = list(edit.times(Predictor(model, (height, width)).schedule))
    assert len(times) == 6
    noises = torch.randn((6, 1, *x.shape), generator=torch.Generator().manual_seed(7))[:, 0]
    expected = algorithm_1(velocity, x, times, noises, w)
    assert float((expected - x).abs().max()) > 1e-3
    torch.testing.assert_close(z, expected, rtol=1e-5, atol=1e-5)


# --- the closed form in the parameterisation of each family -----------------------------------------------------------

SHAPE = (1, 3, 4, 6)
MEANS = {prompt: latent(10 + seed, *SHAPE) for seed, prompt in enumerate(("", "a", "b"))}
X = latent(1, *SHAPE)
FAMILIES: dict[str, dict[str, Any]] = {
    "SDXL, noise": {"schedule": stable_diffusion_schedule(), "parameterisation": "epsilon"},
    "SDXL, v": {"schedule": stable_diffusion_schedule(), "parameterisation": "v_prediction"},
    "Stable Diffusion 3, velocity": {"schedule": FlowSchedule(shift=3.0), "parameterisation": "velocity"},
    "FLUX, velocity, told guidance": {
        "schedule": FlowSchedule(shift=3.0),
        "parameterisation": "velocity",
        "guidance": "told",
    },
}


def world(family: str, spread: float = 1.0) -> GaussianDenoiser:
    return GaussianDenoiser(MEANS, spread, **FAMILIES[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_delta_denoising_ends_where_the_means_say(family: str) -> None:
    model = world(family)
    w, schedule = 2.0, model.schedule
    generator = torch.Generator().manual_seed(0)
    ends = (schedule.published(50), schedule.published(948)) if isinstance(schedule, FlowSchedule) else (50, 948)
    draws = Draws(generator, SHAPE, 1000, schedule, ends)
    (made,) = distill(model, [Problem(X, (Term("b", "a"),), draws, generator)], Method(steps=1000, guidance_scale=w))
    carried = 1.0 if model.guidance == "told" else w
    torch.testing.assert_close(made.z, X + carried * (MEANS["b"] - MEANS["a"]), rtol=0, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("family", [name for name in FAMILIES if "velocity" in name])
def test_flow_edit_moves_by_the_difference_of_the_means(family: str, steps: int) -> None:
    """From full noise, in any number of steps: the way of the difference of two such worlds is straight."""
    z, _ = edited(world(family, 0.5), X, ("a", "b"), steps=steps, strength=1, source_guidance=1, guidance_scale=1)
    torch.testing.assert_close(z, X + MEANS["b"] - MEANS["a"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spread", [0.5, 1.0])
def test_flow_edit_makes_the_same_of_both_parameterisations_of_sdxl(spread: float) -> None:
    values = {"steps": 20, "strength": 1, "source_guidance": 1.5, "guidance_scale": 3.0}
    one, other = (edited(world(family, spread), X, ("a", "b"), **values)[0] for family in FAMILIES if "SDXL" in family)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    toward = (MEANS["b"] - MEANS["a"]).flatten()
    assert float(torch.cosine_similarity((one - X).flatten(), toward, dim=0)) > 0.7
