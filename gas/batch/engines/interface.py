"""What an engine is: tasks are handed in, outcomes come back, whatever happens to the workers between."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class WorkerSpec:
    """What workers do. `target`, "module:Class", is made once in each worker with `setup`, a table of JSON values, and
    is a `Worker`."""

    target: str
    setup: Mapping[str, Any] = field(default_factory=dict)


class Worker(Protocol):
    """What lives in a worker. It is called from several threads at once, so that it can prepare one task while another
    is on the device."""

    def start(self) -> None:
        """Gets ready before the first task. A GasError ends the batch: it is a fault of the job and of no task."""

    def __call__(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """The outcome of one task, as a table of JSON values. What goes wrong with the task is part of it."""

    def stop(self) -> None:
        """Asks the calls that are under way to end soon."""


@dataclass(frozen=True)
class Task:
    """A table of JSON values for a worker. `alone`: on a worker that does nothing else meanwhile."""

    id: str
    data: Mapping[str, Any]
    alone: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of the task `id`: the worker's `value`, or how the worker `died` while it had the task."""

    id: str
    worker: str
    value: Mapping[str, Any] = field(default_factory=dict)
    died: str = ""


@dataclass(frozen=True)
class State:
    """A worker as it is shown: whether it is ready, the tasks that it has, and how many it has done."""

    name: str
    ready: bool
    tasks: tuple[str, ...]
    done: int


class Engine(ABC):
    """Runs tasks on workers. A worker that dies is started again; the tasks that it had come back as `died`, each once.

    Used as a context: workers are started when it is entered, and none is left when it is over.
    """

    def __enter__(self) -> Engine:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None:
        """Starts the workers, without waiting for them."""

    @abstractmethod
    def room(self) -> int:
        """How many more tasks are worth handing in now."""

    @abstractmethod
    def submit(self, task: Task) -> None:
        """Hands in a task. It never waits."""

    @abstractmethod
    def results(self, wait: float) -> Sequence[Outcome]:
        """The outcomes that are there, each once; waits up to `wait` seconds for the first. The GasError with which a
        worker could not start."""

    @abstractmethod
    def workers(self) -> Sequence[State]:
        """The workers as they are now."""

    @abstractmethod
    def stop(self) -> None:
        """Ends all workers, soon and without outcomes: what was under way has left whole files or none."""
