"""What every trainer needs: a learning rate, an average of the weights, a log, and checkpoints that a crash cannot
halve."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

log = logging.getLogger("gas_diorama.train")


def log_to(out: Path) -> None:
    """Sends the log to `out`/train.log and to the terminal."""
    out.mkdir(parents=True, exist_ok=True)
    log.setLevel(logging.INFO)
    for handler in (logging.FileHandler(out / "train.log"), logging.StreamHandler()):
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        log.addHandler(handler)


def learning_rate(step: int, steps: int, peak: float, warm_up: int) -> float:
    """`peak` after a linear warm-up, then a cosine down to a hundredth of it at `steps`."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    share = min((step - warm_up) / max(steps - warm_up, 1), 1.0)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def cpu_generator(seed: int, step: int) -> torch.Generator:
    """A generator for one step: the noise of step n is the same whether or not the run was stopped before it."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


class Average:
    """An exponential mean of a network's weights, warmed up so that early steps do not linger."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone().float() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Takes in the network's weights after `step` (counted from 0)."""
        decay = min(self.decay, (step + 1) / (step + 10))
        for name, value in network.state_dict().items():
            self.weights[name].lerp_(value.float(), 1 - decay)


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Writes `state` beside `path` first and then renames it, so that `path` is always whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(dict(state), partial)
    os.replace(partial, path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state saved at `path` (tensors and plain values only), or None when there is none."""
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None
