"""The process belongs to the program that imports gas: what a library must borrow from it is given back here.

Building a network draws first weights from the global random state, some loaders change warning filters, and two that
load at once get into each other's way (transformers and accelerate switch how tensors are made while they load). So
models are loaded one at a time, and random states are put back.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_one_at_a_time = threading.RLock()


@contextmanager
def loading_models() -> Iterator[None]:
    """Within it models may be loaded: no other thread loads, and the random states are afterwards what they were."""
    with _one_at_a_time, random_states_kept():
        yield


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
