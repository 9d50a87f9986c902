"""Guidance: how much more than its training a model follows its prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Guidance = Literal["null", "told", "none"]
"""How a model is guided: by comparison with the null prompt's row ("null": classifier-free guidance, Ho and Salimans
2022), by a number that its network is told ("told": a model that guidance was distilled into), or not at all."""


@dataclass(frozen=True)
class NoisePrediction:
    """The pair that guidance needs, kept apart because the null-text penalty needs it raw. Each `(n, C, h, w)`;
    `uncond` is None for a model without a null row, whose predictions are as they are to be."""

    uncond: Tensor | None
    cond: Tensor

    def guided(self, scale: float) -> Tensor:
        """`eps(z_t, null) + w (eps(z_t, y) - eps(z_t, null))`, classifier-free guidance with w = `scale` (DDS, eq. 1);
        without a null row `cond` itself."""
        return self.cond if self.uncond is None else self.uncond + scale * (self.cond - self.uncond)
