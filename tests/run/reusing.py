"""Backends that say when they are asked, and sessions with a cache of their own, for tests of what is reused."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import fake_backends
import numpy as np

from gas import notes
from gas.backends.hookspecs import hookimpl
from gas.backends.spec import BackendSpec
from gas.interfaces import Edited, EditJob, GroundJob
from gas.picture.photo import of_pixels
from gas.run.job import PhotoJob
from gas.run.session import Session
from gas.testing import fakes
from gas.types import EditPlan, EditRequest, Region, Subtask

ASKED: list[str] = []
"""Who was asked for what: "planner", "grounder dog", "editor tiger", "size"."""

THINGS = ("dog", "cat", "bird")
BOXES = {"dog": (10, 10, 60, 60), "cat": (200, 10, 240, 50), "bird": (110, 190, 140, 220)}
"""Far from each other in a picture of 256 pixels; the dog is the largest."""


class Plans(fakes.FakePlanner):
    reusable = True

    def plan(self, request: EditRequest) -> EditPlan:
        ASKED.append("planner")
        return super().plan(request)


class Forgets(Plans):
    reusable = False


class Finds(fakes.FakeGrounder):
    def ground(self, job: GroundJob) -> list[Region]:
        ASKED.append("grounder " + ", ".join(region.phrase for region in job.regions))
        notes.warn("it is dark")
        return [replace(one, note="in the dark") for one in super().ground(job)]


class Reads(Finds):
    reads_plan = True


class Sends(Finds):
    @property
    def remote(self) -> bool:
        return True


class Paints(fakes.FakeEditor):
    """Paints a colour that its target has in its name's hash, with a grain of the seed; says so."""

    def resolution(self) -> int:
        ASKED.append("size")
        return 256

    def edit(self, job: EditJob) -> Edited:
        targets = [subtask.target for subtask in job.plan.subtasks]
        ASKED.append("editor " + ", ".join(targets))
        notes.warn(f"{targets[0]} is hard to paint")
        shift = np.random.default_rng([job.seed, *"".join(targets).encode()]).integers(1, 120, job.image.shape)
        made = ((job.image.astype(int) + shift) % 256).astype(np.uint8)
        log = {"evaluations": 10 * len(targets), "loss": 0.1 * job.seed, "notes": ["it was painted"]}
        return Edited(made, log=log, unedited=job.image.copy())


class Confines(Paints):
    confines = True


class Batches(Paints):
    batches = True

    def edit_together(self, jobs: Any) -> list[Edited]:
        ASKED.append(f"batch of {len(jobs)}")
        return [super(Batches, self).edit(job) for job in jobs]


class Moody(Paints):
    reusable = False


class Abroad(Paints):
    @property
    def remote(self) -> bool:
        return True


@hookimpl
def gas_register_planners() -> tuple[BackendSpec, ...]:
    return tuple(BackendSpec(name.lower(), f"reusing:{name}", "for tests") for name in ("Plans", "Forgets"))


@hookimpl
def gas_register_grounders() -> tuple[BackendSpec, ...]:
    return tuple(BackendSpec(name.lower(), f"reusing:{name}", "for tests") for name in ("Finds", "Reads", "Sends"))


@hookimpl
def gas_register_editors() -> tuple[BackendSpec, ...]:
    names = ("Paints", "Confines", "Batches", "Moody", "Abroad")
    return tuple(BackendSpec(name.lower(), f"reusing:{name}", "for tests") for name in names)


def session(**flags: Any) -> Session:
    """A new session, as another run would have it; its cache is on unless `flags` say otherwise."""
    registry = fake_backends.registry().add(sys.modules[__name__])
    shares = {name: tuple(side / 256 for side in box) for name, box in BOXES.items()}
    told: dict[str, Any] = {
        "planner": "plans",
        "grounders": ("finds",),
        "editor": "paints",
        "profile": "diorama",
        "grounded": True,
        "cache": True,
        "grow": 0.0,
        **flags,
    }
    options = {name: {"boxes": shares} for name in told["grounders"]}
    return Session.of(registry=registry, **{**told, "options": {**options, **told.get("options", {})}})


def image() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 200, (256, 256, 3), dtype=np.uint8)


def plan(*targets: str, **more: Any) -> EditPlan:
    """What the three things become."""
    named = targets or ("tiger", "lion", "bat")
    subtasks = tuple(Subtask(source=source, target=target) for source, target in zip(THINGS, named, strict=False))
    return EditPlan(subtasks=subtasks, **more)


def regions() -> tuple[Region, ...]:
    found = []
    for number, (name, (x0, y0, x1, y1)) in enumerate(BOXES.items()):
        mask = np.zeros((256, 256), np.float32)
        mask[y0:y1, x0:x1] = 1
        found.append(Region(name, box=BOXES[name], mask=mask, subtask=number, given=True))
    return tuple(found)


def job(the_plan: EditPlan | None = None, seed: int = 5, **flags: Any) -> PhotoJob:
    """A job in a new session, with drawn regions."""
    asked = the_plan or plan()
    return PhotoJob(session(**flags), of_pixels(image()), asked, regions()[: len(asked.subtasks)], seed, work="full")
