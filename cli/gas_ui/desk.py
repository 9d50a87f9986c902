"""All that one server holds: its windows, their tasks, the models that they share, and the folder of their files."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas.backends.registry import Registry
from gas.errors import UsageError
from gas.folders import cache_folder
from gas.runtime import Runtime
from gas.settings.catalogue import examples
from gas_ui.scratch import Scratch
from gas_ui.tasks import Task, Tasks, lane
from gas_ui.window import Window

if TYPE_CHECKING:
    from gas.backends.profiles import Example
    from gas.settings.settings import Settings

MAX_WINDOWS = 64
"""Windows that are kept; the one that was opened first makes room, unless it has something at work."""


class Desk:
    """What the routes work on. `close` stops all tasks and removes the folder."""

    def __init__(self) -> None:
        self._scratch = Scratch()
        self.registry = Registry.discover()
        self.registry.runs = cache_folder() / "runs"
        self.tasks = Tasks()
        self.windows: dict[str, Window] = {}
        self._runtimes: dict[tuple[Any, ...], Runtime] = {}
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
        window = Window(self.folder, self.registry, self._runtime)
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
            window.task = self.tasks.submit(lane(window.session().settings.device), kind, work)
            return window.task

    def close(self) -> None:
        """Stops what runs and removes all files."""
        self.tasks.close()
        self._scratch.close()

    def _runtime(self, settings: Settings) -> Runtime:
        """The one for these settings: models are loaded once, whatever the window."""
        key = (settings.device, settings.dtype, settings.offline, settings.memory)
        with self._lock:
            if key not in self._runtimes:
                self._runtimes[key] = Runtime(*key)
            return self._runtimes[key]
