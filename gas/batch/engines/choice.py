"""Which engine runs a batch, with how many workers, threads and GPUs."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gas.backends.roles import EDITORS, GROUNDERS
from gas.batch.engines.interface import Engine, WorkerSpec
from gas.errors import UsageError
from gas.validation import unknown

if TYPE_CHECKING:
    from gas.run.session import Session

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Choice:
    """What the user says of the engine. `workers` and `threads` None: as the machine allows. `ahead` is how many items
    a worker reads and plans while it edits another; `address` is a Ray cluster's."""

    engine: str = "local"
    workers: int | None = None
    threads: int | None = None
    ahead: int = 2
    address: str = ""

    def check(self) -> None:
        """UsageError (exit 2) for an engine that there is not, and for what does not belong to it."""
        if self.engine not in ENGINES:
            raise unknown("engine", self.engine, ENGINES)
        if self.address and self.engine != "ray":
            raise UsageError("a cluster's address is given, but the engine is not ray", "choose the engine ray")


@dataclass(frozen=True)
class Machine:
    """How many workers there are, the threads of each, and the GPUs as CUDA_VISIBLE_DEVICES names them."""

    workers: int
    threads: int
    gpus: tuple[str, ...] = ()

    def __str__(self) -> str:
        many = f"{self.workers} worker{'s' * (self.workers != 1)}"
        if self.gpus:
            return f"{many} on {len(self.gpus)} GPU{'s' * (len(self.gpus) != 1)}"
        return f"{many} of {self.threads} thread{'s' * (self.threads != 1)}"


def machine(session: Session, choice: Choice, environ: Mapping[str, str] = os.environ) -> Machine:
    """What this machine has for the session's editor: a worker for each GPU, else as many as its cores allow.

    A worker has as many threads as OMP_NUM_THREADS says; without it one where nothing needs torch, else up to 4.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    heavy = needs_device(session)
    said = environ.get("OMP_NUM_THREADS", "")
    threads = choice.threads or (int(said) if said.isdecimal() and int(said) else min(4 if heavy else 1, cores))
    device = session.settings.device
    found = gpus(environ) if heavy and device in {"auto", "cuda"} else ()
    if found:
        workers = choice.workers or len(found)
    elif device.startswith(("cuda", "mps")):
        workers = choice.workers or 1
    else:
        workers = choice.workers or max(cores // threads, 1)
    return Machine(workers, threads, found)


def needs_device(session: Session) -> bool:
    """Whether a grounder or the editor needs packages beyond the base install: then it works on a GPU if there is
    one."""
    settings = session.settings
    chosen = [(EDITORS, settings.editor), *((GROUNDERS, name) for name in settings.grounders)]
    return any(session.registry.find(role.plural, name).spec.extra for role, name in chosen)


def gpus(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The CUDA devices that this process may use, by CUDA_VISIBLE_DEVICES, else by the driver's own tool. torch, which
    knows too, is left to the workers: it takes seconds and much memory."""
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip() and name.strip() != "-1")
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
        lines = [line for line in told.splitlines() if line.startswith("GPU ")]
        return tuple(str(number) for number in range(len(lines)))
    return ()


def make_engine(work: WorkerSpec, tasks: int, choice: Choice, here: Machine, together: int, logs: Path) -> Engine:
    """The engine for `tasks` tasks, of no more workers than there are tasks. Errors as `Choice.check`."""
    choice.check()
    depth = max(choice.ahead, 0) + together
    if choice.engine == "ray":
        from gas.batch.engines.ray_actors import RayEngine

        count = min(choice.workers or (0 if choice.address else here.workers), tasks)
        return RayEngine(
            work,
            count,
            depth=depth,
            threads=here.threads,
            gpu=bool(here.gpus or choice.address),
            address=choice.address,
        )
    from gas.batch.engines.local import LocalEngine

    return LocalEngine(work, min(here.workers, tasks), depth=depth, threads=here.threads, gpus=here.gpus, logs=logs)
