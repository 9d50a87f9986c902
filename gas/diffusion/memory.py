"""Failed allocations, named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from gas.errors import OutOfResources


@contextmanager
def memory_named(meant: Callable[[], OutOfResources]) -> Iterator[None]:
    """Within it, a failed allocation is the error that `meant()` gives, which says what did not fit and what to do."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise meant() from None
