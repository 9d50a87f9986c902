"""Benchmarks: what a suite is, what it is given, and what it gives back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas.interfaces import Backend, OptionsT

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gas.backends.registry import Registry

Progress = Callable[[str, int, int], None]
"""Called with what is measured now, how many parts of the whole are done, and how many there are (0: not known)."""


def _quiet(what: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class SuiteJob:
    """All that a suite gets: the backends that can be measured, where to write (None: where it does without being told)
    and whom to tell how far it is."""

    registry: Registry
    out: Path | None = None
    progress: Progress = _quiet


class SuiteReport(ABC):
    """What a suite has measured."""

    @abstractmethod
    def tables(self) -> RenderableType:
        """What a terminal shows; anything that rich can print."""

    @abstractmethod
    def as_json(self) -> Mapping[str, Any]:
        """The figures as plain values, with what they were measured on."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for the reader, e.g. where the figures were written."""
        return ()


class Suite(Backend[OptionsT, SuiteJob]):
    """A benchmark, for `gas bench NAME`. Each of its options is an option of that command."""

    @abstractmethod
    def run(self, job: SuiteJob) -> SuiteReport:
        """The report. Errors as those of whatever is measured; UsageError (2) for what cannot be measured so."""
