"""The one runner of everything that goes step by step: distillation, sampling, instructions, training on a picture.

It asks before each step whether to stop, reports and previews, keeps states and resumes from them, refuses what is not
finite, and names memory that is short. What a step does is the business of a `Work`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gas.checkpoint import of_this_run, prefixed, under
from gas.diffusion.memory import memory_named
from gas.errors import OutOfMemory, ResultRefused
from gas.interfaces import Step, Watch
from gas.remedies import USE_BF16, Remedy, Setting

if TYPE_CHECKING:
    from gas.types import Image

State = dict[str, Any]
"""Tensors, arrays and plain JSON values by name."""

KEPT_EVERY = 10
"""Steps between two kept states, over all works of a run; numbers that wait for the device are reported as often."""

FORMAT = 2
"""Version of what a kept state holds. States of another one are refused."""

_LESS_GUIDANCE = Remedy(
    "use_fp32_or_less_guidance",
    "try {dtype}, a smaller guidance_scale, or another model",
    dtype=Setting("dtype", "fp32"),
)


class Stopped(Exception):
    """A run was told to stop. Its works are as the last step left them."""


class Work(ABC):
    """Something that is done step by step. What step i does must depend on i and on what `state` holds alone, for then
    a resumed run gives the same bytes."""

    @abstractmethod
    def step(self, i: int) -> None:
        """Makes step i, counted from 0."""

    @abstractmethod
    def state(self) -> State:
        """All that `restore` needs to resume bit for bit. It need not be copied."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Resumes from a `state`. Whatever it raises for one that does not fit means that it is another run's."""

    @property
    def finished(self) -> bool:
        """Whether the work has come to its end before its last step."""
        return False

    def numbers(self) -> Mapping[str, Tensor]:
        """What must be finite after each step, by its name."""
        return {}

    def not_finite(self, what: str, name: str, i: int) -> ResultRefused:
        """The error for the number `name` that is not finite after step i of the work called `what`."""
        return ResultRefused(
            f"the {what} is not a finite number any more ({name}, step {i + 1})", self.less_extreme() or _LESS_GUIDANCE
        )

    def less_extreme(self) -> Remedy | None:
        """What to do when numbers run away; None: less guidance."""
        return None

    def too_large(self, what: str, i: int) -> OutOfMemory:
        """The error for memory that is short in step i of the work called `what`."""
        return OutOfMemory(f"not enough memory for step {i + 1} of the {what}", USE_BF16)

    def values(self, renewed: bool) -> Mapping[str, float]:
        """What is reported beside the step's number. Numbers that wait for the device need be new only if `renewed`."""
        return {}

    def preview(self) -> Callable[[], Image] | None:
        """What decodes the present state to a picture, also when more steps have been made since; None: it has none."""
        return None


class Stepping:
    """The steps of one run, work after work: `watch` is reported to, asked, given states and resumed from; `total` is
    how many steps all works together make, `done` how many are made."""

    def __init__(self, watch: Watch, total: int) -> None:
        self.watch, self.total = watch, total
        self.done = 0
        self._works: dict[str, tuple[int, Work]] = {}

    def skip(self, steps: int) -> None:
        """Counts steps that need not be made, since their result is known."""
        self.done += steps

    def run(self, name: str, steps: int, work: Work) -> None:
        """Makes the steps of `work` that are left, at most `steps` in all. Each work of a run has a `name` of its own
        (ValueError).

        Stopped when the watch says so, after the state was kept; ResultRefused (exit 11) when a number is not finite;
        OutOfMemory (exit 7) when memory is short; InputRefused (exit 3) for a state that is not this run's, or of
        another format.
        """
        if name in self._works:
            raise ValueError(f"two works of a run are called {name!r}: a resumed run could not tell them apart")
        first = self._restored(name, steps, work)
        self._works[name] = (first, work)
        self.done += first
        for i in range(first, steps):
            if work.finished:
                return
            if self.watch.should_stop():
                self.keep()
                raise Stopped
            with memory_named(lambda i=i: work.too_large(name, i)):  # type: ignore[misc]
                work.step(i)
            _refuse_not_finite(name, i, work)
            self.done += 1
            self._works[name] = (i + 1, work)
            if self.watch.on_step is not None:
                renewed = i == first or self.done % KEPT_EVERY == 0 or i + 1 == steps or work.finished
                self.watch.on_step(Step(self.done, self.total, work.values(renewed), work.preview()))
            if self.done % KEPT_EVERY == 0:
                self.keep()

    def keep(self) -> None:
        """Gives the watch a copy of the state of all works, on the CPU."""
        if self.watch.checkpoint is None:
            return
        state: State = {"stepping": FORMAT}
        for name, (steps, work) in self._works.items():
            state |= {f"{name}.step": steps, **prefixed(f"{name}.", work.state())}
        self.watch.checkpoint({name: _copied(value) for name, value in state.items()})

    def _restored(self, name: str, steps: int, work: Work) -> int:
        """How many steps of `work` the watch's state has made; the work is then as they left it."""
        saved = self.watch.resume
        if saved is None:
            return 0
        with of_this_run(RuntimeError):
            if saved.get("stepping") != FORMAT:
                raise ValueError(f"its format is {saved.get('stepping')!r}, not {FORMAT}")
            if f"{name}.step" not in saved:
                return 0
            done = int(saved[f"{name}.step"])
            if not 0 <= done <= steps:
                raise ValueError("its number of steps differs")
            work.restore(under(saved, f"{name}."))
        return done


def same_size(value: Any, like: Tensor) -> Tensor:
    """A tensor of a state in the form, format and place of `like`. ValueError unless the sizes are the same."""
    if value.shape != like.shape:
        raise ValueError(f"its size differs: {tuple(value.shape)}, not {tuple(like.shape)}")
    return value.to(like)


def _refuse_not_finite(name: str, i: int, work: Work) -> None:
    numbers = {key: one for key, one in work.numbers().items() if one.is_floating_point()}
    # One question to the device for all of them.
    if not numbers or bool(torch.stack([torch.isfinite(one).all() for one in numbers.values()]).all()):
        return
    raise work.not_finite(name, next(key for key, one in numbers.items() if not bool(torch.isfinite(one).all())), i)


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    return value.copy() if isinstance(value, np.ndarray | list | dict) else value
