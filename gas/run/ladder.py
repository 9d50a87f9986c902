"""Tried again with less memory: what an edit that ran out of it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from gas import notes
from gas.errors import OutOfMemory

if TYPE_CHECKING:
    from gas.run.session import Session

T = TypeVar("T")


def climbing(session: Session, make: Callable[[], T]) -> T:
    """What `make()` gives. Where memory is short the session's models are dropped, its backends made anew and it is
    called again, with networks placed one rung lower (`gas.placement`), and that is said.

    OutOfMemory (exit 7), the last one, where there is no rung below, or nothing that a rung would move.
    """
    while True:
        try:
            return make()
        except OutOfMemory as error:
            # its traceback holds what filled the memory
            short = error.with_traceback(None)
            short.__context__ = short.__cause__ = None
        rung = session.climb_down()
        if rung is None:
            raise short
        notes.warn(f"{short.message}: tried again with memory {rung}", category=notes.OfThisRun)
