"""Predicted noise made more like white noise while a picture is inverted (pix2pix-zero, Parmar et al. 2023, arXiv
2302.03027, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_SMALLEST = 8
"""Side below which the pyramid is not halved again (reference code, `auto_corr_loss`)."""

_CELLS = 64 * 64
"""Cells of the latent that the weights are meant for."""


@dataclass(frozen=True)
class NoiseRegularisation:
    """Steps down two gradients: that of the autocorrelation over a pyramid, and that of the divergence (KL) from the
    standard normal distribution.

    Weights and counts are the reference code's. Its losses are means, whose gradient in a cell falls with the number of
    cells; here it is scaled to that of a latent of 64 x 64, so that a weight means the same at every size. A distance
    is never 0, as it may be there, for a cell's product with itself is no correlation; all channels share it.

    * autocorrelation, kl: the weights; 0 leaves one out.
    * steps: how often both are gone down; `rolls`: how many distances are drawn for the autocorrelation in each.
    * seed: what the distances are drawn from, together with the time.
    """

    autocorrelation: float = 20.0
    kl: float = 20.0
    steps: int = 5
    rolls: int = 5
    seed: int = 0

    def __call__(self, eps: Tensor, t: float) -> Tensor:
        """The noise `(1, C, h, w)` that is to stand for `eps`, predicted at the time t. The same for the same input."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + _number(t)) % 2**63)
        scale = eps.shape[2] * eps.shape[3] / _CELLS
        eps = eps.detach()
        for _ in range(self.steps):
            for _ in range(self.rolls if self.autocorrelation else 0):
                gradient = _gradient(lambda x: autocorrelation(x, generator), eps)
                eps = eps - self.autocorrelation * scale / self.rolls * gradient
            if self.kl:
                eps = eps - self.kl * scale * _gradient(divergence, eps)
        return eps


def _number(t: float) -> int:
    """A number of its own for each time: a whole time's is itself."""
    return int(t) if t == int(t) else round(t * 2**40)


def autocorrelation(noise: Tensor, generator: torch.Generator) -> Tensor:
    """The sum, over the channels of `(1, C, h, w)` and the levels of a pyramid, of the squared mean product with the
    noise moved by a random distance down, and the same across. 0 for white noise of endless size."""
    total = 0 * noise.sum()  # a part of the graph also where nothing is added
    while True:
        side = min(noise.shape[2], noise.shape[3])
        if side < 2:  # a single cell has no neighbour
            return total
        distance = int(torch.randint(1, side // 2 + 1, (1,), generator=generator))
        for axis in (2, 3):
            total = total + (noise * noise.roll(distance, axis)).mean((0, 2, 3)).square().sum()
        if side <= _SMALLEST:
            return total
        noise = F.avg_pool2d(noise, 2)


def divergence(noise: Tensor) -> Tensor:
    """Twice the KL divergence of a normal distribution with the mean and variance of `noise` from the standard one."""
    variance = noise.var()
    return variance + noise.mean().square() - 1 - torch.log(variance + 1e-7)


def _gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = at.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    return gradient
