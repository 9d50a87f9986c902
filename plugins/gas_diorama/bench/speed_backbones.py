"""What a step of each family of models costs at its published size, with random weights: one prediction by the
toolkit's own backbone, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from gas.errors import ResultRefused
from gas.memory import gigabytes
from gas.placement import ROOM, free_cached, free_memory, size_of
from gas_diorama.bench.memory import peak_memory, shown
from gas_diorama.bench.real_sizes import REAL_SIZES, SD15

if TYPE_CHECKING:
    import torch
    from rich.console import Group

    from gas.runtime import Runtime

ROWS = {"cpu": (1, 2), "cuda": (1, 4)}
TURNS = {"cpu": 1, "cuda": 5}
_WARM_UP = 4
"""How much smaller the sides of the picture are that goes before, while libraries are loaded and memory is touched."""


@dataclass(frozen=True)
class StepCost:
    """One prediction for so many rows: median seconds on the clock, and of the processors (None on a GPU); the most
    memory that was ever in use until then, in bytes (None where the system does not tell)."""

    rows: int
    seconds: float
    processor_seconds: float | None
    peak_bytes: int | None

    @property
    def row(self) -> float:
        """Seconds for each row: of the processors on a CPU, which other programs disturb less, else on the clock."""
        return (self.seconds if self.processor_seconds is None else self.processor_seconds) / self.rows


@dataclass(frozen=True)
class BackboneCost:
    """What a family costs at a published size: parameters and bytes of its network, the side of the picture in pixels,
    and its steps; `skipped` says why there are none. `ratio` is what a row costs divided by what one of Stable
    Diffusion 1.5 costs in the same run; None without that."""

    family: str
    side: int
    parameters: int = 0
    bytes: int = 0
    steps: tuple[StepCost, ...] = ()
    skipped: str = ""
    ratio: float | None = None


def backbone_costs(runtime: Runtime, only: Sequence[str] = tuple(REAL_SIZES)) -> list[BackboneCost]:
    """What the families `only` cost on the runtime's device. ResultRefused (exit 11) for one that fails."""
    base: float | None = None
    found = []
    for name in only:
        cost = _cost(name, runtime)
        if cost.steps:
            base = cost.steps[0].row if name == SD15 else base
            cost = replace(cost, ratio=base and cost.steps[0].row / base)
        found.append(cost)
    return found


def _cost(name: str, runtime: Runtime) -> BackboneCost:
    kind, device = REAL_SIZES[name], runtime.torch_device()
    if kind.gpu_only and device.type == "cpu":
        return BackboneCost(kind.name, kind.side, skipped="needs a GPU: on a CPU a step takes many minutes")
    dtype = str(runtime.torch_dtype()).removeprefix("torch.")
    task = {"model": name, "device": str(device), "dtype": dtype}
    command = [sys.executable, "-m", "gas_diorama.bench.speed_backbones", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise ResultRefused(f"a step of {kind.name} failed: {last[0]}", "run: gas doctor")
    told = json.loads(done.stdout.splitlines()[-1])
    steps = tuple(StepCost(**step) for step in told.pop("steps", ()))
    return BackboneCost(kind.name, kind.side, steps=steps, **told)


def table(costs: Sequence[BackboneCost]) -> Group:
    """A row for each family and number of rows, and a line for each family that was skipped, which says why."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    title = "one prediction at the published sizes, random weights"
    found = Table(title=title, title_justify="left", box=None, pad_edge=False)
    found.add_column("model", no_wrap=True)
    for heading in ("pixels", "billions", "rows", "s", "processor s", "x SD 1.5", "memory"):
        found.add_column(heading, justify="right")
    for cost in costs:
        for number, step in enumerate(cost.steps):
            own = (cost.family, f"{cost.side}", f"{cost.parameters / 1e9:.2f}") if number == 0 else ("", "", "")
            processor = "-" if step.processor_seconds is None else f"{step.processor_seconds:.1f}"
            ratio = f"{cost.ratio:.1f}" if cost.ratio and number == 0 else ""
            found.add_row(*own, str(step.rows), f"{step.seconds:.2f}", processor, ratio, shown(step.peak_bytes))
    return Group(found, *(Text(f"{cost.family} {cost.skipped}") for cost in costs if cost.skipped))


# --- in a process of its own ------------------------------------------------------------------------------------------


def measure(name: str, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """The fields of a `BackboneCost`, measured in this process."""
    import torch

    from gas_diorama.bench.random_weights import draw

    kind = REAL_SIZES[name]
    with torch.device("meta"):
        network = kind.network()
    size = dtype.itemsize * sum(one.numel() for one in (*network.parameters(), *network.buffers()))
    free = free_memory(device)
    if free is not None and size + ROOM > free:
        why = f"{gigabytes(size)} of weights and {gigabytes(ROOM)} to compute in, and {gigabytes(free)} are free"
        return {"skipped": f"does not fit: {why}"}
    network = draw(network, dtype, device)
    place = "cpu" if device.type == "cpu" else "cuda"
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        steps = kind.steps(network, Path(folder), device)
        steps(1, kind.side // _WARM_UP)()
        free_cached(device)
        found = [_step(steps(rows, kind.side), rows, device, TURNS[place]) for rows in ROWS[place]]
    return {
        "parameters": sum(one.numel() for one in network.parameters()),
        "bytes": size_of(network),
        "steps": found,
    }


def _step(predict: Any, rows: int, device: torch.device, turns: int) -> dict[str, Any]:
    """The fields of a `StepCost`. ResultRefused when what is predicted is not finite."""
    import torch

    seconds, processor = [], []
    for _ in range(turns):
        began, worked = _now(device), time.process_time()
        output = predict()
        seconds.append(_now(device) - began)
        processor.append(time.process_time() - worked)
    if not bool(torch.isfinite(output).all()):
        raise ResultRefused("the network's random weights give no finite numbers", "take another dtype")
    return {
        "rows": rows,
        "seconds": median(seconds),
        "processor_seconds": median(processor) if device.type == "cpu" else None,
        "peak_bytes": _peak(device),
    }


def _now(device: torch.device) -> float:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def _peak(device: torch.device) -> int | None:
    """The most memory that was in use: of the GPU, or of this process."""
    import torch

    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()


def _main(task: Mapping[str, str]) -> dict[str, Any]:
    import torch

    return measure(task["model"], torch.device(task["device"]), getattr(torch, task["dtype"]))


if __name__ == "__main__":
    from gas.errors import GasError

    try:
        sys.stdout.write(json.dumps(_main(json.loads(sys.argv[1]))) + "\n")
    except GasError as error:
        sys.exit(error.message)
