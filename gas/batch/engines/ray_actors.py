"""The engine of a cluster: Ray's actors, on a cluster that is there already or on this machine.

Where actors run, and how many machines there are, is Ray's own affair. Pictures travel as files that all machines see,
or through object storage (`s3://…`); an actor gets and gives JSON values alone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gas.batch.engines import wire
from gas.batch.engines.crew import Crew, Event
from gas.batch.engines.interface import Task, WorkerSpec
from gas.errors import GasError, ModelUnavailable, ServiceUnavailable
from gas.process import random_states_kept
from gas.remedies import install


class Actor:
    """What lives in an actor: a worker, whose errors come back as values."""

    def __init__(self, target: str, setup: Mapping[str, Any]) -> None:
        from gas.batch.engines.process import value_of

        self._work, self._value_of = WorkerSpec(target, setup), value_of
        self._worker: Any = None

    def start(self) -> dict[str, Any]:
        """Nothing when it is ready, else the fault."""
        try:
            worker = wire.make_worker(self._work)
            worker.start()
        except GasError as error:
            return wire.error_values(error)
        except Exception as error:  # noqa: BLE001 - a bug of ours is told to the parent, and ends the batch
            return wire.error_values(wire.bug(error))
        self._worker = worker
        return {}

    def run(self, data: dict[str, Any]) -> dict[str, Any]:
        """What comes of a task."""
        value: dict[str, Any] = self._value_of(self._worker, data)
        return value

    def process(self) -> int:
        """The number of its process."""
        return os.getpid()


@dataclass(eq=False)
class _Handle:
    actor: Any
    refs: dict[Any, str] = field(default_factory=dict)
    """What is awaited of it: task ids, or empty for its start."""
    dead: bool = False


class RayEngine(Crew):
    """`count` actors that hold up to `depth` tasks each. `count` 0: one for each GPU of the cluster where `gpu` is set,
    else as many as its cores allow with `threads` each.

    `address` is that of a cluster ("auto": the one that this machine belongs to; empty: one is started here, for this
    batch). A program that is in a cluster already stays in it.
    """

    def __init__(
        self,
        work: WorkerSpec,
        count: int = 0,
        *,
        depth: int = 3,
        threads: int = 1,
        gpu: bool = False,
        address: str = "",
    ) -> None:
        super().__init__(count, depth)
        self._work, self._threads, self._gpu, self._address = work, threads, gpu, address
        self._handles: list[_Handle] = []
        self._own = False
        self._ray: Any = None

    def start(self) -> None:
        with random_states_kept():  # Ray draws names from them
            self._enter()
        there = self._ray.cluster_resources()
        self._gpu = self._gpu and there.get("GPU", 0) >= 1
        if not self._count:
            self._count = int(there.get("GPU", 0)) if self._gpu else max(int(there.get("CPU", 1)) // self._threads, 1)
        with random_states_kept():
            super().start()

    def _enter(self) -> None:
        """Gets into a cluster, or starts one."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent that was not asked for
        try:
            import ray
        except ImportError:
            raise ModelUnavailable(
                "the engine ray needs the package ray, which is missing", install("gas-edit[batch]")
            ) from None
        self._ray = ray
        if ray.is_initialized():
            return
        self._own = True
        where: dict[str, Any] = (
            {"address": self._address}
            if self._address
            else {"num_cpus": max(self._count * self._threads, os.cpu_count() or 1), "include_dashboard": False}
        )
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **where)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise ServiceUnavailable(f"Ray cannot be reached or started: {error}", "see its own logs") from None

    def stop(self) -> None:
        with random_states_kept():
            super().stop()
            if self._own and self._ray is not None:
                self._ray.shutdown()
        self._own = False

    def launch(self, name: str) -> _Handle:
        options = {
            "num_cpus": self._threads,
            "num_gpus": 1 if self._gpu else 0,
            "max_concurrency": self._depth + 1,
            "max_restarts": 0,
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(self._threads)}},
        }
        actor = self._ray.remote(Actor).options(**options).remote(self._work.target, dict(self._work.setup))
        handle = _Handle(actor)
        handle.refs[actor.start.remote()] = ""
        self._handles.append(handle)
        return handle

    def send(self, handle: _Handle, task: Task) -> None:
        handle.refs[handle.actor.run.remote(dict(task.data))] = task.id

    def events(self, wait: float) -> list[Event]:
        owner = {ref: handle for handle in self._handles for ref in handle.refs}
        if not owner:
            return []
        ready, _ = self._ray.wait(list(owner), num_returns=1, timeout=wait)
        if ready:
            ready, _ = self._ray.wait(list(owner), num_returns=len(owner), timeout=0)
        found: list[Event] = []
        for ref in ready:
            found += self._heard(owner[ref], ref)
        return found

    def end(self, handles: Sequence[_Handle]) -> None:
        for handle in handles:
            self._ray.kill(handle.actor)
            if handle in self._handles:
                self._handles.remove(handle)

    def _heard(self, handle: _Handle, ref: Any) -> list[Event]:
        if handle.dead:
            return []
        id = handle.refs.pop(ref)
        try:
            value = self._ray.get(ref)
        except self._ray.exceptions.RayActorError as error:
            handle.dead = True
            return [Event(handle, "died", reason=f"the actor died: {_first_line(error)}")]
        except self._ray.exceptions.RayError as error:
            return [Event(handle, "value", id, {"error": wire.error_values(wire.bug(error))})]
        if id:
            return [Event(handle, "value", id, value)]
        if value:
            return [Event(handle, "fault", fault=wire.error_from(value))]
        return [Event(handle, "ready")]


def _first_line(error: Exception) -> str:
    """What Ray says of a death, without its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:300]
