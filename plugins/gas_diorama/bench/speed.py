"""`gas bench speed`: what an edit costs in seconds, network rows and memory, and how much the presets save.

What is compared is measured side by side in one run, the presets taking turns, so that ratios hold on a busy machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from gas.errors import ResultRefused, UsageError
from gas.interfaces import EditJob, Step, Watch
from gas.suites import SuiteReport
from gas.types import EditPlan, Region, Subtask
from gas.validation import unknown
from gas_diorama import folders
from gas_diorama.bench.memory import peak_memory, shown

if TYPE_CHECKING:
    import torch
    from rich.console import RenderableType

    from gas.backends.registry import Registry
    from gas.runtime import Runtime
    from gas_diorama.bench.speed_backbones import BackboneCost
    from gas_diorama.bench.speed_grounding import GroundingCost

Progress = Callable[[str], None]
"""Called with what is being measured now."""

DEMO, DIORAMA, GROUNDERS, LARGE, BACKBONES = "demo", "diorama", "grounders", "sd15", "backbones"
PARTS = (DEMO, DIORAMA, GROUNDERS, LARGE, BACKBONES)
EDITOR = "ground-a-score"
OFFICIAL = "official-code"
PRESETS = ("paper", OFFICIAL, "fast")
STEPS = 500
"""Length of a whole edit (Ground-A-Score, supplement 6.1)."""

WEIGHTS = "package:gas_diorama/weights/sd"
SCENES = folders.SCENES
REQUEST = "change the red car into a blue house, change the grass into snow, change the clear sky into a sunset sky"

# No two subtasks share a phrase, so that no row is saved by chance.
_CHANGES = (
    ("a red car", "a blue house"),
    ("the grass", "snow"),
    ("the clear sky", "a sunset sky"),
    ("a green tree", "a white igloo"),
    ("a yellow ball", "a purple balloon"),
)


@dataclass(frozen=True)
class Cost:
    """What a step of a preset costs on a model, with so many subtasks and the contrastive loss on each or on none.

    * rows, seconds: rows that the network saw, and median wall time; of a step that finds its bank filled, if there is
      a bank. `filling` is the same pair for the steps before.
    * rows_ratio, time_ratio: what the reference code's preset costs, divided by what this one costs, over an edit of
      500 steps. The time's is the median over pairs of runs that followed one another.
    * outside: share of the time that is not spent in the network; None with the contrastive loss, whose backward pass
      is the network's too.
    """

    model: str
    subtasks: int
    contrast: bool
    preset: str
    rows: int
    seconds: float
    filling: tuple[int, float] | None
    rows_ratio: float
    time_ratio: float
    outside: float | None


@dataclass(frozen=True)
class DemoCost:
    """A whole edit in a process of its own: seconds from start to end, of which `editing` without imports and loading,
    and the most memory that was ever resident, in bytes (None where the system does not tell)."""

    steps: int
    seconds: float
    editing: float
    peak_bytes: int | None


@dataclass(frozen=True)
class Report(SuiteReport):
    """What was measured, and on what."""

    costs: tuple[Cost, ...]
    demo: DemoCost | None
    grounders: tuple[GroundingCost, ...] = ()
    backbones: tuple[BackboneCost, ...] = ()
    setting: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        demo = asdict(self.demo) if self.demo else None
        return {
            "suite": "speed",
            "version": 1,
            **self.setting,
            "demo": demo,
            "grounders": [asdict(cost) for cost in self.grounders],
            "backbones": [asdict(cost) for cost in self.backbones],
            "costs": [asdict(cost) for cost in self.costs],
        }

    def tables(self) -> RenderableType:
        """What a terminal shows: a line for the demo, a table for each model."""
        from rich.console import Group
        from rich.table import Table

        found: list[Any] = []
        if self.demo:
            peak = shown(self.demo.peak_bytes)
            found += [
                f"the demo's edit, 3 subtasks, {self.demo.steps} steps: {self.demo.seconds:.1f} s, of which "
                f"{self.demo.editing:.1f} s without starting and loading; resident memory {peak} at most",
                "",
            ]
        for model in dict.fromkeys(cost.model for cost in self.costs):
            table = Table(title=model, title_justify="left", box=None, pad_edge=False)
            table.add_column("subtasks")
            table.add_column("contrast")
            table.add_column("preset")
            for heading in ("rows a step", "seconds a step", "saves rows", "saves time", "outside the network"):
                table.add_column(heading, justify="right")
            for cost in self.costs:
                if cost.model == model:
                    table.add_row(*_cells(cost))
            found += [table, ""]
        if self.grounders:
            from gas_diorama.bench.speed_grounding import table as of_grounders

            found += [of_grounders(self.grounders), ""]
        if self.backbones:
            from gas_diorama.bench.speed_backbones import table as of_backbones

            found += [of_backbones(self.backbones), ""]
        return Group(*found[:-1])


def run(
    parts: Sequence[str] = PARTS,
    *,
    subtasks: Sequence[int] = (1, 2, 3, 4, 5),
    contrast: Sequence[int] = (3,),
    large_subtasks: Sequence[int] = (3,),
    steps: int = 5,
    repeats: int = 3,
    large_repeats: int = 1,
    registry: Registry | None = None,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
    model: str = WEIGHTS,
    side: int = 1024,
) -> Report:
    """The costs of the demo's edit, of each preset's step on the diorama's UNet and on a UNet of Stable Diffusion 1.5's
    size with random weights, and of grounders and of each family of models at the published sizes.

    * parts: some of "demo", "diorama", "grounders", "sd15", "backbones".
    * subtasks: how many, 1 to 5, on the diorama without the contrastive loss; contrast: with it on every subtask;
      large_subtasks: on the large UNet without it, and with it too where there is a GPU: on a CPU the backward passes
      take many minutes and gigabytes.
    * steps: measured in each turn of a preset on the diorama; on the large UNet it is one.
    * repeats, large_repeats: how many turns each preset has.
    * model: the model that takes the diorama's place; side: of the grounders' picture, in pixels.

    UsageError (exit 2) for anything out of range.
    """
    from gas.backends.registry import Registry
    from gas.runtime import Runtime

    _check(parts, [*subtasks, *contrast, *large_subtasks], [steps, repeats, large_repeats])
    registry, runtime, say = registry or Registry.discover(), runtime or Runtime(), progress or _quiet
    demo, costs, grounders, backbones = None, [], [], []
    if DEMO in parts:
        say("the demo's edit")
        demo = demo_cost(runtime)
    if DIORAMA in parts:
        bench = _Bench("the diorama's UNet, 16x16 latents", model, 128, registry, runtime, say)
        for counts, kept in ((subtasks, False), (contrast, True)):
            for count in counts:
                costs += bench.costs(count, kept, steps, repeats)
    if GROUNDERS in parts:
        from gas_diorama.bench.speed_grounding import KINDS, grounding_cost

        for kind in KINDS:
            say(f"{kind.network}: random weights, a picture of {side} x {side} pixels")
            with tempfile.TemporaryDirectory() as folder:
                cost = grounding_cost(Path(folder), kind, device=runtime.device, dtype=runtime.dtype, side=side)
                grounders.append(cost)
    if LARGE in parts:
        from gas_diorama.bench.random_weights import build_model

        say("a UNet of Stable Diffusion 1.5's size: random weights")
        with tempfile.TemporaryDirectory() as folder:
            build_model(folder, runtime.torch_dtype())
            name = "a UNet of Stable Diffusion 1.5's size, random weights, 64x64 latents"
            bench = _Bench(name, folder, 512, registry, runtime, say)
            for count in large_subtasks:
                for kept in (False, True) if runtime.torch_device().type == "cuda" else (False,):
                    costs += bench.costs(count, kept, 1, large_repeats)
    if BACKBONES in parts:
        from gas_diorama.bench.speed_backbones import backbone_costs

        say("a step of each family of models at its published size")
        backbones = backbone_costs(runtime)
    return Report(tuple(costs), demo, tuple(grounders), tuple(backbones), _setting(runtime))


# --- one step ---------------------------------------------------------------------------------------------------------


@dataclass
class _Step:
    """Wall time of a step and its part inside the network, in seconds, and the rows that the network saw."""

    seconds: float = 0.0
    inside: float = 0.0
    rows: int = 0


class _Meter:
    """Measures each step of one edit: from the loop's question whether to stop until its report of the step."""

    def __init__(self, device: torch.device) -> None:
        self.steps: list[_Step] = []
        self._device = device
        self._step = _Step()
        self._began = self._entered = 0.0

    @property
    def watch(self) -> Watch:
        return Watch(on_step=self._end, should_stop=self._begin)

    @contextmanager
    def on(self, network: torch.nn.Module) -> Iterator[None]:
        """Counts the rows of `network` and its time while the block lasts."""
        hooks = (network.register_forward_pre_hook(self._enter), network.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _begin(self) -> bool:
        self._step, self._began = _Step(), self._now()
        return False

    def _end(self, step: Step) -> None:
        self._step.seconds = self._now() - self._began
        self.steps.append(self._step)

    def _enter(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self._step.rows += len(inputs[0])
        self._entered = self._now()

    def _leave(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: object) -> None:
        self._step.inside += self._now() - self._entered

    def _now(self) -> float:
        import torch

        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter()


# --- presets side by side ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Turn:
    """One edit of a preset: the steps that fill the bank, if there is one, and the steps after."""

    filling: list[_Step]
    filled: list[_Step]
    bank: int

    def of_edit(self, number: Callable[[_Step], float]) -> float:
        """The mean of `number` over the steps of a whole edit, as far as the steps that were measured can tell."""
        share = min(self.bank, STEPS) / STEPS
        late = median(map(number, self.filled))
        return late if not self.filling else share * median(map(number, self.filling)) + (1 - share) * late


class _Bench:
    """Presets on one model."""

    def __init__(self, title: str, model: str, side: int, registry: Registry, runtime: Runtime, say: Progress) -> None:
        from gas.diffusion.load import load_backbone

        self.title, self.model, self.side = title, model, side
        self.registry, self.runtime, self.say = registry, runtime, say
        self.network = load_backbone(model, runtime).network
        self._turn("paper", _job(1, False, side), 1)  # the first step of a process is slower than all that follow

    def costs(self, subtasks: int, contrast: bool, steps: int, repeats: int) -> list[Cost]:
        """What each preset costs."""
        what = f"{self.title}: {subtasks} subtasks{', contrastive loss on each' if contrast else ''}"
        turns: dict[str, list[_Turn]] = {preset: [] for preset in PRESETS}
        for repeat in range(repeats):
            for preset in PRESETS:
                self.say(f"{what}, {preset}, turn {repeat + 1} of {repeats}")
                turns[preset].append(self._turn(preset, _job(subtasks, contrast, self.side), steps))
        return [self._cost(preset, turns, subtasks, contrast) for preset in PRESETS]

    def _turn(self, preset: str, job: EditJob, steps: int) -> _Turn:
        values: dict[str, Any] = {"preset": preset, "model": self.model, "accept_db": None}
        bank = self.registry.settle("editors", EDITOR, values).options.bank  # type: ignore[attr-defined]
        values |= {"bank": steps, "steps": 2 * steps} if bank else {"steps": steps}
        editor = self.registry.create("editors", EDITOR, values, self.runtime)
        meter = _Meter(self.runtime.torch_device())
        with meter.on(self.network):
            editor.edit(replace(job, options=editor.options, watch=meter.watch))
        first = steps if bank else 0
        return _Turn(meter.steps[:first], meter.steps[first:], bank)

    def _cost(self, preset: str, turns: Mapping[str, list[_Turn]], subtasks: int, contrast: bool) -> Cost:
        own, reference = turns[preset], turns[OFFICIAL]
        filled = [step for turn in own for step in turn.filled]
        filling = [step for turn in own for step in turn.filling]
        pairs = list(zip(reference, own, strict=True))
        return Cost(
            model=self.title,
            subtasks=subtasks,
            contrast=contrast,
            preset=preset,
            rows=_rows(filled),
            seconds=median(_seconds(step) for step in filled),
            filling=(_rows(filling), median(_seconds(step) for step in filling)) if filling else None,
            rows_ratio=median(a.of_edit(_row_count) / b.of_edit(_row_count) for a, b in pairs),
            time_ratio=median(a.of_edit(_seconds) / b.of_edit(_seconds) for a, b in pairs),
            outside=None if contrast else median(1 - step.inside / step.seconds for step in filled),
        )


def _rows(steps: Sequence[_Step]) -> int:
    (rows,) = {step.rows for step in steps}  # the same in every step, or the figure would say nothing
    return rows


def _row_count(step: _Step) -> float:
    return float(step.rows)


def _seconds(step: _Step) -> float:
    return step.seconds


def _job(subtasks: int, contrast: bool, side: int) -> EditJob:
    """An edit of a picture of side x side pixels, with regions of 16 % of it that overlap a little."""
    from gas.interfaces import Options
    from gas.masks import box_mask

    ramp = np.linspace(0, 255, side, dtype=np.uint8)
    image = np.stack(
        [np.tile(ramp, (side, 1)), np.tile(ramp[:, None], (1, side)), np.full((side, side), 128, np.uint8)], -1
    )
    changes = _CHANGES[:subtasks]
    plan = EditPlan(
        subtasks=tuple(Subtask(source=x, target=y, preserve_shape=contrast) for x, y in changes),
        source_prompt="before: " + ", ".join(x for x, _ in changes),
        target_prompt="after: " + ", ".join(y for _, y in changes),
    )
    regions = []
    for index, (phrase, _) in enumerate(changes):
        left, top = 0.15 * index * side, 0.15 * (4 - index) * side
        box = (left, top, left + 0.4 * side, top + 0.4 * side)
        regions.append(Region(phrase, box=box, mask=box_mask(box, (side, side)), subtask=index))
    return EditJob(image, plan, tuple(regions), seed=0, options=Options())


# --- the demo's edit, in a process of its own -------------------------------------------------------------------------


def demo_cost(runtime: Runtime, *, steps: int = STEPS, profile: str = "diorama") -> DemoCost:
    """The demo's edit with so many steps. ResultRefused (exit 11) with the reason when it fails."""
    task = {"steps": steps, "profile": profile, "device": runtime.device, "dtype": runtime.dtype}
    began = time.perf_counter()
    command = [sys.executable, "-m", "gas_diorama.bench.speed", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise ResultRefused(f"the demo's edit failed: {done.stderr.strip().splitlines()[-1]}", "run: gas doctor")
    return DemoCost(steps=steps, seconds=seconds, **json.loads(done.stdout.splitlines()[-1]))


def _demo(task: Mapping[str, Any]) -> dict[str, Any]:
    """Does the demo's edit; seconds without imports and loading, and the most memory in use."""
    from gas.picture.photo import read
    from gas.regions.folder import load_regions
    from gas.run.job import prepare
    from gas.run.record import Request
    from gas.run.session import Session

    options = {EDITOR: {"steps": task["steps"]}}
    session = Session.of(
        profile=task["profile"],
        editor=EDITOR,
        options=options,
        device=task["device"],
        dtype=task["dtype"],
        offline=True,
    )
    photo = read(SCENES / "demo.png")
    given = load_regions(SCENES / "demo-masks", photo.size)
    job = prepare(session, photo, Request(instruction=REQUEST), given, seed=1)
    session.backend("editors", EDITOR).resolution()  # loads the model
    began = time.perf_counter()
    job.edit()
    return {"editing": time.perf_counter() - began, "peak_bytes": peak_memory()}


# --- in and out -------------------------------------------------------------------------------------------------------


def _check(parts: Sequence[str], subtasks: Sequence[int], counts: Sequence[int]) -> None:
    for part in parts:
        if part not in PARTS:
            raise unknown("part of the benchmark", part, PARTS)
    for count in subtasks:
        if not 1 <= count <= len(_CHANGES):
            raise UsageError(f"{count} subtasks cannot be measured", f"use 1 to {len(_CHANGES)}")
    if min(counts) < 1:
        raise UsageError(f"nothing can be measured {min(counts)} times", "use at least 1")


def _setting(runtime: Runtime) -> dict[str, Any]:
    """Where the figures come from."""
    import torch

    device = runtime.torch_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "device": name,
        "dtype": str(runtime.torch_dtype()).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
    }


def _cells(cost: Cost) -> list[str]:
    filling = f" (first {cost.filling[0]})" if cost.filling else ""
    return [
        str(cost.subtasks),
        "each" if cost.contrast else "-",
        cost.preset,
        f"{cost.rows}{filling}",
        f"{cost.seconds:.3f}",
        f"{cost.rows_ratio:.2f}x",
        f"{cost.time_ratio:.2f}x",
        "-" if cost.outside is None else f"{100 * cost.outside:.1f} %",
    ]


def _quiet(what: str) -> None:
    return None


if __name__ == "__main__":
    from gas.errors import GasError

    try:
        sys.stdout.write(json.dumps(_demo(json.loads(sys.argv[1]))) + "\n")
    except GasError as error:
        sys.exit(error.message)
