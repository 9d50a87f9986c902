"""Guidance, and the noise behind other predictions."""

from __future__ import annotations

import pytest
import torch

from gas.diffusion.denoiser import NoisePrediction, to_epsilon
from gas.testing.gaussian import stable_diffusion_schedule


def test_guidance_is_the_formula_and_keeps_the_order() -> None:
    uncond, cond = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -2.0])
    prediction = NoisePrediction(uncond, cond)
    assert torch.equal(prediction.guided(0), uncond)
    assert torch.equal(prediction.guided(1), cond)
    assert prediction.guided(7.5).tolist() == [1 + 7.5 * 2, 2 - 7.5 * 4]


@pytest.mark.parametrize("t", [0, 50, 500, 999])
def test_noise_comes_back_from_both_kinds_of_prediction(t: int) -> None:
    schedule = stable_diffusion_schedule()
    generator = torch.Generator().manual_seed(t)
    z, eps = torch.randn(2, 4, 3, 3, generator=generator).double().split(1)
    alpha, sigma = schedule.coefficients(torch.tensor([t]), torch.float64)
    z_t = schedule.add_noise(z, eps, torch.tensor([t]))
    v = alpha * eps - sigma * z
    torch.testing.assert_close(to_epsilon(v, "v_prediction", z_t, alpha, sigma), eps)
    assert to_epsilon(eps, "epsilon", z_t, alpha, sigma) is eps


def test_an_unknown_prediction_is_refused() -> None:
    one = torch.ones(1, 1, 1, 1)
    with pytest.raises(ValueError, match="sample"):
        to_epsilon(one, "sample", one, one, one)
