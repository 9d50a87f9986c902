"""Backends without models, for tests of everything around them. They keep the same contracts as real ones.

`Registry().add(gas.testing.fakes)` makes all of them known by the name `fake`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from gas.backends.hookspecs import hookimpl
from gas.backends.spec import BackendSpec
from gas.errors import ObjectNotFound, PlanUnreadable
from gas.interfaces import Edited, EditJob, Editor, Grounder, GroundJob, Options, Planner, Step, Verifier, VerifyJob
from gas.types import Box, EditPlan, EditRequest, Evidence, Finding, Provenance, Region, Subtask

if TYPE_CHECKING:
    from gas.types import Image


class FakePlannerOptions(Options):
    arrow: str = Field("->", min_length=1, description="what stands between source and target")
    preserve_shape: bool = Field(False, description="given to every subtask")


class FakePlanner(Planner[FakePlannerOptions]):
    """Reads `source -> target; source -> target`, and nothing else."""

    options_type = FakePlannerOptions

    def plan(self, request: EditRequest) -> EditPlan:
        """The plan that is written out in the instruction. PlanUnreadable for any other."""
        subtasks = []
        for part in request.instruction.split(";"):
            source, arrow, target = (piece.strip() for piece in part.partition(self.options.arrow))
            if not (source and arrow and target) or source.lower() == target.lower():
                raise PlanUnreadable(f"cannot read {part.strip()[:80]!r}", f"write: source {self.options.arrow} target")
            if max(len(source), len(target)) > 200:
                raise PlanUnreadable("a phrase is longer than 200 characters", "shorten it")
            subtasks.append(Subtask(source=source, target=target, preserve_shape=self.options.preserve_shape))
        if len(subtasks) > 8:
            raise PlanUnreadable(f"{len(subtasks)} changes are more than 8", "ask for fewer at a time")
        return EditPlan(
            subtasks=tuple(subtasks),
            source_prompt=" and ".join(s.source for s in subtasks),
            target_prompt=" and ".join(s.target for s in subtasks),
            provenance=Provenance(planner="fake"),
        )


class FakeGrounderOptions(Options):
    boxes: Mapping[str, Box] = Field({}, description="phrase → (x0, y0, x1, y1) as fractions of width and height")
    score: float = Field(0.9, ge=0, le=1, description="given to every region that is found")
    masks: bool = Field(True, description="whether to fill in masks besides boxes")


class FakeGrounder(Grounder[FakeGrounderOptions]):
    """Knows the places of some phrases by heart. Its segments are the picture's four quarters; asked what is at a
    point, it returns the quarter."""

    options_type = FakeGrounderOptions
    segments = True
    points = True
    reads_plan = False

    def ground(self, job: GroundJob) -> list[Region]:
        """The regions with the boxes of the option `boxes`. ObjectNotFound for a phrase that is not among them."""
        if not job.regions:
            quarters = [(x, y, x + 0.5, y + 0.5) for y in (0.0, 0.5) for x in (0.0, 0.5)]
            return [self._filled(job.image, Region("", score=1.0), box) for box in quarters]
        answer = []
        for number, region in enumerate(job.regions, 1):
            job.watch.check_stop()
            answer.append(region if region.given else self._found(job.image, region))
            if job.watch.on_step is not None:
                job.watch.on_step(Step(number, len(job.regions)))
        return answer

    def _found(self, image: Image, region: Region) -> Region:
        if region.box is not None:
            height, width = image.shape[:2]
            x0, y0, x1, y1 = region.box
            return self._filled(image, region, (x0 / width, y0 / height, x1 / width, y1 / height))
        if region.point is not None:
            x, y = (int(2 * at >= side) / 2 for at, side in zip(region.point, image.shape[1::-1], strict=True))
            return self._filled(image, replace(region, score=self.options.score), (x, y, x + 0.5, y + 0.5))
        box = self.options.boxes.get(region.phrase)
        if box is None:
            known = ", ".join(sorted(self.options.boxes)) or "nothing"
            raise ObjectNotFound(
                f"{region.phrase!r} was not found: best score 0.00, threshold 0.50", f"the fake knows {known}"
            )
        return self._filled(image, replace(region, score=self.options.score), box)

    def _filled(self, image: Image, region: Region, fractions: Box) -> Region:
        height, width = image.shape[:2]
        x0, y0, x1, y1 = (round(f * side) for f, side in zip(fractions, (width, height) * 2, strict=True))
        mask = None
        if self.options.masks:
            mask = np.zeros((height, width), np.float32)
            mask[y0:y1, x0:x1] = 1
        return replace(region, box=(float(x0), float(y0), float(x1), float(y1)), mask=mask)


class FakeEditorOptions(Options):
    colour: tuple[int, int, int] = Field((255, 0, 0), description="RGB, 0 to 255")
    steps: int = Field(4, ge=1, le=10_000, description="the paint gets stronger with each")
    grain: int = Field(0, ge=0, le=64, description="largest random deviation of the paint, from the seed")
    presets: ClassVar = {"quick": {"steps": 1}}


class FakeEditor(Editor[FakeEditorOptions]):
    """Paints the regions, or everything where there are none, a little more at each step."""

    options_type = FakeEditorOptions

    def resolution(self) -> int:
        return 64

    def multiple(self) -> int:
        return 4

    def edit(self, job: EditJob) -> Edited:
        """The picture with its regions painted in the option `colour`."""
        options = self.options
        mask = np.ones(job.image.shape[:2], np.float32)
        masks = [region.mask for region in job.regions if region.mask is not None]
        if masks:
            mask = np.max(masks, axis=0)
        random = np.random.default_rng(job.seed)
        grain = random.integers(-options.grain, options.grain, size=job.image.shape, endpoint=True)
        paint = np.clip(np.asarray(options.colour) + grain, 0, 255)
        done = int((job.watch.resume or {}).get("step", 0))

        def painted() -> Image:
            share = mask[..., None] * (done / options.steps)
            return np.round(job.image + (paint - job.image.astype(np.float32)) * share).astype(np.uint8)

        while done < options.steps and not job.watch.should_stop():
            done += 1
            if job.watch.save_map is not None:
                job.watch.save_map(f"paint-{done}", mask * (done / options.steps))
            if job.watch.on_step is not None:
                job.watch.on_step(Step(done, options.steps, {"share": done / options.steps}, painted))
            if job.watch.checkpoint is not None:
                job.watch.checkpoint({"step": done})
        return Edited(painted(), stopped=done < options.steps, log={"steps": done})


class FakeVerifierOptions(Options):
    colour: tuple[int, int, int] = Field((255, 0, 0), description="RGB that a region has when its subtask is done")
    tolerance: float = Field(40.0, ge=0, le=255, description="largest distance from it, in levels, that is near enough")


class FakeVerifier(Verifier[FakeVerifierOptions]):
    """Takes a subtask for done when every pixel of its region is near one colour, which is what FakeEditor paints."""

    options_type = FakeVerifierOptions

    def verify(self, job: VerifyJob) -> list[Finding]:
        """A finding for each subtask; one without a region cannot be told."""
        return [self._finding(job, index) for index in job.subtasks]

    def _finding(self, job: VerifyJob, index: int) -> Finding:
        masks = job.masks(index)
        if not masks:
            return Finding(
                subtask=index, verdict="cannot tell", evidence=(Evidence(by="fake", note="it has no region"),)
            )
        inside = np.max(masks, axis=0) == 1
        far = np.abs(job.after[inside].astype(np.float64) - self.options.colour).max(axis=1)
        share = float((far <= self.options.tolerance).mean()) if len(far) else 0.0
        asked = f"pixels of the colour {self.options.colour}"
        evidence = (Evidence(by="fake", asked=asked, value=share, threshold=0.9),)
        if share >= 0.9:
            return Finding(subtask=index, verdict="done", score=share, evidence=evidence)
        same = bool((job.after[inside] == job.before[inside]).all())
        failure = "unchanged" if same else "wrong colour"
        return Finding(subtask=index, verdict="not done", score=share, evidence=evidence, failure=failure)


@hookimpl
def gas_register_planners() -> tuple[BackendSpec, ...]:
    return (BackendSpec("fake", "gas.testing.fakes:FakePlanner", "reads source -> target"),)


@hookimpl
def gas_register_grounders() -> tuple[BackendSpec, ...]:
    return (BackendSpec("fake", "gas.testing.fakes:FakeGrounder", "knows some places by heart"),)


@hookimpl
def gas_register_editors() -> tuple[BackendSpec, ...]:
    return (BackendSpec("fake", "gas.testing.fakes:FakeEditor", "paints the regions"),)


@hookimpl
def gas_register_verifiers() -> tuple[BackendSpec, ...]:
    return (BackendSpec("fake", "gas.testing.fakes:FakeVerifier", "looks for one colour"),)
