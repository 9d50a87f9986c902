"""Predictions of a backbone for rows that share one time, counted; what a method that samples asks of a model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gas.diffusion.attention.sites import Size
from gas.diffusion.backbone import Backbone, Conditioning
from gas.diffusion.memory import memory_named
from gas.errors import OutOfMemory
from gas.remedies import USE_BF16


class Predictor:
    """A model's predictions for latents of one `size` (h, w); `rows` counts those that were asked for."""

    def __init__(self, model: Backbone, size: Size) -> None:
        self.model = model
        self.size = size
        self.schedule = model.schedule_for(size)
        self.rows = 0

    @torch.no_grad()
    def condition(self, prompts: Sequence[str]) -> Conditioning:
        """What the network is told for the prompts, a row for each; "" is the null prompt."""
        return self.model.condition(list(prompts), self.size)

    def guided(
        self, prompts: Sequence[str], scale: float, null: str = "", unguided: Sequence[str] = ()
    ) -> Conditioning:
        """The rows that a guidance of `scale` needs: the prompts', after the row of `null` where the model has a null
        row, or told the number. UsageError (exit 2) for a model that knows no guidance. See `Targets.guided`.

        Rows of `unguided` prompts, of the same batch but for something else, come first.
        """
        null_row = [null] if self.model.guidance == "null" else []
        rows = self.condition([*unguided, *null_row, *prompts])
        if not unguided:
            return self.model.guided(rows, scale)
        count = len(unguided)
        return Conditioning.cat([self.model.guided(rows[:count], 1), self.model.guided(rows[count:], scale)])

    def predict(self, z: Tensor, t: float, conditioning: Conditioning) -> Tensor:
        """What samplers step with `(n, C, h, w)`, the noise or the velocity as `Schedule.sampled` says, for latents `z`
        `(n, C, h, w)`, or one `(1, C, h, w)` for all, at the time t and the rows of `conditioning`, in one network
        call. OutOfMemory (exit 7) when memory is short."""
        count = len(conditioning)
        if len(z) != count:
            z = z.expand(count, -1, -1, -1)
        at = torch.full((count,), t, dtype=z.dtype, device=z.device)
        with memory_named(lambda: _too_large(z)):
            if self.schedule.sampled == "epsilon":
                found = self.model.epsilon(z, at, conditioning)
            else:
                found = self.model.velocity(z, at, conditioning)
        self.rows += count
        return found


def _too_large(z: Tensor) -> OutOfMemory:
    return OutOfMemory(
        f"not enough memory for {len(z)} rows of a latent of {z.shape[3]}x{z.shape[2]}",
        USE_BF16,
    )
