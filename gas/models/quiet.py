"""Libraries' own progress bars, kept off the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def no_bars(*libraries: Any) -> Iterator[None]:
    """Within it, the `libraries` draw no progress bars; those that were off before stay off.

    `libraries` are modules such as `transformers.utils.logging` and `diffusers.utils.logging`.
    """
    shown = [library for library in libraries if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()
