"""A denoiser whose answers are known in closed form, so that the loop's mathematics can be tested without weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gas.diffusion.schedule import Schedule


def stable_diffusion_schedule() -> Schedule:
    """The noise schedule of Stable Diffusion 1.x."""
    return Schedule.from_config({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"})


@dataclass
class GaussianDenoiser:
    """The exact noise predictor of a world in which a prompt's pictures are distributed as `N(means[prompt], spread^2
    I)`:

        eps(z_t, t, y) = sigma_t (z_t - alpha_t mean_y) / (alpha_t^2 spread^2 + sigma_t^2)

    `means` maps every prompt, also "", to a latent `(1, C, h, w)`. Delta denoising from a to b under guidance w has
    its fixed point at `z_source + w (mean_b - mean_a)`, for any noise. `calls` collects the number of rows of each
    call.
    """

    means: Mapping[str, Tensor]
    spread: float = 1.0
    schedule: Schedule = field(default_factory=stable_diffusion_schedule)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    network: None = None
    calls: list[int] = field(default_factory=list)

    def embed(self, prompts: Sequence[str]) -> Tensor:
        """The means themselves, `(n, C, h, w)`."""
        return torch.cat([self.means[prompt] for prompt in prompts])

    def predict(self, z_t: Tensor, t: Tensor, embedding: Tensor) -> Tensor:
        """The exact noise, `(n, C, h, w)`; see the class."""
        self.calls.append(len(z_t))
        alpha, sigma = self.schedule.coefficients(t, z_t.dtype)
        return sigma * (z_t - alpha * embedding.to(z_t)) / (alpha**2 * self.spread**2 + sigma**2)
