"""What a run took from the cache, and what it made anew although the picture was edited before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

Stage = Literal["plan", "regions", "edit"]
Why = Literal["together", "seed"]

_collected: ContextVar[tuple[list[Told], ...]] = ContextVar("told", default=())
_anew: ContextVar[bool] = ContextVar("anew", default=False)


@dataclass(frozen=True)
class Told:
    """A stage that was reused: of which backend (`by`), and `what`: phrases that were found, changes that were made.

    With `anew` it was not: the picture was edited before, but the editor makes its changes "together", or the "seed"
    was another one, by `shift` larger than now.
    """

    stage: Stage
    by: str
    what: tuple[str, ...] = ()
    anew: Why | None = None
    shift: int = 0


def tell(told: Told) -> None:
    """Adds to what is collected, once."""
    for one in _collected.get():
        if told not in one:
            one.append(told)


@contextmanager
def collected() -> Iterator[list[Told]]:
    """Gives the list that fills with what this thread's stages tell while it is within; one around it gets them too."""
    here: list[Told] = []
    token = _collected.set((*_collected.get(), here))
    try:
        yield here
    finally:
        _collected.reset(token)


@contextmanager
def edits_anew() -> Iterator[None]:
    """Within it this thread's edits are made, whatever is kept: for a run whose steps are to be seen."""
    token = _anew.set(True)
    try:
        yield
    finally:
        _anew.reset(token)


def to_edit_anew() -> bool:
    """Whether edits are to be made, whatever is kept."""
    return _anew.get()
