"""All that one server holds: its windows, their tasks, the models that they share, and the folder of their files."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas.backends.registry import Registry
from gas.errors import UsageError
from gas.folders import cache_folder
from gas.settings.catalogue import examples
from gas_ui.scratch import Scratch
from gas_ui.tasks import Task, Tasks, lane
from gas_ui.window import Window

if TYPE_CHECKING:
    from gas.backends.profiles import Example
    from gas.runtime import Runtime

MAX_WINDOWS = 64
"""Windows that are kept; the one that was opened first makes room, unless it has something at work."""

WITH_THE_EDITOR = {"edit", "compare", "replay"}
"""The tasks that use what `gas_ui.work.measure` loads."""


class Desk:
    """What the routes work on. `close` stops all tasks and removes the folder."""

    def __init__(self) -> None:
        self._scratch = Scratch()
        self.registry = Registry.discover()
        self.registry.runs = cache_folder() / "runs"
        self.tasks = Tasks()
        self.windows: dict[str, Window] = {}
        self._runtimes: dict[tuple[object, ...], Runtime] = {}
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """Where everything of this server is."""
        return self._scratch.folder

    @cached_property
    def examples(self) -> list[Example]:
        """The pictures to try."""
        return [example for _, example in examples(self.registry)]

    def open_window(self) -> Window:
        """A new window."""
        window = Window(self.folder, self.registry, self._shared, self._later)
        with self._lock:
            self.windows[window.id] = window
            idle = [one for one in self.windows.values() if one.task is None or one.task.over]
            for old in idle[: max(len(self.windows) - MAX_WINDOWS, 0)]:
                del self.windows[old.id]
                shutil.rmtree(old.folder, ignore_errors=True)
        return window

    def window(self, id: str) -> Window:
        """The window with this id. UsageError for one that is gone."""
        found = self.windows.get(id)
        if found is None:
            raise UsageError("this window is not known: gas ui was started anew", "reload the page")
        return found

    def start(self, window: Window, kind: str, work: Callable[[Task], Any]) -> Task:
        """A task of the window, which has one at a time. UsageError while another one is not over."""
        with window.lock:
            window.check_idle()
            where = lane(window.session().settings.device)
            if kind not in WITH_THE_EDITOR:
                self.tasks.stop_quiet(where)
            window.task = self.tasks.submit(where, kind, work)
            return window.task

    def _later(self, window: Window, work: Callable[[Task], Any]) -> None:
        """Does `work` when nothing else is to be done on the window's device."""
        self.tasks.submit(lane(window.session().settings.device), "measure", work, quiet=True)

    def close(self) -> None:
        """Stops what runs and removes all files."""
        self.tasks.close()
        self._scratch.close()

    def _shared(self, runtime: Runtime) -> Runtime:
        """The one that says the same as `runtime`: models are loaded once, whatever the window."""
        key = tuple(getattr(runtime, one.name) for one in fields(runtime) if not one.name.startswith("_"))
        with self._lock:
            return self._runtimes.setdefault(key, runtime)
