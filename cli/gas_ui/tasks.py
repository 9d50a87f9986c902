"""Long work in the background: one task at a time for each device, the others wait in their order."""

from __future__ import annotations

import secrets
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from gas.characters import visible
from gas.errors import GasError, Interrupted, OutOfResources
from gas.interfaces import Step, Watch
from gas_ui.progress import Progress

State = Literal["waiting", "running", "done", "failed", "stopped"]
Work = Callable[["Task"], Any]


class Task:
    """Work that is waiting, running or over. `error` says why it failed, `progress` how far it is; nobody waits for a
    `quiet` one, and what becomes of it is not told."""

    def __init__(self, kind: str, work: Work, *, quiet: bool = False) -> None:
        self.id = secrets.token_hex(8)
        self.kind, self.quiet = kind, quiet
        self.state: State = "waiting"
        self.error: GasError | None = None
        self.progress = Progress()
        self.began = 0.0
        self.seconds = 0.0
        self._work = work
        self._stop = threading.Event()

    @property
    def over(self) -> bool:
        return self.state not in {"waiting", "running"}

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Asks it to end after the present step."""
        self._stop.set()

    def watch(self, on_step: Callable[[Step], None] | None = None) -> Watch:
        """What the work reports to; its steps move the progress unless they go elsewhere."""
        return Watch(on_step=on_step or self.progress.step, should_stop=self._stop.is_set)

    def begin_stage(self, stage: str, names: str, then: str = "") -> None:
        """For `gas.run.job.OnStage`; `then` is what follows the stage's last step."""
        self.progress.begin(stage, names, then)

    def run(self) -> None:
        """Does the work; whatever it raises becomes the task's error."""
        self.began = time.monotonic()
        self.state = "running"
        state: State = "done"
        try:
            self._work(self)
            state = "stopped" if self.stopping else "done"
        except Interrupted:
            state = "stopped"
        except GasError as error:
            self.error, state = error, "failed"
        except Exception as error:  # noqa: BLE001 - the last place where a bug can be told to the page
            self.error, state = _bug(error), "failed"
        self.seconds = time.monotonic() - self.began
        self.state = state


def _bug(error: Exception) -> GasError:
    """The error for the page; its words, which may hold anything, go to the terminal alone."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return OutOfResources("not enough memory", "give a smaller picture, choose another editor, or close programs")
    sys.stderr.write(visible("".join(traceback.format_exception(error))))
    return GasError(f"internal error: {type(error).__name__}", "this is a bug of gas; the terminal shows more")


class Tasks:
    """The lanes of waiting tasks, by name, each with a thread of its own."""

    def __init__(self) -> None:
        self._lanes: dict[str, list[Task]] = {}
        self._changed = threading.Condition()
        self._closed = False

    def submit(self, lane: str, kind: str, work: Work, *, quiet: bool = False) -> Task:
        """The task that does `work` when everything before it in `lane` is over."""
        task = Task(kind, work, quiet=quiet)
        with self._changed:
            if lane not in self._lanes:
                self._lanes[lane] = []
                threading.Thread(target=self._serve, args=(lane,), name=f"gas-ui-{lane}", daemon=True).start()
            self._lanes[lane].append(task)
            self._changed.notify_all()
        return task

    def place(self, task: Task) -> int:
        """How many tasks that somebody waits for are before this one in its lane; 0: none, or it is over."""
        with self._changed:
            for waiting in self._lanes.values():
                if task in waiting:
                    return sum(not one.quiet for one in waiting[: waiting.index(task)])
        return 0

    def stop_quiet(self, lane: str) -> None:
        """Stops the quiet tasks of a lane, for one that need not wait for what they prepare."""
        with self._changed:
            quiet = [task for task in self._lanes.get(lane, ()) if task.quiet]
        for task in quiet:
            self.stop(task)

    def stop(self, task: Task) -> None:
        """Stops the task: at its next step, or at once where it still waits."""
        task.stop()
        with self._changed:
            for waiting in self._lanes.values():
                if task in waiting[1:] and task.state == "waiting":
                    waiting.remove(task)
                    task.state = "stopped"

    def close(self, seconds: float = 10.0) -> None:
        """Stops everything and waits, at most so long, until what runs has kept its state."""
        with self._changed:
            self._closed = True
            running = [task for waiting in self._lanes.values() for task in waiting]
            for task in running:
                task.stop()
            self._changed.notify_all()
        until = time.monotonic() + seconds
        while time.monotonic() < until and any(task.state == "running" for task in running):
            time.sleep(0.05)

    def _serve(self, lane: str) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or bool(self._lanes[lane]))
                if self._closed:
                    return
                task = self._lanes[lane][0]
            if task.stopping:
                task.state = "stopped"
            else:
                task.run()
            with self._changed, suppress(ValueError):
                self._lanes[lane].remove(task)


def lane(device: str) -> str:
    """The lane for work on `device`: every GPU but the first has its own, all else shares one."""
    return device if device.startswith("cuda:") and device != "cuda:0" else "main"
