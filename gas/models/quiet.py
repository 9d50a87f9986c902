"""Libraries' own progress bars, kept off the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gas.process import is_own


@contextmanager
def no_bars(*libraries: Any) -> Iterator[None]:
    """Within it, in a program's own process, the `libraries` draw no bars; those that were off stay off.

    `libraries` are modules such as `transformers.utils.logging` and `diffusers.utils.logging`. Whether they draw bars
    is a setting of the process, so it is left alone where gas is only a library in it (`gas.process.own_process`).
    """
    shown = [library for library in libraries if is_own() and library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()
