"""When a run may end early: nothing has moved for a while."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

CHECK_EVERY = 10


@dataclass(frozen=True)
class Convergence:
    """The exponential mean, over `window` steps, of `|z_i - z_(i - window)| / |z_i - z_0|` is below `threshold`, and
    at least `earliest` steps are done. Ground-A-Score's paper runs "until the image converges" and leaves the measure
    open."""

    threshold: float = 0.02
    window: int = 50
    earliest: int = 150

    def watcher(self, z_source: Tensor) -> Watcher:
        """What follows one run that starts at `z_source` `(n, C, h, w)`."""
        return Watcher(self, z_source)


class Watcher:
    """Follows the latents of a run. All of them have to be still."""

    def __init__(self, rule: Convergence, z_source: Tensor) -> None:
        self._rule = rule
        self._source = z_source
        self._past: deque[Tensor] = deque([z_source], maxlen=rule.window + 1)
        self._mean: Tensor | None = None

    def reached(self, z: Tensor, step: int) -> bool:
        """Whether the run may end after `step` steps; asks the device every 10 steps only."""
        self._past.append(z)
        if len(self._past) <= self._rule.window:
            return False
        moved = (z - self._past[0]).flatten(1).norm(dim=1)
        # A picture that never moved is as still as can be: 0 / tiny = 0.
        ratio = moved / (z - self._source).flatten(1).norm(dim=1).clamp(min=torch.finfo(z.dtype).tiny)
        self._mean = ratio if self._mean is None else self._mean + (ratio - self._mean) / self._rule.window
        if step < self._rule.earliest or step % CHECK_EVERY:
            return False
        return bool((self._mean < self._rule.threshold).all())

    def state(self) -> dict[str, Tensor]:
        """All that is needed to go on."""
        state = {"past": torch.stack(list(self._past))}
        return state if self._mean is None else {**state, "mean": self._mean}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues from `state`."""
        self._past = deque(state["past"].to(self._source.device).unbind(), maxlen=self._rule.window + 1)
        self._mean = state["mean"].to(self._source.device) if "mean" in state else None
