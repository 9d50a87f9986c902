"""An edit in several working pictures (`gas.picture.frames`), one after the other, what is small on top.

Each is cut from the photograph as the pictures before have left it, edited under the plan of its own subtasks, and
pasted back. Neighbours in that order that have one size and do not overlap share a batch where the editor can. What is
done is kept in the run's state as working pictures, and the photograph is put together from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gas.checkpoint import of_this_run, prefixed, under
from gas.errors import GasError, Interrupted
from gas.interfaces import Edited, EditJob, Step, Watch
from gas.masks import mask_box
from gas.picture.frame import to_working
from gas.run.compose import compose, is_unchanged, refuse_black, refuse_unchanged, working_mask
from gas.run.kept import kept, restored
from gas.run.result import Place
from gas.run.turns import part_of_plan
from gas.types import Region

if TYPE_CHECKING:
    from gas.picture.frame import Frame
    from gas.picture.frames import Placed
    from gas.types import EditPlan, Image, Mask

EditOne = Callable[[EditJob], Edited]
EditBatch = Callable[[Sequence[EditJob]], list[Edited]]
"""Several jobs of one size in one batch; the first one's watch is told of the steps."""


@dataclass(frozen=True)
class InFrames:
    """The photograph with all edits in it, the native mask through which they were pasted, and `raw`: the photograph
    with each working picture in its crop, as the editor gave it."""

    image: Image
    mask: Mask
    raw: Image
    stopped: bool
    log: Mapping[str, Any]


def frame_regions(regions: Sequence[Region], placed: Placed) -> tuple[tuple[int, ...], list[Region]]:
    """The subtasks of a working picture, and its regions (native), numbered by their places among these."""
    own = [regions[index] for index in placed.regions]
    subtasks = tuple(sorted({region.subtask for region in own if region.subtask is not None}))
    return subtasks, [
        region if region.subtask is None else replace(region, subtask=subtasks.index(region.subtask)) for region in own
    ]


def without_place(plan: EditPlan, places: Sequence[Region]) -> list[int]:
    """The subtasks that have no place among `places`: with one of them there are no several working pictures, for each
    subtask must have its place in one."""
    there = {region.subtask for region in places}
    return [index for index in range(len(plan.subtasks)) if index not in there]


def fineness(placed: Sequence[Placed], regions: Sequence[Region]) -> Iterator[Place]:
    """How fine each working picture shows its regions."""
    for one in placed:
        subtasks, _ = frame_regions(regions, one)
        yield Place(one.frame, subtasks)


def chosen_place(place: Region, plan: EditPlan, frame: Frame) -> Region:
    """A place that an editor has chosen in its working picture, in pixels of the photograph, named after its subtask
    of `plan`."""
    assert place.mask is not None and place.subtask is not None
    subtask = plan.subtasks[place.subtask]
    mask = (frame.native_mask(place.mask.astype(np.float32)) > 0).astype(np.float32)
    name = subtask.region_phrase or subtask.target
    return Region(name, mask_box(mask) if mask.any() else None, mask, place.score, place.subtask)


class FrameRun:
    """`template` holds what all jobs share; `edit_one` and `edit_batch` (None: it makes one at a time) ask the editor,
    `editor` is its name. `confined`: nothing is pasted beyond the regions."""

    def __init__(
        self,
        image: Image,
        regions: Sequence[Region],
        placed: Sequence[Placed],
        template: EditJob,
        edit_one: EditOne,
        editor: str,
        *,
        confined: bool,
        edit_batch: EditBatch | None = None,
    ) -> None:
        self.template, self.edit_one, self.editor, self.confined = template, edit_one, editor, confined
        self.placed, self.regions, self.edit_batch = placed, regions, edit_batch
        self.image, self.raw = image.copy(), image.copy()
        self.mask = np.zeros(image.shape[:2], np.float32)
        self.made: list[Edited] = []
        self.unchanged: list[str] = []
        self.steps = 0
        """The steps that each picture counts for; 0: not known yet."""

    def run(self) -> InFrames:
        """What `InFrames` says. ResultRefused (exit 11) for a picture that is black, or where all are unchanged."""
        inner = self._resume()
        stopped = False
        while len(self.made) < len(self.placed) and not stopped:
            stopped = self._next(inner)
            inner = None
            if not stopped and len(self.made) < len(self.placed) and self.template.watch.checkpoint is not None:
                self.template.watch.checkpoint(self.state())
        return InFrames(self.image, self.mask, self.raw, stopped, self._log())

    def chosen(self) -> Iterator[Region]:
        """The places that the editor chose itself in the pictures that are made, in pixels of the photograph."""
        for edited, placed in zip(self.made, self.placed, strict=False):
            subtasks, _ = frame_regions(self.regions, placed)
            for place in edited.places:
                assert place.subtask is not None
                yield chosen_place(replace(place, subtask=subtasks[place.subtask]), self.template.plan, placed.frame)

    def _resume(self) -> Mapping[str, Any] | None:
        state = self.template.watch.resume
        if state is None:
            return None
        with of_this_run():
            if int(state["frames.alone"]):
                self.edit_batch = None
            self.steps, self.unchanged = int(state["frames.steps"]), [str(one) for one in state["frames.unchanged"]]
            for number in range(int(state["frames.done"])):
                (job,) = self._jobs(1, None)
                self._paste(job, restored(under(state, f"frames.{number}."), job.image))
        return under(state, "frame.") or None

    def state(self) -> dict[str, Any]:
        """What a run resumes from to make the pictures that are left."""
        state: dict[str, Any] = {"frames.done": len(self.made), "frames.steps": self.steps}
        state["frames.alone"] = int(self.edit_batch is None)
        state["frames.unchanged"] = list(self.unchanged)
        for number, edited in enumerate(self.made):
            state |= prefixed(f"frames.{number}.", kept(edited))
        return state

    def _at_once(self) -> int:
        """How many of the next pictures share a batch."""
        first, *others = self.placed[len(self.made) :]
        together = [first]
        for other in others if self.edit_batch is not None else ():
            overlaps = any(_overlap(other.frame.crop, one.frame.crop) for one in together)
            if overlaps or other.frame.size != first.frame.size:
                break
            together.append(other)
        return len(together)

    def _jobs(self, count: int, resume: Mapping[str, Any] | None) -> list[EditJob]:
        """The jobs of the next `count` pictures."""
        jobs = []
        for number in range(len(self.made), len(self.made) + count):
            placed = self.placed[number]
            subtasks, own = frame_regions(self.regions, placed)
            working = to_working(own, placed.frame)
            jobs.append(
                replace(
                    self.template,
                    image=placed.frame.cut(self.image),
                    plan=part_of_plan(self.template.plan, subtasks),
                    regions=tuple(one if one.mask is None else replace(one, mask=one.mask.copy()) for one in working),
                    seed=self.template.seed + number,
                    intermediate=number > 0,
                    watch=self._watch(number, count, resume),
                )
            )
        return jobs

    def _next(self, resume: Mapping[str, Any] | None) -> bool:
        """Makes the next picture, or the next few; whether it was told to stop, and so is not done."""
        jobs = self._jobs(self._at_once(), resume)
        before = [job.image.copy() for job in jobs]
        if len(jobs) == 1 or self.edit_batch is None:
            made = [self.edit_one(jobs[0])]
        else:
            try:
                made = self.edit_batch(jobs)
            except Interrupted:
                raise
            except GasError:  # of the batch as a whole, such as its memory: each is made alone
                self.edit_batch = None
                return self._next(None)
        for job, image, edited in zip(jobs, before, made, strict=True):
            self._keep(replace(job, image=image), edited)
        return any(edited.stopped for edited in made)

    def _keep(self, job: EditJob, edited: Edited) -> None:
        """Pastes a picture that was made."""
        mask = working_mask(job, edited)
        if not edited.stopped:
            refuse_black(job.image, edited, mask)
            if not mask.any() or is_unchanged(job.image, edited, mask):
                self.unchanged.append(self._name(len(self.made)))
                if len(self.unchanged) == len(self.placed):
                    refuse_unchanged(job.image, edited, mask, self.editor)
        self._paste(job, edited)

    def _paste(self, job: EditJob, edited: Edited) -> None:
        placed = self.placed[len(self.made)]
        regions = [self.regions[index] for index in placed.regions]
        self.image, mask = compose(self.image, placed.frame, job, edited, regions, confined=self.confined)
        np.maximum(self.mask, mask, out=self.mask)
        x0, y0, x1, y1 = placed.frame.crop
        self.raw[y0:y1, x0:x1] = placed.frame.enlarge(edited.image)
        self.made.append(edited)

    def _watch(self, number: int, together: int, resume: Mapping[str, Any] | None) -> Watch:
        """What the picture `number` reports to: its steps count on from those of the pictures before, as in
        `gas.run.turns`. Of `together` in one batch the first reports, and its steps count for all of them."""
        outer, done, count = self.template.watch, len(self.made), len(self.placed)
        last = done * self.steps
        first = number == done

        def on_step(step: Step) -> None:
            nonlocal last
            self.steps = self.steps or step.total
            at = done * self.steps + math.ceil(step.index * together * self.steps / step.total)
            if outer.on_step is None or at <= last:
                return
            last = at
            outer.on_step(Step(at, count * self.steps, {"frame": done + 1, **step.values}, step.preview))

        def checkpoint(state: Mapping[str, Any]) -> None:
            if outer.checkpoint is not None:
                outer.checkpoint({**self.state(), **prefixed("frame.", state)})

        def save_map(name: str, values: Mask) -> None:
            if outer.save_map is not None:
                outer.save_map(f"frame-{number + 1}-{name}", values)

        return Watch(
            on_step=on_step if first else None,
            should_stop=outer.should_stop,
            checkpoint=checkpoint if first and outer.checkpoint is not None else None,
            resume=resume if first else None,
            save_map=save_map if outer.save_map is not None else None,
        )

    def _name(self, number: int) -> str:
        subtasks, _ = frame_regions(self.regions, self.placed[number])
        plan: EditPlan = self.template.plan
        named = ", ".join(repr(plan.subtasks[index].target or plan.subtasks[index].source) for index in subtasks)
        return f"working picture {number + 1} ({named})"

    def _log(self) -> dict[str, Any]:
        logs = [dict(edited.log) for edited in self.made]
        found = [f"{self._name(n)}: {note}" for n, log in enumerate(logs) for note in log.get("notes", ())]
        found += [f"{name} has changed nothing" for name in self.unchanged]
        log: dict[str, Any] = {"notes": found, "frames": logs}
        if logs and all("evaluations" in one for one in logs):
            log["evaluations"] = sum(one["evaluations"] for one in logs)
        confined = {one["confined_by"] for one in logs if "confined_by" in one}
        return log | ({"confined_by": confined.pop()} if len(confined) == 1 else {})


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
