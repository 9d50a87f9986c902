"""What every trainer needs: a learning rate, an average of the weights, a log, checkpoints that a crash cannot halve,
and the loop over them."""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import distributed, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from gas_diorama.train.graphs import replayed
from gas_diorama.train.optimisers import Together, adamw

log = logging.getLogger("gas_diorama.train")

ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""Kernels of attention that training uses on a GPU. cuDNN's is not among them: its backward pass in bf16 gives NaN on
H100 and H200 for some lengths, 64 among them, which is an attention of 8×8 cells (pytorch/pytorch#196678)."""


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


class Stopped(SystemExit):
    """A signal asked training to stop; its checkpoint is written."""


class Diverged(RuntimeError):
    """The loss is no number any more; the checkpoint is one of before."""


class _Stop:
    """Signals that ask for a stop: remembered while a step must not be broken off, else obeyed at once."""

    def __init__(self) -> None:
        self.asked, self._deferred = False, False

    def ask(self, number: int, frame: object) -> None:
        """What a signal calls; the second one is obeyed at once, too."""
        if self._deferred and not self.asked:
            self.asked = True
            return
        raise Stopped(128 + number)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within it a signal only sets `asked`."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False


stop = _Stop()


def stop_at_signals() -> None:
    """From now on SIGTERM and SIGINT let `fit` finish its step, write its checkpoint and raise `Stopped`."""
    stop.asked = False
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop.ask)


class Average:
    """An exponential mean of a network's weights, warmed up so that early steps do not linger."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().float().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Takes in the network's weights after `step` (counted from 0)."""
        decay = min(self.decay, (step + 1) / (step + 10))
        values = [value.float() for value in network.state_dict().values()]
        torch._foreach_lerp_(list(self.weights.values()), values, 1 - decay)  # one call where there are hundreds


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


def noise_like(z: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Gaussian noise of the shape of `z` on its device. On a CPU `generator` draws it, so that it is the same wherever
    a run was stopped; a GPU draws its own from a seed that `generator` draws."""
    if z.device.type == "cpu":
        return torch.randn(z.shape, generator=generator)
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.randn(z.shape, generator=torch.Generator(z.device).manual_seed(seed), device=z.device)


@torch.no_grad()
def average_gradients(weights: Sequence[nn.Parameter]) -> None:
    """Gives the weights' gradients, in place, the mean over all processes of the group."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


@sdpa_kernel(ATTENTION)
def fit(
    path: Path,
    network: nn.Module,
    settings: Schedule,
    loss_at: Callable[[int], torch.Tensor],
    at_save: Callable[[int, Mapping[str, torch.Tensor], bool], None] | None = None,
    rate: Callable[[str], float] = lambda name: 1.0,
    build: Callable[..., Together] = adamw,
    until: float | None = None,
    kept: Mapping[str, Any] | None = None,
) -> dict[str, torch.Tensor]:
    """The averaged weights of `network` after `settings.steps` steps, or at the time `until` when that is earlier; goes
    on from `path` when that is there.

    Started by `torchrun`, each of its processes takes batches of its own, and their gradients are averaged: on
    two cores two processes of one thread trained 1.45 times as fast as one, two threads 1.3 times. The first process
    alone keeps the log and the checkpoints.

    Args:
        path: the checkpoint; its stem names the run in the log.
        network: what is trained, in place; only weights that require a gradient.
        settings: the schedule; the checkpoint keeps it.
        loss_at: the loss of a batch, which depends on the number of the batch and on the network alone. Each step takes
            as many batches as there are processes. A `Loss` is replayed as a CUDA graph where there is a GPU.
        at_save: called after each checkpoint with the steps done, the averaged weights and whether it is the last.
        rate: factor on the learning rate of the weight of a name.
        build: the optimiser of weights by name, a peak rate, a decay and `rate`.
        until: when to end, of `time.monotonic`. The learning rate then falls towards the step that will be reached.
        kept: what else the checkpoint keeps, plain values.

    Raises:
        Stopped: a signal asked for it (`stop_at_signals`); the checkpoint is written.
        Diverged: the loss is not finite; nothing more is written.
    """
    device = next(network.parameters()).device
    named = {name: p for name, p in network.named_parameters() if p.requires_grad}
    trained = list(named.values())
    optimiser = build(named, settings.peak, settings.decay, rate)
    average, first, before, state = Average(network, settings.average), 0, 0.0, load_checkpoint(path)
    if state is not None:
        network.load_state_dict(state["network"])
        if "optimiser" in state:  # not when it was restored from shipped weights
            optimiser.load_state_dict(state["optimiser"])
        average.weights, first = {k: v.to(device) for k, v in state["average"].items()}, state["step"]
        before = state.get("spent", 0.0)
    rank, processes = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
    size, started = sum(p.numel() for p in trained) / 1e6, time.monotonic()
    ends = f"at step {settings.steps}" if until is None else f"in {until - started:.0f} s"
    log.info("%s: %.2f M parameters, from step %d, ends %s", path.stem, size, first, ends)
    running, done = torch.zeros((), device=device), first
    graph = replayed(loss_at, trained, first) if processes == 1 else None

    def save() -> None:
        state = {"network": network.state_dict(), "average": average.weights, "optimiser": optimiser.state_dict()}
        spent = before + time.monotonic() - started
        save_checkpoint(path, {**state, "step": done, "spent": spent, "settings": asdict(settings), **(kept or {})})  # type: ignore[call-overload]

    with stop.deferred():
        while True:
            spent = before + time.monotonic() - started
            step, steps = done, settings.steps
            if until is not None:  # as many as it will have been at this speed
                left = until - time.monotonic()
                reached = done if left <= 0 else done + math.ceil(left * max(done, 1) / max(spent, 1e-3))
                steps = min(steps, reached)
            if step >= steps:
                break
            for group in optimiser.param_groups:
                group["lr"] = group["rate"] * learning_rate(step, steps, settings.peak, settings.warm_up)
            if graph is not None:
                loss = graph(step)
            else:
                loss = loss_at(step * processes + rank)
                optimiser.zero_grad()
                loss.backward()
            if processes > 1:
                average_gradients(trained)
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            average.update(network, step)
            done += 1
            if rank and stop.asked:
                raise Stopped(128 + signal.SIGTERM)
            if rank:
                continue
            loss = loss.detach()  # asking for its value would wait for the GPU
            running = loss.clone() if step == first else torch.lerp(running, loss, 0.02)
            if done % 50 == 0 or step == first:
                speed = (done - first) * settings.batch * processes / (time.monotonic() - started)
                log.info("%s step %d loss %.4f, %.1f samples/s", path.stem, done, running.item(), speed)
                if not math.isfinite(running.item()):
                    raise Diverged(f"{path.stem}: the loss is {running.item()} at step {done}")
            if stop.asked:
                save()
                log.info("%s: stopped at step %d", path.stem, done)
                raise Stopped(128 + signal.SIGTERM)
            if done % settings.save_every == 0 and done < steps:
                save()
                if at_save is not None:
                    at_save(done, average.weights, False)
    if not math.isfinite(running.item()):
        raise Diverged(f"{path.stem}: the loss is {running.item()} at step {done}")
    if not rank and done > first:
        log.info("%s step %d loss %.4f, %.0f s", path.stem, done, running.item(), spent)
        save()
        if at_save is not None:
            at_save(done, average.weights, True)
    return average.weights
