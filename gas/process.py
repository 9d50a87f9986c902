"""The process belongs to the program that imports gas: what a library must borrow from it is given back here.

Building a network draws first weights from the global random state, some loaders change warning filters, and two that
load at once get into each other's way (transformers and accelerate switch how tensors are made while they load). So
models are loaded one at a time, and random states are put back. Loading can take minutes; a user who has asked to stop
does not wait for its end.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from gas.errors import Interrupted

_one_at_a_time = threading.RLock()
_counting = threading.Lock()
_at_work = 0
_should_stop: ContextVar[Callable[[], bool]] = ContextVar("should_stop", default=lambda: False)
_descriptors = threading.RLock()
_owned = False


@contextmanager
def loading_models() -> Iterator[None]:
    """Within it models may be loaded: no other thread loads, and the random states are afterwards what they were.

    Interrupted (exit 130) when the user has asked to stop by then: see `loading_stops_when`.
    """
    check_loading()
    with _one_at_a_time, random_states_kept():
        yield


@contextmanager
def loading_stops_when(should_stop: Callable[[], bool]) -> Iterator[None]:
    """Within it `should_stop()` is asked before each model, and each part of one, is loaded by this thread."""
    token = _should_stop.set(should_stop)
    try:
        yield
    finally:
        _should_stop.reset(token)


def check_loading() -> None:
    """Raises Interrupted (exit 130) when the user has asked to stop: for a loader to call between the parts of a
    model."""
    if _should_stop.get()():
        raise Interrupted("stopped while a model was being loaded; nothing has been made yet")


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Puts the global random states of Python, numpy and torch (CPU) back, whatever is drawn or seeded within it.

    A library that is first imported within it is left as it is after its import.
    """
    python = random.getstate()
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    numbers = numpy.random.get_state() if numpy is not None else None
    tensors = torch.random.get_rng_state() if torch is not None else None
    try:
        yield
    finally:
        random.setstate(python)
        if numpy is not None:
            numpy.random.set_state(numbers)
        if torch is None:
            _as_imported(sys.modules.get("torch"))
        else:
            torch.random.set_rng_state(tensors)


def _as_imported(torch: Any) -> None:
    """Takes back what has been drawn since torch was imported: its generator starts again from its own first seed."""
    if torch is not None:
        torch.default_generator.manual_seed(torch.default_generator.initial_seed())


# --- a program's own process ------------------------------------------------------------------------------------------


@contextmanager
def own_process() -> Iterator[None]:
    """Within it gas may change what belongs to the process: for the main function of a program, never for a library."""
    global _owned
    before, _owned = _owned, True
    try:
        yield
    finally:
        _owned = before


def is_own() -> bool:
    """Whether gas may change what belongs to the process (`own_process`)."""
    return _owned


@contextmanager
def native_messages_hidden() -> Iterator[None]:
    """Within it, in a program's own process, what native code writes to standard error goes nowhere.

    Elsewhere (see `own_process`) it does nothing: file descriptor 2 belongs to whoever imports gas.
    """
    if not _owned:
        yield
        return
    with _descriptors:
        try:
            kept = os.dup(2)
        except OSError:  # no standard error at all, as in a windowed program
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)


# --- whose code runs -------------------------------------------------------------------------------------------------


@contextmanager
def backend_at_work() -> Iterator[None]:
    """Within it the code of a backend runs: see `is_backend_at_work`."""
    global _at_work
    with _counting:
        _at_work += 1
    try:
        yield
    finally:
        with _counting:
            _at_work -= 1


def is_backend_at_work() -> bool:
    """Whether the code of a backend runs in any thread: what is printed then is not the program's own."""
    return _at_work > 0
