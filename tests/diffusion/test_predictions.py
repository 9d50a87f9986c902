"""Guidance, and noise and velocity behind every kind of prediction."""

from __future__ import annotations

import pytest
import torch

from gas.diffusion.guidance import NoisePrediction
from gas.diffusion.parameterisation import to_epsilon, to_velocity
from gas.diffusion.schedule import FlowSchedule, Schedule, stable_diffusion_schedule

SCHEDULES = [(stable_diffusion_schedule(), t) for t in (0, 50, 500.5, 999)] + [(FlowSchedule(), t) for t in (0, 0.3, 1)]


def test_guidance_is_the_formula_and_keeps_the_order() -> None:
    uncond, cond = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -2.0])
    prediction = NoisePrediction(uncond, cond)
    assert torch.equal(prediction.guided(0), uncond)
    assert torch.equal(prediction.guided(1), cond)
    assert prediction.guided(7.5).tolist() == [1 + 7.5 * 2, 2 - 7.5 * 4]


def test_without_a_null_row_the_prediction_is_as_it_is_to_be() -> None:
    cond = torch.tensor([3.0, -2.0])
    assert NoisePrediction(None, cond).guided(7.5) is cond


@pytest.mark.parametrize(("schedule", "t"), SCHEDULES)
def test_noise_and_velocity_come_back_from_every_kind_of_prediction(schedule: Schedule, t: float) -> None:
    generator = torch.Generator().manual_seed(0)
    z, eps = torch.randn(2, 4, 3, 3, generator=generator).double().split(1)
    time = torch.tensor([t], dtype=torch.float64)
    alpha, sigma = schedule.coefficients(time, torch.float64)
    z_t = schedule.add_noise(z, eps, time)
    outputs = {"epsilon": eps, "velocity": eps - z}
    if isinstance(schedule, FlowSchedule):
        assert torch.equal(z_t, (1 - t) * z + t * eps)
    else:
        outputs["v_prediction"] = alpha * eps - sigma * z
    for kind, output in outputs.items():
        torch.testing.assert_close(to_epsilon(output, kind, z_t, alpha, sigma), eps)
        if kind != "epsilon" or alpha > 0:
            torch.testing.assert_close(to_velocity(output, kind, z_t, alpha, sigma), eps - z)
    assert to_epsilon(eps, "epsilon", z_t, alpha, sigma) is eps


def test_an_unknown_prediction_is_refused() -> None:
    one = torch.ones(1, 1, 1, 1)
    for convert in (to_epsilon, to_velocity):
        with pytest.raises(ValueError, match="sample"):
            convert(one, "sample", one, one, one)  # type: ignore[arg-type]
