"""From a picture to the noise it would be made from, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gas.diffusion.backbone import Conditioning
from gas.diffusion.load import load_backbone
from gas.diffusion.predictor import Predictor
from gas.diffusion.sample.inversion import Inversion, fingerprint, invert, null_text, remembered
from gas.diffusion.sample.phases import Phases, ddim, sample
from gas.diffusion.schedule import times
from gas.diffusion.stable_diffusion import StableDiffusion
from gas.diffusion.stepping import Stopped
from gas.errors import ResultRefused
from gas.interfaces import Step, Watch
from gas.runtime import Runtime
from gas.testing.gaussian import GaussianDenoiser
from gas_diorama.world.cases import cases
from gas_diorama.world.world import render

PROMPT = "a red box on grass"
GUIDANCE = 7.5


@pytest.fixture
def source() -> Tensor:
    return torch.randn(1, 4, 5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def model(source: Tensor) -> Any:
    """A world whose noise is known; the prompts' pictures differ from each other and from the null prompt's."""
    means = {PROMPT: 1.5, "": 0.0, "grass": -1.0}
    return GaussianDenoiser({prompt: torch.full_like(source, value) for prompt, value in means.items()}, 0.5)


@pytest.fixture(scope="module")
def networks(tiny_sd: Path) -> StableDiffusion:
    return StableDiffusion.from_folder(tiny_sd)


@pytest.fixture(scope="module")
def trained() -> Any:
    return load_backbone("package:gas_diorama/weights/sd", Runtime(device="cpu", dtype="fp32"))


def phases(z: Tensor, total: int = 40, watch: Watch = Watch()) -> Phases:
    return Phases(watch, lambda z: np.zeros((64, 96, 3), np.uint8), z, total)


def back(predictor: Predictor, inversion: Inversion, guidance: float = 1.0, nulls: Tensor | None = None) -> Tensor:
    """The latent that sampling from the inversion's noise under its own prompt gives."""
    null, prompt = predictor.condition(["", inversion.prompt])

    def noise(z: Tensor, t: float, i: int) -> Tensor:
        own = null if nulls is None else null.with_embeddings(nulls[i : i + 1])
        uncond, cond = predictor.predict(z, t, Conditioning.cat([own, prompt])).split(1)
        return uncond + guidance * (cond - uncond)

    made = phases(inversion.noise())
    return sample(made, "sampling", predictor.schedule, inversion.noise(), inversion.times, noise)


def psnr(a: Tensor, b: Tensor) -> float:
    """In dB, of latents, whose range is taken to be that of `a`."""
    return float(10 * torch.log10((a.max() - a.min()).square() / (a - b).square().mean()))


# --- DDIM inversion ---------------------------------------------------------------------------------------------------


def test_the_path_is_one_of_single_steps_from_the_picture(model: Any, source: Tensor) -> None:
    predictor = Predictor(model, (5, 6))
    at = times(model.schedule, 4)
    found = invert(phases(source), predictor, source, PROMPT, at)
    assert found.times == at and found.prompt == PROMPT
    assert found.latents.shape == (5, *source.shape[1:])
    assert torch.equal(found.at(4), source)
    assert torch.equal(found.noise(), found.latents[:1])
    assert predictor.rows == 4
    embedding = predictor.condition([PROMPT])
    for i, (t, s) in enumerate(zip(at, (*at[1:], model.schedule.clean), strict=True)):
        eps = predictor.predict(found.at(i + 1), t, embedding)
        torch.testing.assert_close(found.at(i), ddim(model.schedule, found.at(i + 1), eps, s, t))


def test_the_way_back_reproduces_the_source(model: Any, source: Tensor) -> None:
    predictor = Predictor(model, (5, 6))

    def left(steps: int, refine: int) -> float:
        path = invert(phases(source), predictor, source, PROMPT, times(model.schedule, steps), refine=refine)
        return psnr(source, back(predictor, path))

    plain = left(20, 0)
    assert plain > 25
    assert left(100, 0) > plain + 10, "smaller steps err less"
    assert left(20, 1) > plain + 10
    assert left(20, 8) > 90, "the fixed point makes the way back exact"


@pytest.mark.parametrize(("refine", "least"), [(0, 28.0), (3, 38.0)])
def test_trained_networks_give_a_picture_back(trained: StableDiffusion, refine: int, least: float) -> None:
    """20 steps there and back under the picture's own caption; what the autoencoder loses does not count."""
    case = cases(4, "validation")[0]
    z, predictor = trained.encode(render(case.scene)), Predictor(trained, (16, 16))
    with torch.no_grad():
        path = invert(phases(z), predictor, z, case.plan.source_prompt, times(trained.schedule, 20), refine=refine)
        again = trained.decode(back(predictor, path)).astype(float)
    error = np.square(again - trained.decode(z)).mean()
    assert 10 * np.log10(255**2 / error) > least


def test_an_exact_world_is_inverted_to_its_exact_noise(model: Any, source: Tensor) -> None:
    """In a Gaussian world (z_t - alpha_t mean) / sqrt(alpha_t^2 spread^2 + sigma_t^2) never changes on the way."""
    alpha, sigma = model.schedule.coefficients(torch.tensor([999]), torch.float64)
    exact = alpha * 1.5 + (source - 1.5) / 0.5 * (alpha**2 * 0.25 + sigma**2).sqrt()
    errors = [
        float(
            (invert(phases(source), Predictor(model, (5, 6)), source, PROMPT, times(model.schedule, n)).noise() - exact)
            .abs()
            .max()
        )
        for n in (20, 500)
    ]
    assert errors[1] < 0.05 and errors[1] < errors[0] / 5


def test_each_prompt_has_its_own_path(model: Any, source: Tensor) -> None:
    at = times(model.schedule, 3)
    one, other = (invert(phases(source), Predictor(model, (5, 6)), source, prompt, at) for prompt in (PROMPT, ""))
    assert not torch.allclose(one.noise(), other.noise())


def test_two_inversions_in_one_edit_need_two_names(model: Any, source: Tensor) -> None:
    at, made = times(model.schedule, 2), phases(source)
    invert(made, Predictor(model, (5, 6)), source, PROMPT, at)
    with pytest.raises(ValueError, match="two works of a run"):
        invert(made, Predictor(model, (5, 6)), source, "", at)
    invert(made, Predictor(model, (5, 6)), source, "", at, name="inversion without words")


# --- null-text inversion ----------------------------------------------------------------------------------------------


def test_null_text_brings_guided_sampling_back_to_the_source(model: Any, source: Tensor) -> None:
    predictor = Predictor(model, (5, 6))
    path = invert(phases(source), predictor, source, PROMPT, times(model.schedule, 10))
    nulls = null_text(phases(source), predictor, path, GUIDANCE, inner_steps=100, rate=0.1)
    without, with_ = psnr(source, back(predictor, path, GUIDANCE)), psnr(source, back(predictor, path, GUIDANCE, nulls))
    assert without < 15 < 30 < with_


def test_null_text_follows_the_gradient_through_real_networks(networks: StableDiffusion) -> None:
    predictor = Predictor(networks, (8, 12))
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        path = invert(phases(z), predictor, z, PROMPT, (400, 200))
        nulls = null_text(phases(z), predictor, path, GUIDANCE, inner_steps=10, enough=0.0)
        near, far = ((back(predictor, path, GUIDANCE, one) - z).square().mean() for one in (nulls, None))
    assert nulls.shape == (2, *predictor.condition([""]).embeddings.shape[1:]) and not nulls.requires_grad
    assert near < 0.9 * far
    assert not any(one.requires_grad for one in networks.network.parameters())


def test_null_text_ends_early_where_it_is_near_enough(model: Any, source: Tensor) -> None:
    path = invert(phases(source), Predictor(model, (5, 6)), source, PROMPT, times(model.schedule, 2))
    rows = []
    for enough, inner in ((1e9, 4), (0.0, 4), (0.0, 2)):
        predictor = Predictor(model, (5, 6))
        null_text(phases(source), predictor, path, GUIDANCE, enough=enough, inner_steps=inner)
        rows.append(predictor.rows)
    # A step: the prompt's row, one for each inner step, and the step back.
    assert rows == [2 * 3, 2 * 6, 2 * 4]


def test_null_text_makes_one_step_where_all_is_near_already(model: Any, source: Tensor) -> None:
    """As the reference code, which looks at the error after the step."""
    predictor = Predictor(model, (5, 6))
    path = invert(phases(source), predictor, source, PROMPT, times(model.schedule, 2))
    one, other = (
        null_text(phases(source), predictor, path, GUIDANCE, enough=1e9, inner_steps=inner) for inner in (4, 1)
    )
    assert torch.equal(one, other)
    assert not torch.equal(one[:1], predictor.condition([""]).embeddings)


@pytest.mark.parametrize("values", [{"inner_steps": 2}, {"rate": 0.05}, {"enough": 1e9}])
def test_every_setting_of_null_text_counts(model: Any, source: Tensor, values: dict[str, Any]) -> None:
    path = invert(phases(source), Predictor(model, (5, 6)), source, PROMPT, times(model.schedule, 2))
    settings = {"inner_steps": 3, "enough": 0.0}
    one, other = (
        null_text(phases(source), Predictor(model, (5, 6)), path, GUIDANCE, **more)
        for more in (settings, {**settings, **values})
    )
    assert not torch.equal(one, other)


# --- kept and resumed --------------------------------------------------------------------------------------------


def whole(model: StableDiffusion, z: Tensor, watch: Watch = Watch(), runtime: Runtime | None = None) -> Any:
    """Both inversions in one run, with the run's phases and predictor."""
    made, predictor = phases(z, 12, watch), Predictor(model, (5, 6))
    at = times(model.schedule, 6)
    path = invert(made, predictor, z, PROMPT, at, runtime=runtime)
    nulls = null_text(made, predictor, path, GUIDANCE, inner_steps=2, enough=0.0, runtime=runtime)
    return path.latents, nulls, made, predictor


@pytest.mark.parametrize("after", [0, 3, 6, 7, 11])
def test_an_interrupted_inversion_goes_on_to_the_same_bytes(model: Any, source: Tensor, after: int) -> None:
    latents, nulls, *_ = whole(model, source)
    asked, states = iter(range(99)), []
    with pytest.raises(Stopped):
        whole(model, source, Watch(should_stop=lambda: next(asked) == after, checkpoint=states.append))
    steps: list[Step] = []
    again = whole(model, source, Watch(resume=states[-1], on_step=steps.append))
    assert torch.equal(again[0], latents) and torch.equal(again[1], nulls)
    assert [step.index for step in steps] == list(range(after + 1, 13))


def test_what_is_known_is_not_made_again(model: Any, source: Tensor) -> None:
    runtime = Runtime(device="cpu", dtype="fp32")
    latents, nulls, _, first = whole(model, source, runtime=runtime)
    again = whole(model, source, runtime=runtime)
    assert torch.equal(again[0], latents) and torch.equal(again[1], nulls)
    assert first.rows == 6 + 6 * 4
    assert again[3].rows == 0 and again[2].done == 12, "no rows of the network, and the steps count as made"
    other = whole(model, source + 0.1, runtime=runtime)
    assert other[3].rows == first.rows and not torch.equal(other[0], latents)


def test_a_run_that_was_stopped_is_not_remembered(model: Any, source: Tensor) -> None:
    runtime = Runtime(device="cpu", dtype="fp32")
    with pytest.raises(Stopped):
        whole(model, source, Watch(should_stop=lambda: True), runtime)
    assert whole(model, source, runtime=runtime)[3].rows == 6 + 6 * 4


@pytest.mark.parametrize(
    "change", [{"prompt": "grass"}, {"times": (900, 400)}, {"refine": 1}, {"times": (999, 400, 100)}]
)
def test_another_question_is_not_answered_from_memory(model: Any, source: Tensor, change: dict[str, Any]) -> None:
    runtime = Runtime(device="cpu", dtype="fp32")
    asked: dict[str, Any] = {"prompt": PROMPT, "times": (999, 400), "refine": 0}
    found = []
    for one in (asked, {**asked, **change}):
        predictor = Predictor(model, (5, 6))
        path = invert(
            phases(source), predictor, source, one["prompt"], one["times"], refine=one["refine"], runtime=runtime
        )
        assert predictor.rows > 0
        found.append(path.latents)
    assert found[0].shape != found[1].shape or not torch.equal(found[0], found[1])


def test_the_last_few_are_kept() -> None:
    runtime, made = Runtime(), []

    def ask(key: int) -> None:
        remembered(runtime, key, phases(torch.zeros(1)), 1, lambda: made.append(key))

    for key in (*range(16), 0, 16, 0):
        ask(key)
    assert made == list(range(17)), "one that was asked for again is not the oldest"
    ask(1)
    assert made[-1] == 1, "the oldest was let go"


def test_a_fingerprint_is_of_the_size_and_the_numbers() -> None:
    z = torch.arange(6.0)
    assert fingerprint(z) == fingerprint(z.clone())
    assert len({fingerprint(one) for one in (z, z + 1, z.view(2, 3), z.double())}) == 4


@pytest.mark.parametrize("name", ["inversion", "null-text"])
def test_numbers_that_are_not_finite_are_refused_with_the_phase(model: Any, source: Tensor, name: str) -> None:
    path = invert(phases(source), Predictor(model, (5, 6)), source, PROMPT, times(model.schedule, 2))
    model.means[PROMPT].fill_(float("nan"))
    with pytest.raises(ResultRefused, match=f"the {name} is not a finite number") as caught:
        if name == "inversion":
            invert(phases(source), Predictor(model, (5, 6)), source, PROMPT, path.times)
        else:
            null_text(phases(source), Predictor(model, (5, 6)), path, GUIDANCE, inner_steps=1)
    assert caught.value.exit_code == 11
