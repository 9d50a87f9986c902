"""Standard output is for data alone: what a backend or a library prints goes to standard error."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from gas.process import is_backend_at_work


class _DataOnly:
    """Stands for standard output; while a backend is at work it is standard error. It cannot be closed."""

    def __init__(self, data: TextIO) -> None:
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr if is_backend_at_work() else self._data, name)

    def close(self) -> None:
        pass


@contextlib.contextmanager
def for_data() -> Iterator[TextIO]:
    """Within it `sys.stdout` is for data alone. Gives that stream, since a plugin may put another in its place."""
    before = sys.stdout
    stream: Any = _DataOnly(before)
    sys.stdout = stream
    try:
        yield stream
    finally:
        sys.stdout = before


def flushed() -> bool:
    """Whether standard output and standard error have taken all that was printed. What one did not take, whose reader
    has gone or whose disk is full, is dropped, so that the interpreter does not stumble over it when it ends."""
    taken = True
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
            taken = False
    return taken


def keep_for_data() -> None:
    """Moves standard output away from file descriptor 1, which is from now on standard error: what programs that a
    backend starts and libraries in C print does not get into the data either. For the process of the command line."""
    if sys.stdout is None or sys.stderr is None:
        return
    try:
        if (sys.stdout.fileno(), sys.stderr.fileno()) != (1, 2):
            return
        sys.stdout.flush()
        data = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, buffering=1)
        os.dup2(2, 1)
    except OSError:
        return
    sys.stdout = data
