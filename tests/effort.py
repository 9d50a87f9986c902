"""Work that is bounded: in processor time, which a busy machine does not stretch as it does the clock's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fails when the block takes more processor time than `seconds`. A bound is many times what is needed: it tells
    work in proportion to the input from work without an end, and measures no speed."""
    begin = time.process_time()
    yield
    taken = time.process_time() - begin
    assert taken < seconds, f"{taken:.1f} s of processor time"
