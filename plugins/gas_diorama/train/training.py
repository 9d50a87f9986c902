"""What every trainer needs: a learning rate, an average of the weights, a log, checkpoints that a crash cannot halve,
and the loop over them."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import distributed, nn

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


class Schedule(Protocol):
    """What `fit` reads of a trainer's settings, which are a dataclass."""

    @property
    def steps(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def peak(self) -> float: ...
    @property
    def warm_up(self) -> int: ...
    @property
    def decay(self) -> float: ...
    @property
    def average(self) -> float: ...
    @property
    def save_every(self) -> int: ...


@torch.no_grad()
def average_gradients(weights: Sequence[nn.Parameter]) -> None:
    """Gives the weights' gradients, in place, the mean over all processes of the group."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def fit(
    path: Path,
    network: nn.Module,
    settings: Schedule,
    loss_at: Callable[[int], torch.Tensor],
    at_save: Callable[[int, Mapping[str, torch.Tensor]], None] | None = None,
    rate: Callable[[str], float] = lambda name: 1.0,
) -> dict[str, torch.Tensor]:
    """The averaged weights of `network` after `settings.steps` steps of AdamW; goes on from `path` when that is there.

    Started by `torchrun`, each of its processes takes batches of its own, and their gradients are averaged: on
    two cores two processes of one thread trained 1.45 times as fast as one, two threads 1.3 times. The first process
    alone keeps the log and the checkpoints.

    Args:
        path: the checkpoint; its stem names the run in the log.
        network: what is trained, in place; only weights that require a gradient.
        settings: the schedule; the checkpoint keeps it.
        loss_at: the loss of a batch, which depends on the number of the batch and on the network alone. Each step takes
            as many batches as there are processes.
        at_save: called after each checkpoint with the steps done and the averaged weights.
        rate: factor on the learning rate of the weight of a name.
    """
    device = next(network.parameters()).device
    named = {name: p for name, p in network.named_parameters() if p.requires_grad}
    trained = list(named.values())
    kinds = [(factor, decays) for factor in dict.fromkeys(map(rate, named)) for decays in (True, False)]
    groups = [
        {
            "params": [p for name, p in named.items() if rate(name) == factor and (p.ndim > 1) == decays],
            "weight_decay": settings.decay if decays else 0.0,
        }
        for factor, decays in kinds
    ]
    optimiser = torch.optim.AdamW(groups, lr=settings.peak, betas=(0.9, 0.99), fused=True)
    average, first, state = Average(network, settings.average), 0, load_checkpoint(path)
    if state is not None:
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        average.weights, first = {k: v.to(device) for k, v in state["average"].items()}, state["step"]
    rank, processes = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
    size = sum(p.numel() for p in trained) / 1e6
    log.info("%s: %.2f M parameters, from step %d of %d", path.stem, size, first, settings.steps)
    started, running = time.monotonic(), 0.0
    for step in range(first, settings.steps):
        for group, (factor, _) in zip(optimiser.param_groups, kinds, strict=True):
            group["lr"] = factor * learning_rate(step, settings.steps, settings.peak, settings.warm_up)
        loss = loss_at(step * processes + rank)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if processes > 1:
            average_gradients(trained)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        average.update(network, step)
        if rank:
            continue
        running = loss.item() if step == first else 0.98 * running + 0.02 * loss.item()
        done, last = step + 1, step + 1 == settings.steps
        if done % 50 == 0 or step == first or last:
            speed = (done - first) * settings.batch * processes / (time.monotonic() - started)
            log.info("%s step %d loss %.4f, %.1f samples/s", path.stem, done, running, speed)
        if done % settings.save_every == 0 or last:
            state = {"network": network.state_dict(), "average": average.weights, "optimiser": optimiser.state_dict()}
            save_checkpoint(path, {**state, "step": done, "settings": asdict(settings)})  # type: ignore[call-overload]
            if at_save is not None:
                at_save(done, average.weights)
    return average.weights
