"""Noise schedules against diffusers' schedulers, and the bins by signal-to-noise ratio."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, PNDMScheduler

from gas.diffusion.schedule import SNR_EDGES, VPSchedule
from gas.testing.gaussian import stable_diffusion_schedule

SD15: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CONFIGS = {
    "sd15": SD15,
    "linear": {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "zero terminal snr": {**SD15, "rescale_betas_zero_snr": True},
    "short": {**SD15, "num_train_timesteps": 400},
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("scheduler_type", [DDPMScheduler, DDIMScheduler])
def test_add_noise_is_that_of_diffusers(scheduler_type: Any, config: dict[str, Any]) -> None:
    scheduler = scheduler_type(**config)
    schedule = VPSchedule.from_config(dict(scheduler.config))
    generator = torch.Generator().manual_seed(0)
    z, eps = torch.randn(5, 4, 3, 2, generator=generator), torch.randn(5, 4, 3, 2, generator=generator)
    t = torch.tensor([0, 1, 99, 200, len(schedule) - 1])
    torch.testing.assert_close(schedule.add_noise(z, eps, t), scheduler.add_noise(z, eps, t), rtol=0, atol=1e-6)


def test_coefficients_follow_from_the_betas() -> None:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    kept = torch.cumprod(1 - betas, 0)
    alpha, sigma = stable_diffusion_schedule().coefficients(torch.arange(1000))
    torch.testing.assert_close(alpha.flatten().double(), kept.sqrt(), rtol=0, atol=1e-5)
    torch.testing.assert_close(sigma.flatten().double(), (1 - kept).sqrt(), rtol=0, atol=1e-5)


def test_configuration_of_another_sampler_is_read() -> None:
    config = dict(PNDMScheduler(**SD15, skip_prk_steps=True, steps_offset=1).config)
    torch.testing.assert_close(VPSchedule.from_config(config).alphas_cumprod, DDPMScheduler(**SD15).alphas_cumprod)


def test_bins_are_fifths_of_t_on_stable_diffusion() -> None:
    schedule = stable_diffusion_schedule()
    assert [schedule.snr_bin(t) for t in range(1000)] == [t // 200 for t in range(1000)]


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_bins_mean_the_same_noise_on_every_schedule(config: dict[str, Any]) -> None:
    schedule, reference = VPSchedule.from_config(config), stable_diffusion_schedule()
    snrs = torch.tensor([reference.snr(t) for t in range(1000)])
    for t in range(0, len(schedule), 7):
        snr = schedule.snr(t)
        assert schedule.snr_bin(t) == sum(snr <= edge for edge in SNR_EDGES)
        if snrs[-1] < snr < snrs[0]:  # the time on Stable Diffusion with at least as much noise
            there = int((snrs > snr).sum())
            assert abs(schedule.snr_bin(t) - there // 200) <= (there % 200 == 0)
    assert schedule.snr_bin(0) == 0
    assert schedule.snr_bin(len(schedule) - 1) >= (4 if len(schedule) == 1000 else 1)


def test_snr_at_no_noise_and_at_no_signal() -> None:
    schedule = VPSchedule(torch.tensor([1.0, 0.5, 0.0]))
    assert schedule.snr(0) == float("inf")
    assert schedule.snr(1) == pytest.approx(1)
    assert schedule.snr(2) == 0
    assert [schedule.snr_bin(t) for t in range(3)] == [0, 1, 4]
