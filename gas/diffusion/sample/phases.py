"""Deterministic sampling (DDIM, Song et al. 2020, arXiv 2010.02502), and the phases that an edit by sampling goes
through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gas.diffusion.stepping import Stepping, Work, same_size
from gas.errors import OutOfMemory
from gas.interfaces import Watch
from gas.remedies import Remedy

if TYPE_CHECKING:
    from gas.diffusion.schedule import Schedule
    from gas.types import Image

State = dict[str, Tensor]
NoiseAt = Callable[[Tensor, float, int], Tensor]
"""`noise(z, t, i)`: the guided prediction `(1, C, h, w)`, as `Predictor.predict` gives it, for the latent at the time t
of step i."""


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
    """The steps of one edit, phase after phase, as functions of a state.

    `estimate` is what is taken for the edited latent so far: first `z_source`, then each state's "estimate".

    Args:
        watch: reports to it, asks it before each step whether to stop, keeps states with it, resumes from its state.
        decode: the picture of a latent, for previews.
        z_source: the latent `(1, C, h, w)` of the picture.
        total: how many steps all phases together make.
    """

    def __init__(self, watch: Watch, decode: Callable[[Tensor], Image], z_source: Tensor, total: int) -> None:
        self.decode, self.estimate = decode, z_source
        self._stepping = Stepping(watch, total)

    @property
    def done(self) -> int:
        """How many steps are made."""
        return self._stepping.done

    def skip(self, steps: int) -> None:
        """Counts steps that need not be made, since their result is known."""
        self._stepping.skip(steps)

    def run(
        self,
        name: str,
        steps: int,
        state: State,
        step: Callable[[int, State], State],
        *,
        less_extreme: Remedy | None = None,
        too_large: Callable[[], OutOfMemory] | None = None,
    ) -> State:
        """The state after `steps` steps: `step(i, state)` gives the next one, with tensors of the same names and sizes.

        A step must depend on i and the state alone, for then a resumed run gives the same bytes. A state may hold
        "estimate", the clean latent that previews show. Errors are those of `Stepping.run`; `less_extreme` is what to
        do about numbers that are not finite, `too_large` the error for memory that is short.
        """
        phase = _Phase({"estimate": self.estimate, **state}, step, self.decode, less_extreme, too_large)
        try:
            self._stepping.run(name, steps, phase)
        finally:
            self.estimate = phase.current["estimate"]
        return phase.current


class _Phase(Work):
    """Steps that are functions of a state."""

    def __init__(
        self,
        state: State,
        step: Callable[[int, State], State],
        decode: Callable[[Tensor], Image],
        less_extreme: Remedy | None,
        too_large: Callable[[], OutOfMemory] | None,
    ) -> None:
        self.current = state
        self._step, self._decode, self._less_extreme, self._too_large = step, decode, less_extreme, too_large

    def step(self, i: int) -> None:
        self.current = {**self.current, **self._step(i, self.current)}

    def state(self) -> dict[str, Any]:
        return {**self.current}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.current = {name: same_size(state[name], one) for name, one in self.current.items()}

    def numbers(self) -> Mapping[str, Tensor]:
        return self.current

    def preview(self) -> Callable[[], Image]:
        decode, estimate = self._decode, self.current["estimate"]
        return lambda: decode(estimate)

    def less_extreme(self) -> Remedy | None:
        return self._less_extreme

    def too_large(self, what: str, i: int) -> OutOfMemory:
        return super().too_large(what, i) if self._too_large is None else self._too_large()


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
