"""Noise schedules against diffusers' schedulers, and the bins by signal-to-noise ratio."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, PNDMScheduler

from gas.diffusion.schedule import SNR_EDGES, FlowSchedule, Schedule, VPSchedule, stable_diffusion_schedule, times

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


# --- time is a real number --------------------------------------------------------------------------------------------

FLOW = FlowSchedule()


def test_the_published_schedule_is_that_of_diffusers() -> None:
    assert torch.equal(stable_diffusion_schedule().alphas_cumprod, DDPMScheduler(**SD15).alphas_cumprod)


def test_a_whole_time_is_the_tables_own_bit_for_bit() -> None:
    schedule = stable_diffusion_schedule()
    kept = schedule.alphas_cumprod.view(-1, 1, 1, 1)
    for t in (torch.arange(1000), torch.arange(1000.0), torch.arange(1000.0, dtype=torch.float64)):
        alpha, sigma = schedule.coefficients(t)
        assert torch.equal(alpha, kept.sqrt()) and torch.equal(sigma, (1 - kept).sqrt())
    assert [schedule.snr(t) for t in (0, 500, 999)] == [float(kept[t] / (1 - kept[t].double())) for t in (0, 500, 999)]


@pytest.mark.parametrize("t", [-1.0, -0.25, 0.5, 499.75, 998.5, 999.0])
def test_between_whole_times_the_squares_are_interpolated(t: float) -> None:
    schedule = stable_diffusion_schedule()
    kept = torch.cat([torch.ones(1), schedule.alphas_cumprod]).double()
    below = int(t + 1)
    share = t + 1 - below
    expected = kept[below] + (share * (kept[below + 1] - kept[below]) if share else 0)
    assert schedule.alpha(t) ** 2 == pytest.approx(float(expected))
    assert schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2 == pytest.approx(1)
    alpha, _ = schedule.coefficients(torch.tensor([t]), torch.float64)
    assert float(alpha) ** 2 == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("schedule", "t"), [(stable_diffusion_schedule(), -1.01), (stable_diffusion_schedule(), 999.5)]
)
def test_times_beyond_the_table_are_refused(schedule: VPSchedule, t: float) -> None:
    for ask in (schedule.alpha, schedule.sigma, schedule.snr):
        with pytest.raises(ValueError, match="beyond the schedule"):
            ask(t)


@pytest.mark.parametrize("t", [-0.1, 1.1])
def test_a_flow_goes_from_0_to_1(t: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        FLOW.alpha(t)


def test_a_flow_is_a_straight_line() -> None:
    t = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    alpha, sigma = FLOW.coefficients(t, torch.float64)
    assert torch.equal(sigma.flatten(), t) and torch.equal(alpha.flatten(), 1 - t)
    z, eps = torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(FLOW.add_noise(z, eps, t), z + t.view(3, 1, 1, 1) * (eps - z))
    assert (FLOW.snr(0), FLOW.snr(0.5), FLOW.snr(1)) == (float("inf"), 1, 0)


@pytest.mark.parametrize(
    ("t", "expected"), [(50, 0.184), (200, 0.364), (400, 0.538), (600, 0.696), (800, 0.836), (948, 0.916)]
)
def test_a_published_time_is_the_one_with_as_much_noise(t: int, expected: float) -> None:
    assert FLOW.published(t) == pytest.approx(expected, abs=6e-4)
    assert FLOW.snr(FLOW.published(t)) == pytest.approx(stable_diffusion_schedule().snr(t))
    assert FLOW.snr_bin(FLOW.published(t) + 1e-6) == min(t // 200, 4)
    assert stable_diffusion_schedule().published(t) == t, "a table's own"


def test_a_table_has_no_times_beyond_its_end() -> None:
    short = VPSchedule.from_config(CONFIGS["short"])
    assert short.published(399) == 399
    with pytest.raises(ValueError, match="beyond the model's 400 times"):
        short.published(400)


@pytest.mark.parametrize("schedule", [stable_diffusion_schedule(), FLOW], ids=["table", "flow"])
def test_times_are_found_by_their_noise(schedule: Schedule) -> None:
    for ratio in (1e4, 19.7, 1.0, 0.0383):
        assert schedule.snr(schedule.at_snr(ratio)) == pytest.approx(ratio, rel=1e-5)
    assert schedule.at_snr(0) == schedule.noisiest and schedule.at_snr(1e12) == pytest.approx(schedule.clean, abs=1e-5)


def test_a_samplers_times_on_a_flow() -> None:
    assert times(FLOW, 4) == (1.0, 0.75, 0.5, 0.25)
    assert times(FLOW, 4, 0.5) == (0.5, 0.25)
    assert times(FlowSchedule(shift=3.0), 2) == (1.0, 0.75), "3 s / (1 + 2 s)"
    assert FLOW.share(0.3) == pytest.approx(0.3) and stable_diffusion_schedule().share(0.3) == 299
