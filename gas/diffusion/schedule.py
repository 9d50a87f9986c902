"""Noise schedules: `z_t = alpha(t) z + sigma(t) eps` for a real t, signal-to-noise ratios, and the times of a run.

Each schedule counts t in its own unit: a table of trained times by their number, a rectified flow from 0 to 1. What has
to mean the same on every schedule is therefore said by signal-to-noise ratio.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from inspect import signature
from typing import Any, Literal

import torch
from torch import Tensor

SNR_EDGES = (3.0602, 0.7376, 0.1916, 0.03829)
"""SNR of Stable Diffusion 1.x at t = 200, 400, 600, 800 (rounded up, so that these t fall into the noisier bin). Bins
over signal-to-noise ratio and not over t mean the same on every schedule; on Stable Diffusion 1.x they are `t //
200`."""

_BISECTIONS = 60


class Schedule(ABC):
    """How much of a latent at the time t is picture, `alpha(t)`, and how much is noise, `sigma(t)`.

    The signal-to-noise ratio falls from infinity at the time `clean` to its least at the time `noisiest`.
    """

    clean: float
    """The time of a latent without noise: alpha is 1 and sigma is 0."""
    sampled: Literal["epsilon", "velocity"]
    """What a sampler steps with: the noise eps, or the velocity `eps - z`, which still says something of the picture
    where all is noise."""

    @property
    @abstractmethod
    def noisiest(self) -> float:
        """The time with the most noise that the network was trained with."""

    @abstractmethod
    def alpha(self, t: float) -> float:
        """The factor of the picture at `t`, computed in double precision. ValueError for a time beyond the schedule."""

    @abstractmethod
    def sigma(self, t: float) -> float:
        """The factor of the noise at `t`, as `alpha`."""

    @abstractmethod
    def coefficients(self, t: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """`(alpha, sigma)`, each `(n, 1, 1, 1)`, for `t` of shape `(n,)`, computed in `dtype` on the schedule's
        device."""

    @abstractmethod
    def spaced(self, steps: int) -> tuple[float, ...]:
        """The descending times at which the steps of a sampler over the whole schedule begin, the noisiest first; fewer
        than `steps` where the schedule has no more. The last step leads to `clean`."""

    @abstractmethod
    def drawn(self, shares: Tensor, first: float, last: float) -> list[float]:
        """The times at the `shares` `(n,)`, in [0, 1), of the way from `first` to `last`, both included."""

    def to(self, device: torch.device | str) -> Schedule:
        """This schedule, with what it looks up on `device`."""
        return self

    def snr(self, t: float) -> float:
        """The signal-to-noise ratio `alpha^2 / sigma^2`."""
        sigma = self.sigma(t)
        return (self.alpha(t) / sigma) ** 2 if sigma else math.inf

    def at_snr(self, snr: float) -> float:
        """The time with this signal-to-noise ratio, between `clean` and `noisiest`; the nearer end where none has
        it."""
        least, most = self.clean, self.noisiest
        if snr <= self.snr(most):
            return most
        for _ in range(_BISECTIONS):
            middle = (least + most) / 2
            least, most = (middle, most) if self.snr(middle) > snr else (least, middle)
        return (least + most) / 2

    def snr_bin(self, t: float) -> int:
        """The number of the bin of t: 0 for the clearest fifth up to `len(SNR_EDGES)` for the noisiest."""
        snr = self.snr(t)
        return sum(snr <= edge for edge in SNR_EDGES)

    def share(self, share: float) -> float:
        """The time at this share, in (0, 1], of the way from `clean` to `noisiest`."""
        return self.clean + share * (self.noisiest - self.clean)

    def published(self, t: float) -> float:
        """The time of this schedule that a time of a publication means: the one with as much noise as Stable Diffusion
        1.x has at t. ValueError for a time that the schedule does not have."""
        return self.at_snr(stable_diffusion_schedule().snr(t))

    def add_noise(self, z: Tensor, eps: Tensor, t: Tensor | float) -> Tensor:
        """`z_t = alpha z + sigma eps`; z and eps `(n, C, h, w)`, t `(n,)` or one time for all (DDS, sec. 3)."""
        times = t if isinstance(t, Tensor) else torch.tensor([t], dtype=z.dtype)
        alpha, sigma = self.coefficients(times.to(z.device), z.dtype)
        return alpha * z + sigma * eps


@dataclass(frozen=True)
class VPSchedule(Schedule):
    """A variance-preserving schedule (alpha^2 + sigma^2 = 1) that was trained at whole times: DDPM, Stable Diffusion 1,
    2 and XL.

    `alphas_cumprod` is `(T,)`, the squares of alpha at t = 0, 1, ..., T - 1, from little to much noise. Between two
    whole times, and between 0 and `clean`, which is -1, they are interpolated linearly.
    """

    alphas_cumprod: Tensor
    clean = -1.0
    sampled = "epsilon"

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> VPSchedule:
        """The schedule that a diffusers scheduler configuration trains with, whatever sampler it names."""
        from diffusers import DDPMScheduler

        known = signature(DDPMScheduler).parameters
        scheduler: Any = DDPMScheduler(**{name: value for name, value in config.items() if name in known})
        return cls(scheduler.alphas_cumprod)

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    @property
    def noisiest(self) -> float:
        return len(self) - 1

    def to(self, device: torch.device | str) -> VPSchedule:
        return VPSchedule(self.alphas_cumprod.to(device))

    def alpha(self, t: float) -> float:
        return math.sqrt(self._kept(t))

    def sigma(self, t: float) -> float:
        return math.sqrt(1 - self._kept(t))

    def snr(self, t: float) -> float:
        kept = self._kept(t)
        return kept / (1 - kept) if kept < 1 else math.inf

    def coefficients(self, t: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        table = self._table.to(dtype)
        place = t.to(table.device) + 1
        below = place.floor().long()
        # At a whole time the weight is 0, and what is looked up stays as it is, bit for bit.
        kept = table[below].lerp(table[(below + 1).clamp(max=len(self))], (place - below).to(dtype)).view(-1, 1, 1, 1)
        return kept.sqrt(), (1 - kept).sqrt()

    def spaced(self, steps: int) -> tuple[float, ...]:
        """Whole times, evenly from the noisiest down ("trailing", Lin et al. 2023, arXiv 2305.08891), since a run that
        begins below it is given noise that its network does not expect."""
        count = min(steps, len(self))
        return tuple(round(len(self) * (count - i) / count) - 1 for i in range(count))

    def drawn(self, shares: Tensor, first: float, last: float) -> list[float]:
        """Whole times, of which each has the same share."""
        start, width = round(first), round(last) - round(first) + 1
        return (start + (shares * width).long().clamp(max=width - 1)).tolist()

    def share(self, share: float) -> float:
        return max(0, round(len(self) * share) - 1)

    def published(self, t: float) -> float:
        """t itself: the times of publications are those of a table."""
        if not 0 <= t < len(self):
            raise ValueError(f"{t:g} goes beyond the model's {len(self)} times")
        return t

    @cached_property
    def _table(self) -> Tensor:
        """alpha^2 at t = -1, 0, ..., T - 1."""
        return torch.cat([self.alphas_cumprod.new_ones(1), self.alphas_cumprod])

    @cached_property
    def _numbers(self) -> tuple[float, ...]:
        """The same as plain numbers, so that a look-up does not wait for a device."""
        return tuple(self._table.tolist())

    def _kept(self, t: float) -> float:
        if not -1 <= t <= len(self) - 1:
            raise ValueError(f"the time {t:g} is beyond the schedule, which goes from -1 to {len(self) - 1}")
        below = math.floor(t)
        here = self._numbers[below + 1]
        return here if t == below else here + (t - below) * (self._numbers[below + 2] - here)


@dataclass(frozen=True)
class FlowSchedule(Schedule):
    """A rectified flow (Liu et al. 2022, arXiv 2209.03003): `z_t = (1 - t) z + t eps` for t in [0, 1].

    `shift` moves the times of a run towards the noise, as many of whose cells say the same (Esser et al. 2024, arXiv
    2403.03206, eq. 23): 1 leaves them evenly spaced, Stable Diffusion 3 has 3.
    """

    shift: float = 1.0
    clean = 0.0
    sampled = "velocity"

    @classmethod
    def from_config(cls, config: Mapping[str, Any], tokens: int) -> FlowSchedule:
        """The schedule of a configuration of diffusers' FlowMatchEulerDiscreteScheduler, for latents that the network
        takes as so many `tokens`: where the shift is "dynamic" it grows with them, from `base_shift` at
        `base_image_seq_len` to `max_shift` at `max_image_seq_len`, linearly, as diffusers' FluxPipeline computes it."""
        if not config.get("use_dynamic_shifting"):
            return cls(float(config.get("shift", 1.0)))
        least, most = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
        low, high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
        mu = low + (high - low) * (tokens - least) / (most - least)
        return cls(math.exp(mu) if config.get("time_shift_type", "exponential") == "exponential" else mu)

    @property
    def noisiest(self) -> float:
        return 1.0

    def alpha(self, t: float) -> float:
        return 1 - self.sigma(t)

    def sigma(self, t: float) -> float:
        if not 0 <= t <= 1:
            raise ValueError(f"the time {t:g} is beyond the schedule, which goes from 0 to 1")
        return t

    def coefficients(self, t: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        sigma = t.to(dtype).view(-1, 1, 1, 1)
        return 1 - sigma, sigma

    def spaced(self, steps: int) -> tuple[float, ...]:
        shares = ((steps - i) / steps for i in range(steps))
        return tuple(self.shift * share / (1 + (self.shift - 1) * share) for share in shares)

    def drawn(self, shares: Tensor, first: float, last: float) -> list[float]:
        return (first + shares.double() * (last - first)).tolist()


@cache
def stable_diffusion_schedule() -> VPSchedule:
    """The schedule of Stable Diffusion 1.x, in whose times publications write (diffusers' "scaled_linear")."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32) ** 2
    return VPSchedule(torch.cumprod(1 - betas, 0))


def times(schedule: Schedule, steps: int, strength: float = 1.0) -> tuple[float, ...]:
    """The descending times of a run of `steps` steps over the whole schedule; of them the last `strength` share, at
    least one, for runs that begin at less than full noise."""
    every = schedule.spaced(steps)
    kept = max(1, min(len(every), round(len(every) * strength)))
    return every[len(every) - kept :]
