"""Deterministic sampling (DDIM, Song et al. 2020, arXiv 2010.02502), and the phases that an edit by sampling goes
through: reported, stopped, kept, and gone on with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gas.checkpoint import of_this_run
from gas.errors import InputRefused, ResultRefused
from gas.interfaces import Step, Watch
from gas.remedies import Remedy, Setting

if TYPE_CHECKING:
    from gas.diffusion.schedule import Schedule
    from gas.types import Image

CHECKPOINT_EVERY = 10
State = dict[str, Tensor]
NoiseAt = Callable[[Tensor, float, int], Tensor]
"""`noise(z, t, i)`: the guided prediction `(1, C, h, w)`, as `Predictor.predict` gives it, for the latent at the time t
of step i."""


class Stopped(Exception):
    """A run was told to stop; `Phases.estimate` is what it had reached."""


def ddim(
    schedule: Schedule,
    z: Tensor,
    prediction: Tensor,
    t: float,
    s: float,
    fresh: Tensor | None = None,
    eta: float = 1.0,
) -> Tensor:
    """The latent at time `s` from `z` at time `t` and what is predicted there (noise or velocity, as the schedule is
    sampled), each `(n, C, h, w)`: `alpha_s z_0 + sigma_s eps` (DDIM, eq. 12 with no random part; of a rectified flow a
    step of Euler). It goes either way, also to and from the time `schedule.clean`.

    With `fresh` noise, on the way down, the share of eps that `eta` in [0, 1] says is replaced by it (eq. 16): 1 is the
    ancestral sampler of DDPM, 0 the same as without.
    """
    alpha, sigma = _coefficients(schedule, s, z)
    z_0 = clean(schedule, z, prediction, t)
    eps = prediction if schedule.sampled == "epsilon" else z_0 + prediction
    if fresh is None:
        return alpha * z_0 + sigma * eps
    alpha_t, sigma_t = _coefficients(schedule, t, z)
    if schedule.sampled == "epsilon":
        variance = 1 - (alpha_t / alpha).square()
    else:  # the same where nothing preserves the variance
        variance = sigma_t.square() - (alpha_t / alpha * sigma).square()
    added = eta * sigma / sigma_t * variance.sqrt()
    return alpha * z_0 + (sigma.square() - added.square()).sqrt() * eps + added * fresh


def clean(schedule: Schedule, z: Tensor, prediction: Tensor, t: float) -> Tensor:
    """The latent without noise that `z` at time `t` and the `prediction` there speak of: `(z - sigma_t eps) / alpha_t`,
    or `(z - sigma_t v) / (alpha_t + sigma_t)` of a velocity."""
    alpha, sigma = _coefficients(schedule, t, z)
    return (z - sigma * prediction) / (alpha if schedule.sampled == "epsilon" else alpha + sigma)


def _coefficients(schedule: Schedule, t: float, like: Tensor) -> tuple[Tensor, Tensor]:
    if t == schedule.clean:
        return like.new_ones(1, 1, 1, 1), like.new_zeros(1, 1, 1, 1)
    alpha, sigma = schedule.coefficients(torch.tensor([t], dtype=like.dtype, device=like.device), like.dtype)
    return alpha.to(like), sigma.to(like)


class Phases:
    """The steps of one edit, phase after phase.

    `estimate` is what is taken for the edited latent so far: first `z_source`, then each state's "estimate".

    Args:
        watch: reports to it, asks it before each step whether to stop, keeps states with it, goes on from its state.
        decode: the picture of a latent, for previews.
        z_source: the latent `(1, C, h, w)` of the picture.
        total: how many steps all phases together make.
    """

    def __init__(self, watch: Watch, decode: Callable[[Tensor], Image], z_source: Tensor, total: int) -> None:
        self.watch, self.decode, self.estimate, self.total = watch, decode, z_source, total
        self.done = 0
        self._names: set[str] = set()
        self._kept: dict[str, Any] = {}

    def skip(self, steps: int) -> None:
        """Counts steps that need not be made, since their result is known."""
        self.done += steps

    def run(self, name: str, steps: int, state: State, step: Callable[[int, State], State]) -> State:
        """The state after `steps` steps: `step(i, state)` gives the next one, with tensors of the same names and sizes.

        Each phase of an edit has a name of its own (ValueError). A step must depend on i and the state alone, for then
        a run that is gone on with gives the same bytes. A state may hold "estimate", the clean latent that previews
        show. Stopped when the watch says so; ResultRefused (exit 11) when a number is not finite any more;
        InputRefused (exit 3) when the watch goes on from something else.
        """
        if name in self._names:
            raise ValueError(f"two phases are called {name!r}: a run that is gone on with could not tell them apart")
        self._names.add(name)
        state = {"estimate": self.estimate, **state}
        first, state = self._resumed(name, steps, state)
        self.done += first
        self.estimate = state["estimate"]
        for i in range(first, steps):
            self._keep(name, i, state)
            if self.watch.should_stop():
                self._checkpoint()
                raise Stopped
            state = {**state, **step(i, state)}
            self._refuse_not_finite(name, i, state)
            self.done += 1
            self.estimate = state["estimate"]
            if self.watch.on_step is not None:
                estimate = self.estimate
                self.watch.on_step(Step(self.done, self.total, {}, lambda z=estimate: self.decode(z)))  # type: ignore[misc]
            if self.done % CHECKPOINT_EVERY == 0:
                self._keep(name, i + 1, state)
                self._checkpoint()
        self._keep(name, steps, state)
        self.estimate = state["estimate"]
        return state

    def _keep(self, name: str, done: int, state: Mapping[str, Tensor]) -> None:
        self._kept[f"{name}.step"] = done
        self._kept.update({f"{name}.{key}": value for key, value in state.items()})

    def _checkpoint(self) -> None:
        if self.watch.checkpoint is not None:
            self.watch.checkpoint(
                {key: one.cpu().clone() if isinstance(one, Tensor) else one for key, one in self._kept.items()}
            )

    def _resumed(self, name: str, steps: int, state: State) -> tuple[int, State]:
        saved = self.watch.resume or {}
        if not saved:
            return 0, state
        if not any(key.endswith(".step") for key in saved):
            raise InputRefused("the saved state does not belong to this run", "start it again from the beginning")
        if f"{name}.step" not in saved:
            return 0, state
        with of_this_run():
            done = int(saved[f"{name}.step"])
            found = {key: saved[f"{name}.{key}"].to(value) for key, value in state.items()}
            if not 0 <= done <= steps or any(found[key].shape != state[key].shape for key in state):
                raise ValueError("its size or number of steps differs")
        return done, found

    def _refuse_not_finite(self, name: str, i: int, state: Mapping[str, Tensor]) -> None:
        for key, value in state.items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise ResultRefused(
                    f"the {name} is not a finite number any more ({key}, step {i + 1})",
                    Remedy(
                        "use_fp32_or_less_guidance",
                        "try {dtype}, a smaller guidance_scale, or another model",
                        dtype=Setting("dtype", "fp32"),
                    ),
                )


def sample(
    phases: Phases,
    name: str,
    schedule: Schedule,
    z: Tensor,
    times: Sequence[float],
    noise: NoiseAt,
    after: Callable[[Tensor, float, int], Tensor] | None = None,
) -> Tensor:
    """The clean latent `(1, C, h, w)` that `z`, at the first of the descending `times`, becomes step by step.

    `after(z, s, i)` may change the latent that step i has brought to the time s (`schedule.clean` after the last); what
    both are told is all that they may depend on.
    """

    def step(i: int, state: State) -> State:
        t, s = times[i], times[i + 1] if i + 1 < len(times) else schedule.clean
        eps = noise(state["z"], t, i)
        here = ddim(schedule, state["z"], eps, t, s)
        estimate = clean(schedule, state["z"], eps, t)
        if after is not None:
            here, estimate = after(here, s, i), after(estimate, schedule.clean, i)
        return {"z": here, "estimate": estimate}

    return phases.run(name, len(times), {"z": z}, step)["z"]
