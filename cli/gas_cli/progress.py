"""Watching a run from a terminal: the bar, previews, and Ctrl-C that keeps the latest state."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gas.errors import Interrupted

if TYPE_CHECKING:
    from gas.interfaces import Step
    from gas.types import Image


class Stop:
    """Whether the user asked to stop, and with which signal."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.signal = 0

    def __call__(self) -> bool:
        return self._event.is_set()

    def ask(self, number: int) -> None:
        self.signal = number
        self._event.set()


@contextmanager
def stoppable(
    console: Console, words: str = "stopping after this step; what is made by then is kept (again to quit at once)"
) -> Iterator[Stop]:
    """A Stop that the first Ctrl-C (or SIGTERM) sets; the second one quits at once. Old handlers come back."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    previous = {number: signal.getsignal(number) for number in numbers}

    def handle(number: int, frame: FrameType | None) -> None:
        if stop():
            for each in numbers:
                signal.signal(each, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.ask(number)
        console.print(f"[yellow]{words}[/]")

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield stop
    except Interrupted as error:  # whoever raised it knows nothing of signals
        if stop.signal:
            error.exit_code = 128 + stop.signal
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Stages:
    """What is shown before the first step of an edit: the stage, who is asked, and the steps of long ones."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show, self._doing = show, ""

    def begin(self, stage: str, names: str) -> None:
        doing = {"plan": "planning", "ground": "looking for the things"}.get(stage, stage)
        self._doing = f"{doing} ({names})" if names else doing
        self._show(f"{self._doing} …")

    def step(self, step: Step) -> None:
        self._show(f"{self._doing}: {step.index} of {step.total} …")


@contextmanager
def stages(console: Console, show: bool) -> Iterator[Stages]:
    """Stages shown in one line, on a terminal only."""
    if not show or not sys.stderr.isatty():
        yield Stages(lambda text: None)
        return
    with console.status("") as status:
        yield Stages(lambda text: status.update(escape(text)))


@contextmanager
def step_bar(console: Console, title: str, show: bool) -> Iterator[Callable[[Step], None]]:
    """A callback for `Watch.on_step` that draws a bar with the step, the time left and a live number.

    Nothing is drawn when standard error is not a terminal or `show` is False.
    """
    if not show or not sys.stderr.isatty():
        yield lambda step: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[live]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=None, live="")

        def update(step: Step) -> None:
            live = live_numbers(step)
            progress.update(task, completed=step.index, total=step.total, live=live)

        yield update


def live_numbers(step: Step) -> str:
    """The first three numbers of a step with their names, each in a place of its own that does not move."""
    return "  ".join(f"{name} {value:<9.3g}" for name, value in list(step.values.items())[:3])


def forecast(console: Console, after: int = 10) -> Callable[[Step], None]:
    """A callback for `Watch.on_step`: says once, after so many steps, about how long and how large the run will be."""
    began: list[tuple[int, float]] = []
    said: list[str] = []

    def say(step: Step) -> None:
        if not began:
            began.append((step.index, time.perf_counter()))
        (first, since), now = began[0], time.perf_counter()
        if said or step.index < first + after or step.index >= step.total:
            return
        seconds = (now - since) / (step.index - first) * (step.total - step.index)
        memory = _resident_gigabytes()
        said.append(
            f"{step.total} steps, about {max(round(seconds), 1)} s to go"
            + (f", {memory:.1f} GB of memory" if memory else "")
        )
        console.print(said[0], markup=False, soft_wrap=True)

    return say


def _resident_gigabytes() -> float | None:
    """The memory of this process in 10^9 bytes, where the system tells."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9
    except (OSError, ValueError, AttributeError):
        return None


def previews(every: int, write: Callable[[int, Image], None]) -> Callable[[Step], None]:
    """A callback for `Watch.on_step`: decodes the picture every `every` steps and hands it to `write(step, image)`."""

    def show(step: Step) -> None:
        if step.preview is not None and step.index % every == 0 and step.index < step.total:
            write(step.index, step.preview())

    return show


@contextmanager
def count_bar(console: Console, show: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A callback `(what, done, total)` that draws a bar on a terminal, or else a line now and then."""
    if not show or not sys.stderr.isatty():
        said: list[str] = []

        def line(what: str, done: int, total: int) -> None:
            if show and what and what not in said:
                said.append(what)
                console.print(f"{what}: {done} of {total} done before it" if total else what, markup=False)

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda what, done, total: progress.update(task, description=what, completed=done, total=total or None)
