"""A backbone whose answers are known in closed form, so that the mathematics of methods can be tested without
weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gas.diffusion.attention.sites import Size
from gas.diffusion.backbone import Backbone, Conditioning
from gas.diffusion.guidance import Guidance
from gas.diffusion.parameterisation import Parameterisation
from gas.diffusion.schedule import Schedule, stable_diffusion_schedule

if TYPE_CHECKING:
    from gas.types import Image

__all__ = ["GaussianDenoiser", "stable_diffusion_schedule"]


@dataclass(eq=False)
class GaussianDenoiser(Backbone):
    """The exact predictor of a world in which a prompt's pictures are distributed as `N(means[prompt], spread^2 I)`:

        eps(z_t, t, y) = sigma_t (z_t - alpha_t mean_y) / (alpha_t^2 spread^2 + sigma_t^2)

    on any schedule and in any parameterisation. `means` maps every prompt, also "", to a latent `(1, C, h, w)`; a
    latent is the picture itself in [-1, 1]. Delta denoising from a to b under guidance w has its fixed point at
    `z_source + w (mean_b - mean_a)`, for any noise; without a null row at `z_source + mean_b - mean_a`. `calls`
    collects the number of rows of each call, `told` the guidance that each row was told.
    """

    means: Mapping[str, Tensor]
    spread: float = 1.0
    schedule: Schedule = field(default_factory=stable_diffusion_schedule)
    parameterisation: Parameterisation = "epsilon"
    guidance: Guidance = "null"
    name: str = "a Gaussian world"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    resolution: int = 64
    multiple: int = 1
    factor: int = 1
    calls: list[int] = field(default_factory=list)
    told: list[float] = field(default_factory=list)

    def encode(self, image: Image) -> Tensor:
        """The picture's own numbers, `(1, 3, H, W)`."""
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].to(self.device).float() / 127.5 - 1

    def decode(self, z: Tensor) -> Image:
        """The first three channels, `(H, W, 3)` uint8."""
        return ((z[0, :3].float() + 1) * 127.5).clamp(0, 255).round().byte().permute(1, 2, 0).cpu().numpy()

    def condition(self, prompts: Sequence[str], size: Size) -> Conditioning:
        """The means themselves, `(n, C, h, w)`."""
        return Conditioning(torch.cat([self.means[prompt] for prompt in prompts]))

    def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """What a perfect network of its parameterisation says, `(n, C, h, w)`; see the class."""
        self.calls.append(len(z_t))
        if "guidance" in conditioning.extra:
            self.told += conditioning.extra["guidance"].tolist()
        alpha, sigma = self.schedule.coefficients(t, z_t.dtype)
        away = (z_t - alpha * conditioning.embeddings.to(z_t)) / (alpha**2 * self.spread**2 + sigma**2)
        eps, z = sigma * away, conditioning.embeddings.to(z_t) + alpha * self.spread**2 * away
        if self.parameterisation == "epsilon":
            return eps
        return alpha * eps - sigma * z if self.parameterisation == "v_prediction" else eps - z
