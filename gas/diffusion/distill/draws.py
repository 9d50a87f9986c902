"""The times and noises that a run uses, drawn from one generator on the CPU, so that they are the same on every
device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from gas.diffusion.schedule import Schedule

TOrder = Literal["uniform", "logit-normal", "descending"]


class Draw(NamedTuple):
    """One time t and one noise eps `(1, C, h, w)`. Draws with the same `slot` are the same pair (a bank), so that
    what depends on nothing else is computed once."""

    t: float
    eps: Tensor
    slot: int | None = None


class Draws:
    """`count` draws. Times (and a bank's noises) are drawn here and now, the other noises one by one while a run goes
    on.

    * schedule: in whose times they are.
    * t_range: first and last t, both included.
    * order: "uniform" over t_range; "logit-normal" puts more times in its middle; "descending" goes from much to
      little noise once.
    * bank: 0, or the number of fixed (t, eps) pairs, spread evenly over t_range (one at random in each part), that are
      gone through in a new order each round. It turns the expectation over (t, eps) into a finite sum.
    """

    def __init__(
        self,
        generator: torch.Generator,
        shape: tuple[int, ...],
        count: int,
        schedule: Schedule,
        t_range: tuple[float, float] = (50, 948),
        order: TOrder = "uniform",
        bank: int = 0,
    ) -> None:
        first, last = t_range
        if not schedule.clean < first <= last <= schedule.noisiest:
            raise ValueError(f"t_range {t_range} must be two noisy times of the schedule, the smaller one first")
        self._generator = generator
        self._shape = shape
        if bank:
            shares = (torch.arange(bank) + torch.rand(bank, generator=generator)) / bank
            bank_times = _times(shares, schedule, t_range, order)
            self._bank = [torch.randn(shape, generator=generator) for _ in range(bank)]
            rounds = [torch.randperm(bank, generator=generator).tolist() for _ in range(-(-count // bank))]
            self._slots = [slot for one in rounds for slot in one][:count]
            if order == "descending":
                self._slots.sort(key=lambda slot: -bank_times[slot])
            self.times = [bank_times[slot] for slot in self._slots]
        else:
            even = order == "descending"
            shares = 1 - (torch.arange(count) + 0.5) / count if even else torch.rand(count, generator=generator)
            self._bank, self._slots = [], []
            self.times = _times(shares, schedule, t_range, order)

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[Draw]:
        return self.after(0)

    def after(self, used: int) -> Iterator[Draw]:
        """The draws that come after the first `used`. The noises go on from the generator's state: who resumes a run
        sets it."""
        for index in range(used, len(self.times)):
            if self._bank:
                slot = self._slots[index]
                yield Draw(self.times[index], self._bank[slot], slot)
            else:
                yield Draw(self.times[index], torch.randn(self._shape, generator=self._generator))


def _times(shares: Tensor, schedule: Schedule, t_range: tuple[float, float], order: TOrder) -> list[float]:
    """The times at these quantiles (in [0, 1)) of the order's distribution over t_range."""
    if order == "logit-normal":
        shares = torch.special.ndtri(shares.double()).sigmoid()
    return schedule.drawn(shares, *t_range)


def draws_after(draws: Iterable[tuple[float, Tensor] | Draw], used: int) -> Iterator[Draw]:
    """What is left of any iterable of (t, eps) pairs after the first `used`."""
    if isinstance(draws, Draws):
        return draws.after(used)
    return (Draw(*draw) for draw in islice(draws, used, None))
