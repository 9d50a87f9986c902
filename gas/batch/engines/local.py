"""The engine of one machine: worker processes, each with its models loaded; on GPUs one for each."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from gas.batch.engines import wire
from gas.batch.engines.crew import Crew, Event
from gas.batch.engines.interface import Task, WorkerSpec

_GRACE = 2.0
"""Seconds that workers get to end by themselves."""


@dataclass(eq=False)
class _Process:
    """A worker process. What is to be sent is written by a thread of its own, so that nobody waits for a worker."""

    popen: subprocess.Popen[bytes]
    outbox: queue.SimpleQueue[bytes | None] = field(default_factory=queue.SimpleQueue)


class LocalEngine(Crew):
    """`count` processes that hold up to `depth` tasks each and use `threads` threads for arithmetic.

    `gpus` are the devices as CUDA_VISIBLE_DEVICES names them, one for each process (empty: no GPU is meant); what
    processes print goes to `logs`/worker-N.log.
    """

    def __init__(
        self,
        work: WorkerSpec,
        count: int,
        *,
        depth: int = 3,
        threads: int = 1,
        gpus: Sequence[str] = (),
        logs: Path | None = None,
    ) -> None:
        super().__init__(count, depth)
        self._work, self._threads, self._gpus, self._logs = work, threads, tuple(gpus), logs
        self._heard: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def launch(self, name: str) -> _Process:
        environment = {**os.environ, "OMP_NUM_THREADS": str(self._threads), "PYTHONUNBUFFERED": "1"}
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[(int(name) - 1) % len(self._gpus)]
        # The program that started the batch may have found its modules by changes of sys.path.
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path or os.getcwd() for path in sys.path))
        with contextlib.ExitStack() as held:
            log: BinaryIO | int = subprocess.DEVNULL
            if self._logs is not None:
                log = held.enter_context((self._logs / f"worker-{name}.log").open("ab"))
            popen = subprocess.Popen(
                [sys.executable, "-P", "-m", "gas.batch.engines.process", str(self._depth)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C in a terminal is the parent's alone
            )
        process = _Process(popen)
        process.outbox.put(wire.line(target=self._work.target, setup=dict(self._work.setup)))
        for work in (self._write, self._read):
            threading.Thread(target=work, args=(process,), daemon=True).start()
        return process

    def send(self, handle: _Process, task: Task) -> None:
        handle.outbox.put(wire.line(id=task.id, data=dict(task.data)))

    def events(self, wait: float) -> list[Event]:
        found: list[Event] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._heard.get(timeout=wait) if wait > 0 else self._heard.get_nowait())
            while True:
                found.append(self._heard.get_nowait())
        return found

    def end(self, handles: Sequence[_Process]) -> None:
        for handle in handles:
            handle.outbox.put(wire.line(stop=True))
            handle.outbox.put(None)
        until = time.monotonic() + _GRACE
        for handle in handles:
            with contextlib.suppress(subprocess.TimeoutExpired):
                handle.popen.wait(max(until - time.monotonic(), 0))
        for handle in handles:
            if handle.popen.poll() is None:
                handle.popen.kill()
            handle.popen.wait()

    def _write(self, process: _Process) -> None:
        stream = process.popen.stdin
        assert stream is not None
        with contextlib.suppress(OSError), stream:
            while (data := process.outbox.get()) is not None:
                stream.write(data)
                stream.flush()

    def _read(self, process: _Process) -> None:
        stream = process.popen.stdout
        assert stream is not None
        with stream:
            for line in stream:
                with contextlib.suppress(ValueError):
                    self._heard.put(_event(process, json.loads(line)))
        self._heard.put(Event(process, "died", reason=_how(process.popen.wait())))


def _event(process: _Process, heard: dict[str, object]) -> Event:
    if "fault" in heard:
        values = heard["fault"]
        assert isinstance(values, dict)
        return Event(process, "fault", fault=wire.error_from(values))
    if "ready" in heard:
        return Event(process, "ready")
    value = heard["value"]
    assert isinstance(value, dict)
    return Event(process, "value", id=str(heard["id"]), value=value)


def _how(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"the worker ended with code {code}"
    name = signal.Signals(-code).name if -code in {one.value for one in signal.Signals} else str(-code)
    more = ", as by a system that is out of memory" if name == "SIGKILL" else ""
    return f"the worker was ended by {name}{more}"
