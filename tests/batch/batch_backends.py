"""Backends for batches: they paint, and do to some pictures what must not stop the others."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image as Pictures
from pydantic import Field

from gas.backends.hookspecs import hookimpl
from gas.backends.registry import Registry
from gas.backends.spec import BackendSpec
from gas.errors import ResultRefused, ServiceUnavailable
from gas.interfaces import Edited, EditJob, EditRequest, Options, Verifier, VerifyJob
from gas.testing import fakes
from gas.types import EditPlan, Evidence, Finding


class PainterOptions(fakes.FakeEditorOptions):
    seconds: float = Field(0.0, ge=0, le=60, description="how long an edit takes")
    broken: bool = Field(False, description="whether it cannot be used at all")


class Painter(fakes.FakeEditor):
    """Paints what is asked for; dies of "death", refuses "nothing", fails with "trouble"."""

    options_type: ClassVar = PainterOptions
    batches = True

    def resolution(self) -> int:
        if self.options.broken:  # type: ignore[attr-defined]
            raise ResultRefused("this editor is broken", "take another")
        return 64

    def edit(self, job: EditJob) -> Edited:
        target = job.plan.subtasks[0].target
        if target == "death":
            os.kill(os.getpid(), signal.SIGKILL)
        if target == "nothing":
            raise ResultRefused("the result is the same as the input", "ask for more")
        if target == "trouble":
            raise ZeroDivisionError("not one of ours")
        if target == "memory":
            raise MemoryError
        until = time.monotonic() + self.options.seconds  # type: ignore[attr-defined]
        while time.monotonic() < until and not job.watch.should_stop():
            time.sleep(0.005)
        return super().edit(job)

    def edit_together(self, jobs: Any) -> list[Edited]:
        edited = [self.edit(job) for job in jobs]
        return [Edited(one.image, one.mask, one.stopped, {**one.log, "together": len(jobs)}) for one in edited]


class Service(fakes.FakePlanner):
    """A planner on another machine, as far as anybody can tell."""

    @property
    def remote(self) -> bool:
        return True

    def plan(self, request: EditRequest) -> EditPlan:
        if "unreachable" in request.instruction:
            raise ServiceUnavailable("the service does not answer", "try later")
        return super().plan(request)


class JudgeOptions(Options):
    least: float = Field(0.5, ge=0, le=1, description="how red a region is that is done")


class Judge(Verifier[JudgeOptions]):
    """Takes a subtask for done when its region is red; of "fog" it cannot tell."""

    options_type = JudgeOptions

    def verify(self, job: VerifyJob) -> list[Finding]:
        return [self._finding(job, index) for index in job.subtasks]

    def _finding(self, job: VerifyJob, index: int) -> Finding:
        if job.plan.subtasks[index].target == "fog":
            return Finding(subtask=index, verdict="cannot tell", evidence=(Evidence(by="judge", note="fog"),))
        red, green, _ = job.after[np.max(job.masks(index), axis=0) == 1].mean(axis=0) / 255
        score = float(np.clip(red - green, 0, 1))
        done = score >= self.options.least
        failure = None if done else "wrong colour"
        evidence = (Evidence(by="judge", asked="red", value=score, threshold=self.options.least),)
        return Finding(
            subtask=index, verdict="done" if done else "not done", score=score, evidence=evidence, failure=failure
        )


class FarJudge(Judge):
    """A verifier on another machine, as far as anybody can tell."""

    @property
    def remote(self) -> bool:
        return True


@hookimpl
def gas_register_planners() -> tuple[BackendSpec, ...]:
    return (
        BackendSpec("arrows", "gas.testing.fakes:FakePlanner", "reads source -> target"),
        BackendSpec("service", "batch_backends:Service", "sends what it gets away"),
    )


@hookimpl
def gas_register_grounders() -> tuple[BackendSpec, ...]:
    return (BackendSpec("places", "gas.testing.fakes:FakeGrounder", "knows some places by heart"),)


@hookimpl
def gas_register_editors() -> tuple[BackendSpec, ...]:
    return (
        BackendSpec("painter", "batch_backends:Painter", "paints the regions"),
        BackendSpec("second", "batch_backends:Painter", "paints the regions too"),
    )


@hookimpl
def gas_register_verifiers() -> tuple[BackendSpec, ...]:
    return (
        BackendSpec("judge", "batch_backends:Judge", "wants red"),
        BackendSpec("far", "batch_backends:FarJudge", "sends what it gets away"),
    )


def registry() -> Registry:
    """The toolkit's own backends and these."""
    return Registry(plugins="none").add(sys.modules[__name__])


FLAGS: dict[str, Any] = {
    "profile": "retouch",
    "planner": "arrows",
    "grounders": ("places",),
    "editor": "painter",
    "options": {"places": {"boxes": {"dog": (0.1, 0.1, 0.6, 0.6)}}},
    "registry": "batch_backends:registry",
}
"""What `gas.batch` is given for these backends."""


def pictures(folder: Path, count: int, size: tuple[int, int] = (48, 40)) -> list[str]:
    """The names of so many small pictures in `folder`, each another."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 200, (size[1], size[0], 3), dtype=np.uint8)
        names.append(f"p{number:03d}.png")
        Pictures.fromarray(pixels).save(folder / names[-1])
    return names


def rows(names: Iterable[str], instruction: str = "dog -> tiger") -> list[dict[str, Any]]:
    """A row for each picture."""
    return [{"image": name, "instruction": instruction} for name in names]
