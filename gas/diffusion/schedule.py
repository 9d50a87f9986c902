"""Noise schedules: `z_t = alpha_t z + sigma_t eps`, signal-to-noise ratios, and the bins that weights over t use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor

SNR_EDGES = (3.0602, 0.7376, 0.1916, 0.03829)
"""SNR of Stable Diffusion 1.x at t = 200, 400, 600, 800 (rounded up, so that these t fall into the noisier bin). Bins
over signal-to-noise ratio and not over t mean the same on every schedule; on Stable Diffusion 1.x they are `t //
200`."""


@dataclass(frozen=True)
class Schedule:
    """`alphas_cumprod` is `(T,)`, from little to much noise. With the symbols of the DDS paper `alpha_t =
    sqrt(alphas_cumprod)` and `sigma_t = sqrt(1 - alphas_cumprod)` (variance preserving)."""

    alphas_cumprod: Tensor

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Schedule:
        """The schedule that a diffusers scheduler configuration trains with, whatever sampler it names."""
        from diffusers import DDPMScheduler

        known = signature(DDPMScheduler).parameters
        scheduler: Any = DDPMScheduler(**{name: value for name, value in config.items() if name in known})
        return cls(scheduler.alphas_cumprod)

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def to(self, device: torch.device | str) -> Schedule:
        """This schedule with its table on `device`."""
        return Schedule(self.alphas_cumprod.to(device))

    def coefficients(self, t: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """`(alpha_t, sigma_t)`, each `(n, 1, 1, 1)`, for `t` of shape `(n,)`, on the table's device."""
        kept = self.alphas_cumprod.to(dtype)[t.to(self.alphas_cumprod.device)].view(-1, 1, 1, 1)
        return kept.sqrt(), (1 - kept).sqrt()

    def add_noise(self, z: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """`z_t = alpha_t z + sigma_t eps`; z and eps `(n, C, h, w)`, t `(n,)` (DDS, sec. 3)."""
        alpha, sigma = self.coefficients(t, z.dtype)
        return alpha * z + sigma * eps

    def snr(self, t: int) -> float:
        """`alpha_t^2 / sigma_t^2`."""
        kept = float(self.alphas_cumprod[t])
        return kept / (1 - kept) if kept < 1 else float("inf")

    def snr_bin(self, t: int, edges: Sequence[float] = SNR_EDGES) -> int:
        """Number of the bin of t: 0 for the clearest fifth up to `len(edges)` for the noisiest."""
        snr = self.snr(t)
        return sum(snr <= edge for edge in edges)
