"""Deterministic sampling, and phases of an edit: reported, stopped, kept, resumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gas.diffusion.predictor import Predictor
from gas.diffusion.sample.phases import Phases, State, clean, ddim, sample
from gas.diffusion.schedule import FlowSchedule, Schedule, times
from gas.diffusion.stepping import Stopped
from gas.errors import InputRefused, OutOfResources, ResultRefused
from gas.interfaces import Step, Watch
from gas.testing.gaussian import GaussianDenoiser, stable_diffusion_schedule

SCHEDULE = stable_diffusion_schedule()
CLEAN = SCHEDULE.clean
FLOW = FlowSchedule()
Z = torch.randn(1, 4, 6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
EPS = torch.randn(1, 4, 6, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def decode(z: Tensor) -> np.ndarray:
    return np.full((8, 8, 3), int(z.sum()) % 256, np.uint8)


def phases(watch: Watch = Watch(), total: int = 12, z: Tensor = Z) -> Phases:
    return Phases(watch, decode, z, total)


# --- times and steps --------------------------------------------------------------------------------------------------


def test_times_are_spaced_from_the_noisiest_down() -> None:
    assert times(SCHEDULE, 50) == tuple(range(999, 0, -20))
    assert times(SCHEDULE, 3) == (999, 666, 332)
    assert times(SCHEDULE, 1000) == times(SCHEDULE, 5000) == tuple(range(999, -1, -1))
    assert times(SCHEDULE, 1) == (999,)


@pytest.mark.parametrize("steps", [2, 7, 30, 333, 667, 999])
def test_times_descend_strictly_from_end_to_end(steps: int) -> None:
    found = times(SCHEDULE, steps)
    assert len(found) == steps and found[0] == 999 and found[-1] >= 0
    assert all(a > b for a, b in pairwise(found))


@pytest.mark.parametrize(("strength", "kept"), [(1.0, 50), (0.8, 40), (0.5, 25), (0.001, 1), (0.0, 1)])
def test_strength_keeps_the_last_times(strength: float, kept: int) -> None:
    assert times(SCHEDULE, 50, strength) == times(SCHEDULE, 50)[50 - kept :]


@pytest.mark.parametrize(("t", "s"), [(999, 979), (500, 20), (19, CLEAN)])
def test_a_step_there_and_back_is_exact(t: int, s: int) -> None:
    back = ddim(SCHEDULE, ddim(SCHEDULE, Z, EPS, t, s), EPS, s, t)
    torch.testing.assert_close(back, Z, rtol=0, atol=1e-9)
    assert not torch.allclose(ddim(SCHEDULE, Z, EPS, t, s), Z, atol=1e-3)


def test_the_noise_that_was_added_leads_back_to_the_clean_latent() -> None:
    noisy = SCHEDULE.add_noise(Z, EPS, torch.tensor([700]))
    torch.testing.assert_close(clean(SCHEDULE, noisy, EPS, 700), Z)
    torch.testing.assert_close(ddim(SCHEDULE, noisy, EPS, 700, CLEAN), Z)
    torch.testing.assert_close(ddim(SCHEDULE, noisy, EPS, 700, 300), SCHEDULE.add_noise(Z, EPS, torch.tensor([300])))
    torch.testing.assert_close(ddim(SCHEDULE, Z, EPS, CLEAN, 700), noisy)


@pytest.mark.parametrize(("t", "s"), [(999, 979), (500, 20), (19, CLEAN)])
def test_fresh_noise_takes_the_place_of_a_share_of_the_old(t: int, s: int) -> None:
    fresh = torch.randn(EPS.shape, generator=torch.Generator().manual_seed(3), dtype=EPS.dtype)
    noisy = SCHEDULE.add_noise(Z, EPS, torch.tensor([t]))
    plain = ddim(SCHEDULE, noisy, EPS, t, s)
    torch.testing.assert_close(ddim(SCHEDULE, noisy, EPS, t, s, fresh, eta=0.0), plain)
    made = ddim(SCHEDULE, noisy, EPS, t, s, fresh)
    if s == CLEAN:
        torch.testing.assert_close(made, Z)
        return
    (alpha,), (sigma,) = SCHEDULE.coefficients(torch.tensor([s]), EPS.dtype)
    variance = 1 - SCHEDULE.alphas_cumprod[[t, s]].double()
    added = (variance[1] / variance[0] * (1 - (1 - variance[0]) / (1 - variance[1]))).sqrt()
    kept = (sigma**2 - added**2).sqrt()
    assert added > 0.01, "there is something to see"
    torch.testing.assert_close(made, alpha * Z + kept * EPS + added * fresh)


# --- predictions ------------------------------------------------------------------------------------------------------


def test_a_predictor_counts_rows_and_repeats_one_latent_for_all_of_them() -> None:
    model = GaussianDenoiser({"a": torch.zeros_like(Z), "b": torch.ones_like(Z)})
    predictor = Predictor(model, (6, 5))
    embeddings = predictor.condition(["a", "b"])
    both = predictor.predict(Z, 400, embeddings)
    assert predictor.rows == 2 and model.calls == [2]
    torch.testing.assert_close(both[1:], predictor.predict(Z, 400, embeddings[1:]))
    torch.testing.assert_close(both, predictor.predict(Z.repeat(2, 1, 1, 1), 400, embeddings))
    assert predictor.rows == 5


def test_too_little_memory_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    model = GaussianDenoiser({"a": Z})

    def full(*_: Any) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(model, "predict", full)
    predictor = Predictor(model, (6, 5))
    with pytest.raises(OutOfResources, match="3 rows of a latent of 5x6") as caught:
        predictor.predict(Z, 1, predictor.condition(["a"] * 3))
    assert caught.value.exit_code == 7 and "bf16" in caught.value.remedy
    assert predictor.rows == 0, "what was not answered is not counted"


# --- phases -----------------------------------------------------------------------------------------------------------


def grow(name: str = "growth") -> Callable[[int, State], State]:
    def step(i: int, state: State) -> State:
        z = torch.sin(state["z"] * (1.1 + i)) + len(name)
        return {"z": z, "estimate": z + 1}

    return step


def two(watch: Watch) -> tuple[Tensor, Phases]:
    """Two phases, the second of which goes on with what the first one made."""
    made = phases(watch, 25)
    first = made.run("first", 13, {"z": Z}, grow())["z"]
    return made.run("second", 12, {"z": first}, grow("second"))["z"], made


def test_steps_are_reported_with_the_latest_estimate() -> None:
    steps: list[Step] = []
    _, made = two(Watch(on_step=steps.append))
    assert [step.index for step in steps] == list(range(1, 26)) and {step.total for step in steps} == {25}
    pictures = [step.preview() for step in steps if step.preview]
    assert len({picture.tobytes() for picture in pictures}) > 12, "each preview shows its own step"
    assert np.array_equal(pictures[-1], decode(made.estimate))


def test_the_estimate_is_the_source_until_a_phase_has_another() -> None:
    made = phases()
    after = made.run("quiet", 2, {"z": Z}, lambda i, state: {"z": state["z"] + 1})
    assert torch.equal(made.estimate, Z) and torch.allclose(after["z"], Z + 2)
    made.run("loud", 2, {"z": Z}, grow())
    assert not torch.equal(made.estimate, Z)


def test_a_run_stops_before_its_first_step() -> None:
    made = phases(Watch(should_stop=lambda: True))
    with pytest.raises(Stopped):
        made.run("growth", 12, {"z": Z}, lambda i, state: pytest.fail("a step was made"))
    assert made.done == 0 and torch.equal(made.estimate, Z)


@pytest.mark.parametrize("after", [0, 1, 5, 12, 13, 14, 24])
def test_what_was_stopped_goes_on_to_the_same_bytes(after: int) -> None:
    whole, _ = two(Watch())
    asked, states = iter(range(99)), []
    with pytest.raises(Stopped):
        two(Watch(should_stop=lambda: next(asked) == after, checkpoint=states.append))
    steps: list[Step] = []
    again, made = two(Watch(resume=states[-1], on_step=steps.append))
    assert torch.equal(again, whole)
    assert [step.index for step in steps] == list(range(after + 1, 26)), "nothing is made twice"
    assert made.done == 25


@pytest.mark.parametrize("number", [0, 1])
def test_a_run_goes_on_from_each_state_that_is_kept_on_the_way(number: int) -> None:
    states: list[Any] = []
    whole, _ = two(Watch(checkpoint=states.append))
    assert len(states) == 2, "every tenth step, over all phases"
    before = {key: value.clone() for key, value in states[number].items() if isinstance(value, Tensor)}
    assert torch.equal(two(Watch(resume=states[number]))[0], whole)
    assert all(torch.equal(states[number][key], value) for key, value in before.items()), "a kept state stays"


def test_states_hold_tensors_and_plain_numbers() -> None:
    states: list[Any] = []
    two(Watch(checkpoint=states.append))
    names = {f"{p}.{k}" for p in ("first", "second") for k in ("step", "z", "estimate")}
    assert set(states[-1]) == {"stepping", *names}
    assert all(isinstance(value, (Tensor, int)) for value in states[-1].values())


@pytest.mark.parametrize(
    "change",
    [
        {"first.z": Z[..., :3]},
        {"first.z": None},
        {"first.z": 3},
        {"first.step": 14},
        {"first.step": -1},
        {"first.step": "many"},
        {"second.estimate": Z[:, :1]},
    ],
)
def test_a_state_of_another_run_is_refused(change: dict[str, Any]) -> None:
    states: list[Any] = []
    two(Watch(checkpoint=states.append))
    with pytest.raises(InputRefused, match="does not belong to this run") as caught:
        two(Watch(resume={**states[-1], **change}))
    assert caught.value.exit_code == 3


def test_a_state_of_another_editor_is_refused() -> None:
    with pytest.raises(InputRefused, match="does not belong to this run"):
        two(Watch(resume={"z": Z, "step": 3}))


def test_a_name_stands_for_one_phase() -> None:
    made = phases()
    made.run("growth", 2, {"z": Z}, grow())
    with pytest.raises(ValueError, match="growth"):
        made.run("growth", 2, {"z": Z}, grow())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused_with_the_phase_and_the_step(value: float) -> None:
    steps: list[Step] = []

    def step(i: int, state: State) -> State:
        return {"z": state["z"] + (value if i == 2 else 1)}

    with pytest.raises(ResultRefused, match=r"the growth is not a finite number any more \(z, step 3\)") as caught:
        phases(Watch(on_step=steps.append)).run("growth", 5, {"z": Z}, step)
    assert caught.value.exit_code == 11 and len(steps) == 2


# --- the loop ---------------------------------------------------------------------------------------------------------


def gaussian(spread: float, schedule: Schedule = SCHEDULE, **means: float) -> Predictor:
    kind: Any = "epsilon" if schedule is SCHEDULE else "velocity"
    worlds = {name: torch.full_like(Z, value) for name, value in means.items()}
    return Predictor(GaussianDenoiser(worlds, spread, schedule, kind), (6, 5))


def run(predictor: Predictor, prompt: str, z: Tensor, at: Sequence[int], watch: Watch = Watch(), **more: Any) -> Tensor:
    embedding = predictor.condition([prompt])
    made = phases(watch, len(at))
    step = lambda z, t, i: predictor.predict(z, t, embedding)  # noqa: E731
    return sample(made, "sampling", predictor.schedule, z, at, step, **more)


@pytest.mark.parametrize("steps", [1, 3, 20])
@pytest.mark.parametrize("schedule", [SCHEDULE, FLOW], ids=["noise", "velocity"])
def test_a_world_of_one_picture_is_reached_exactly_in_any_number_of_steps(schedule: Schedule, steps: int) -> None:
    predictor = gaussian(0.0, schedule, a=2.5)
    made = run(predictor, "a", EPS, times(schedule, steps))
    torch.testing.assert_close(made, torch.full_like(Z, 2.5))
    assert predictor.rows == steps


def test_a_flow_is_followed_from_where_all_is_noise() -> None:
    """There the noise says nothing of the picture, and the velocity does."""
    exact = 2.5 + 0.5 * EPS  # (z_t - alpha mean) / sqrt(alpha^2 spread^2 + sigma^2) does not change on the way
    errors = [float((run(gaussian(0.5, FLOW, a=2.5), "a", EPS, times(FLOW, n)) - exact).abs().max()) for n in (20, 500)]
    assert errors[1] < 0.02 and errors[1] < errors[0] / 10


@pytest.mark.parametrize(("t", "s"), [(1.0, 0.9), (0.5, 0.02), (0.02, 0.0)])
def test_a_step_on_a_flow_there_and_back_is_exact(t: float, s: float) -> None:
    velocity = EPS - Z
    z_t = FLOW.add_noise(Z, EPS, t)
    torch.testing.assert_close(clean(FLOW, z_t, velocity, t), Z)
    there = ddim(FLOW, z_t, velocity, t, s)
    torch.testing.assert_close(there, z_t + (s - t) * velocity, msg="a step of Euler")
    torch.testing.assert_close(ddim(FLOW, there, velocity, s, t), z_t)


@pytest.mark.parametrize(("t", "s"), [(1.0, 0.9), (0.5, 0.02)])
def test_fresh_noise_on_a_flow_leaves_as_much_noise(t: float, s: float) -> None:
    """The latent's picture and the size of its noise are those of the time it is brought to."""
    fresh = torch.randn(EPS.shape, generator=torch.Generator().manual_seed(3), dtype=EPS.dtype)
    velocity, z_t = EPS - Z, FLOW.add_noise(Z, EPS, t)
    torch.testing.assert_close(ddim(FLOW, z_t, velocity, t, s, fresh, eta=0.0), ddim(FLOW, z_t, velocity, t, s))
    noise = (ddim(FLOW, z_t, velocity, t, s, fresh) - (1 - s) * Z) / s
    kept = float((noise * EPS).sum() / EPS.square().sum())
    added = (noise - (noise * EPS).sum() / EPS.square().sum() * EPS).norm() / fresh.norm()
    assert 0 <= kept < 1 and float(added) == pytest.approx((1 - kept**2) ** 0.5, abs=0.03)


def test_the_loop_follows_the_exact_path() -> None:
    """In a Gaussian world (z_t - alpha_t mean) / sqrt(alpha_t^2 spread^2 + sigma_t^2) never changes on the way down."""
    alpha, sigma = SCHEDULE.coefficients(torch.tensor([999]), torch.float64)
    exact = 2.5 + 0.5 * (EPS - alpha * 2.5) / (alpha**2 * 0.25 + sigma**2).sqrt()
    errors = [
        float((run(gaussian(0.5, a=2.5), "a", EPS, times(SCHEDULE, steps)) - exact).abs().max()) for steps in (20, 500)
    ]
    assert errors[1] < 0.02 and errors[1] < errors[0] / 10


def test_the_loop_tells_where_it_is_and_lets_latents_be_changed() -> None:
    at = times(SCHEDULE, 4)
    seen: list[tuple[int, int]] = []

    def after(z: Tensor, s: int, i: int) -> Tensor:
        seen.append((s, i))
        return torch.cat([z[..., :2], torch.zeros_like(z[..., 2:])], -1)

    steps: list[Step] = []
    made = run(gaussian(1.0, a=2.5), "a", EPS, at, Watch(on_step=steps.append), after=after)
    assert seen == [pair for i in range(4) for pair in (((*at, CLEAN)[i + 1], i), (CLEAN, i))]
    assert not made[..., 2:].any() and made[..., :2].all()


def test_previews_of_the_loop_are_clean_estimates() -> None:
    shown: list[Tensor] = []
    made = Phases(
        Watch(on_step=lambda step: step.preview and step.preview()), lambda z: shown.append(z) or decode(z), Z, 5
    )
    predictor = gaussian(0.0, a=2.5)
    embedding = predictor.condition(["a"])
    sample(made, "sampling", SCHEDULE, EPS, times(SCHEDULE, 5), lambda z, t, i: predictor.predict(z, t, embedding))
    for one in shown:
        torch.testing.assert_close(one, torch.full_like(Z, 2.5))
    assert len(shown) == 5
