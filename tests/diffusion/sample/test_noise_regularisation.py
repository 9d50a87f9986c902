"""Noise regularisation: what it brings down, what it leaves, and each of its numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gas.diffusion.sample.noise_regularisation import NoiseRegularisation, autocorrelation, divergence

STRONG = NoiseRegularisation(autocorrelation=200.0, kl=0.0, steps=20)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def white(height: int = 16, width: int = 16) -> Tensor:
    return torch.randn(1, 4, height, width, generator=draws(1))


def smooth(height: int = 16, width: int = 16) -> Tensor:
    noise = F.avg_pool2d(F.pad(white(height, width), (1, 1, 1, 1), mode="circular"), 3, stride=1)
    return noise / noise.std()


def correlation(noise: Tensor) -> float:
    """The mean over many draws, so that two noises can be compared."""
    return sum(float(autocorrelation(noise, draws(seed))) for seed in range(20)) / 20


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (12, 20), (9, 8)])
def test_smooth_noise_becomes_less_so(size: tuple[int, int]) -> None:
    before = smooth(*size)
    assert correlation(before) > 2 * correlation(white(*size))
    assert correlation(STRONG(before, 500)) < 0.5 * correlation(before)


@pytest.mark.parametrize(("scale", "shift"), [(1.5, 0.0), (0.6, 0.0), (1.0, 0.4)])
def test_its_numbers_come_nearer_to_the_normal_distribution(scale: float, shift: float) -> None:
    noise = scale * white() + shift
    after = NoiseRegularisation(autocorrelation=0, kl=400)(noise, 500)
    assert float(divergence(after)) < 0.8 * float(divergence(noise))


def test_the_divergence_is_that_of_normal_distributions() -> None:
    noise = 1.7 * torch.randn(200_000, generator=draws()) + 0.3
    normal = torch.distributions.Normal
    exact = 2 * torch.distributions.kl_divergence(normal(0.3, 1.7), normal(0.0, 1.0))
    assert float(divergence(noise)) == pytest.approx(float(exact), rel=0.02)


def test_a_weight_means_the_same_at_every_size() -> None:
    small = NoiseRegularisation(autocorrelation=0)
    moved = [float((small(noise, 1) - noise).square().mean().sqrt()) for noise in (1.5 * white(), 1.5 * white(64, 64))]
    assert moved[0] == pytest.approx(moved[1], rel=0.1)


@pytest.mark.parametrize(
    "change", [{"autocorrelation": 5.0}, {"kl": 5.0}, {"steps": 1}, {"rolls": 1}, {"seed": 1}, {"autocorrelation": 0.0}]
)
def test_every_number_counts(change: dict[str, float]) -> None:
    plain = NoiseRegularisation()
    assert not torch.equal(plain(smooth(), 500), replace(plain, **change)(smooth(), 500))


@pytest.mark.seeded
def test_the_distances_depend_on_the_seed_and_the_time_alone() -> None:
    plain = NoiseRegularisation()
    torch.manual_seed(1)
    first = plain(smooth(), 500)
    torch.manual_seed(2)
    assert torch.equal(first, plain(smooth(), 500))
    assert not torch.equal(first, plain(smooth(), 499))


def test_nothing_is_done_where_both_weights_are_zero() -> None:
    assert torch.equal(NoiseRegularisation(0, 0)(smooth(), 500), smooth())


def test_the_noise_that_is_given_stays() -> None:
    noise = smooth()
    with torch.no_grad():
        after = NoiseRegularisation()(noise, 500)
    assert torch.equal(noise, smooth()) and not noise.requires_grad and not after.requires_grad


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 3)])
def test_a_latent_of_few_cells(size: tuple[int, int]) -> None:
    assert torch.isfinite(NoiseRegularisation()(white(*size), 1)).all()
