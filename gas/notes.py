"""What a user should know of a run that is no error: the one way from libraries and backends to people and records.

`warn` is Python's own warning, so a program filters it like any other, and besides it is kept for whoever collects the
warnings of a run. The command line hands every warning that a backend gives to `keep`, shows each once, and writes them
into `--json`; `gas.run.job` writes them into the record.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

MAX_NOTES, MAX_CHARACTERS = 100, 2000


class OfThisRun(UserWarning):
    """The category of what holds for one run on one machine: it is shown, and in no record, for a replay that does the
    same work need not say it again."""


_collected: ContextVar[tuple[tuple[list[str], bool], ...]] = ContextVar("collected", default=())


def warn(message: str, *, stacklevel: int = 1, category: type[UserWarning] = UserWarning) -> None:
    """Warns of something that was not done, or not as asked. `stacklevel` as for `warnings.warn`: 1 is the caller."""
    keep(message, category)
    warnings.warn(message, category, stacklevel=stacklevel + 1)


def keep(message: str, category: type[Warning] = UserWarning) -> None:
    """Adds a sentence to what is collected, once, on one line of printable characters, cut at 2000 of them."""
    sentence = plain(message)
    for one, recorded in _collected.get():
        if recorded and issubclass(category, OfThisRun):
            continue
        if sentence and sentence not in one and len(one) < MAX_NOTES:
            one.append(sentence)


@contextmanager
def collected(*, recorded: bool = False) -> Iterator[list[str]]:
    """Gives the list that fills with the warnings of this thread while it is within; one around it gets them too. Where
    they are to be `recorded` it does without those that are `OfThisRun`."""
    here: list[str] = []
    token = _collected.set((*_collected.get(), (here, recorded)))
    try:
        yield here
    finally:
        _collected.reset(token)


def plain(text: str) -> str:
    """The text on one line of printable characters, at most 2000: backends may quote what strangers wrote."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * MAX_CHARACTERS]).split())
    return line if len(line) <= MAX_CHARACTERS else f"{line[: MAX_CHARACTERS - 1]}…"


def joined(*several: Sequence[str]) -> tuple[str, ...]:
    """All sentences in their order, each once."""
    return tuple(dict.fromkeys(sentence for sentences in several for sentence in sentences))
