"""What engines share: which worker gets which task, and what follows when a worker dies."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gas.batch.engines.interface import Engine, Outcome, State, Task
from gas.errors import GasError, OutOfResources

MAX_STARTS = 3
"""How often in a row a worker may die before it is ready."""


@dataclass
class Member:
    """A worker: `handle` is the engine's own."""

    name: str
    handle: Any
    ready: bool = False
    alone: bool = False
    tasks: dict[str, Task] = field(default_factory=dict)
    done: int = 0
    failed_starts: int = 0


@dataclass(frozen=True)
class Event:
    """What was heard of a worker, which `handle` names: it is ready, it returned `value` for the task `id`, it cannot
    start (`fault`), or it died, with `reason`."""

    handle: Any
    kind: Literal["ready", "value", "fault", "died"]
    id: str = ""
    value: Mapping[str, Any] = field(default_factory=dict)
    fault: GasError | None = None
    reason: str = ""


class Crew(Engine):
    """An engine of `count` workers that hold up to `depth` tasks each. A child says how workers are launched, sent
    tasks, heard and ended."""

    def __init__(self, count: int, depth: int) -> None:
        self._count, self._depth = count, depth
        self._members: list[Member] = []
        self._waiting: deque[Task] = deque()

    @abstractmethod
    def launch(self, name: str) -> Any:
        """Starts a worker and returns its handle, without waiting for it."""

    @abstractmethod
    def send(self, handle: Any, task: Task) -> None:
        """Hands a task to a worker. One that has died meanwhile is heard of as an event."""

    @abstractmethod
    def events(self, wait: float) -> Sequence[Event]:
        """What was heard of the workers; waits up to `wait` seconds for the first."""

    @abstractmethod
    def end(self, handles: Sequence[Any]) -> None:
        """Ends workers, all at the same time."""

    def start(self) -> None:
        self._members = [Member(str(n), self.launch(str(n))) for n in range(1, self._count + 1)]

    def stop(self) -> None:
        members, self._members = self._members, []
        self._waiting.clear()
        self.end([member.handle for member in members])

    def room(self) -> int:
        held = len(self._waiting) + sum(len(member.tasks) for member in self._members)
        return max(self._count * self._depth - held, 0)

    def submit(self, task: Task) -> None:
        self._waiting.append(task)
        self._assign()

    def results(self, wait: float) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for event in self.events(wait):
            member = next((one for one in self._members if one.handle is event.handle), None)
            if member is None:  # a worker that was replaced
                continue
            if event.kind == "fault" and event.fault is not None:
                raise event.fault
            if event.kind == "ready":
                member.ready, member.failed_starts = True, 0
            elif event.kind == "value" and member.tasks.pop(event.id, None) is not None:
                member.done += 1
                outcomes.append(Outcome(event.id, member.name, event.value))
            elif event.kind == "died":
                outcomes += self._died(member, event.reason)
            if not member.tasks:
                member.alone = False
        self._assign()
        return outcomes

    def workers(self) -> list[State]:
        return [State(one.name, one.ready, tuple(one.tasks), one.done) for one in self._members]

    def _died(self, member: Member, reason: str) -> list[Outcome]:
        """What the dead worker's tasks come back as; a new worker takes its place."""
        if not member.ready:
            member.failed_starts += 1
            if member.failed_starts >= MAX_STARTS:
                raise OutOfResources(
                    f"worker {member.name} died {MAX_STARTS} times before it was ready: {reason}",
                    "see ledger/worker-*.log in the output folder; fewer workers need less memory",
                )
        lost = [Outcome(id, member.name, died=reason) for id in member.tasks]
        member.tasks.clear()
        member.ready = member.alone = False
        self.end([member.handle])
        member.handle = self.launch(member.name)
        return lost

    def _assign(self) -> None:
        """Hands waiting tasks, in their order, to workers that are ready. A task that is to be alone waits until a
        worker is idle, and those behind it wait too: that is rare and short."""
        while self._waiting:
            task = self._waiting[0]
            most = 1 if task.alone else self._depth
            free = [one for one in self._members if one.ready and not one.alone and len(one.tasks) < most]
            if not free:
                return
            member = min(free, key=lambda one: len(one.tasks))
            self._waiting.popleft()
            member.alone = task.alone
            member.tasks[task.id] = task
            self.send(member.handle, task)
