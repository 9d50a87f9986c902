"""What the loop asks of a network: noise predictions for rows of (noisy latent, time, prompt embedding)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from gas.diffusion.schedule import Schedule


@dataclass(frozen=True)
class NoisePrediction:
    """The pair that guidance needs, kept apart because the null-text penalty needs it raw. Each `(n, C, h, w)`."""

    uncond: Tensor
    cond: Tensor

    def guided(self, scale: float) -> Tensor:
        """`eps(z_t, null) + w (eps(z_t, y) - eps(z_t, null))`, classifier-free guidance with w = `scale` (DDS, eq.
        1)."""
        return self.uncond + scale * (self.cond - self.uncond)


class Denoiser(Protocol):
    """A frozen text-conditioned diffusion model, whatever it was trained to predict."""

    @property
    def schedule(self) -> Schedule:
        """Its noise schedule, on its device."""

    @property
    def device(self) -> torch.device:
        """Where it works."""

    @property
    def network(self) -> nn.Module | None:
        """The module whose self-attention the contrastive loss looks at; None where there is no such thing."""

    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings `(n, ...)`, one row for each prompt; "" is the null prompt."""

    def predict(self, z_t: Tensor, t: Tensor, embedding: Tensor) -> Tensor:
        """The noise eps `(n, C, h, w)` in the dtype of `z_t` `(n, C, h, w)`, for t `(n,)` and the rows of `embed`.

        Differentiable in `z_t`, unless gradients are switched off.
        """


def to_epsilon(output: Tensor, prediction: str, z_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The noise from a network's output: itself for "epsilon", `alpha_t v + sigma_t z_t` for "v_prediction" (Salimans
    and Ho 2022, app. D). alpha and sigma `(n, 1, 1, 1)`. ValueError for anything else."""
    if prediction == "epsilon":
        return output
    if prediction == "v_prediction":
        return alpha * output + sigma * z_t
    raise ValueError(f"a network that predicts {prediction!r} is not supported: epsilon and v_prediction are")
