"""After the whole was made at the model's resolution: places that are larger in the photograph get detail of its own
size, from a refiner (`gas.interfaces.Refiner`), or the photograph's own where their shape was kept.

It changes nothing but fine light and shade inside the regions (`gas.picture.detail`). Its steps are a part of the run:
they are reported after those of the edit, stopped, kept and resumed as these are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gas import notes
from gas.backends.roles import EDITORS
from gas.bands import bands
from gas.checkpoint import of_this_run, prefixed, under
from gas.interfaces import EditJob, Effort, Refiner, Step, Watch
from gas.masks import minus, union
from gas.picture.blend import unblend
from gas.picture.detail import sharpness, with_detail
from gas.picture.frame import WORTH_A_CROP, Frame
from gas.process import loading_stops_when
from gas.run import answers
from gas.run.frames import frame_regions
from gas.run.result import Detailed
from gas.run.turns import part_of_plan, turn_order
from gas.types import Region

if TYPE_CHECKING:
    from gas.picture.frames import Placed
    from gas.run.result import EditResult
    from gas.run.session import Session
    from gas.types import Image, Mask, Subtask

OWN = "photograph"
"""Whose detail it is where the photograph's own was kept."""
_BEGUN, _WHOLE, _STEPS, _DRAWING = "detail.begun", "detail.whole.", "detail.steps", "detail.drawing."


@dataclass(frozen=True)
class LargePlace:
    """A subtask that was worked on coarser than the photograph is: `coarse` pixels of it for each of the working
    picture's. `mask` `(H, W)` is where it may change the photograph, without what smaller subtasks change on top."""

    subtask: int
    coarse: float
    mask: Mask = field(repr=False)


def keeps_detail(subtask: Subtask) -> bool:
    """Whether the photograph's own detail is right after the edit: where only a colour or a tone changes, or the shape
    is to stay and nobody has said what changes."""
    if subtask.attribute is None:
        return subtask.preserve_shape
    return subtask.attribute in ("colour", "tone")


def large_places(placed: Sequence[Placed], regions: Sequence[Region]) -> list[LargePlace]:
    """The subtasks of those working pictures that show the photograph at less than 1 : 1.5, the largest first;
    `regions` are native, with masks."""
    coarse: dict[int, float] = {}
    for one in placed:
        fine = min(one.frame.scale)
        for subtask in frame_regions(regions, one)[0] if fine * WORTH_A_CROP < 1 else ():
            coarse[subtask] = 1 / fine
    own = {
        index: union([one.mask for one in regions if one.subtask == index and one.mask is not None])
        for index in sorted({one.subtask for one in regions if one.subtask is not None})
    }
    order = [list(own)[at] for at in turn_order(list(own.values()))]
    found = []
    for at, index in enumerate(order):
        if index in coarse:
            on_top = [own[other] for other in order[at + 1 :]]
            mask = minus(own[index], union(on_top)) if on_top else own[index]
            if mask.any():
                found.append(LargePlace(index, coarse[index], mask))
    return found


class Detail:
    """The detail of one edit of `image`. `job` holds what the refiner's job shares with the editor's; its watch is that
    of the run."""

    def __init__(self, session: Session, refiner: Refiner, image: Image, job: EditJob, found: list[LargePlace]) -> None:
        self.session, self.refiner, self.image, self.template = session, refiner, image, job
        subtasks = job.plan.subtasks
        self.kept = [one for one in found if keeps_detail(subtasks[one.subtask])]
        self.drawn = [one for one in found if one not in self.kept and subtasks[one.subtask].attribute != "effect"]
        self._effort: Effort | None = None
        self._total = 0

    @classmethod
    def of(
        cls, session: Session, image: Image, job: EditJob, placed: Sequence[Placed], places: Sequence[Region]
    ) -> Detail | None:
        """The detail of an edit with these working pictures; None where none is asked for, or nothing is so coarse."""
        refiner = session.refiner()
        found = large_places(placed, places) if refiner is not None else []
        return cls(session, refiner, image, job, found) if refiner is not None and found else None

    def effort(self, *, timed: bool = False) -> Effort:
        """What drawing costs. The refiner's model is loaded."""
        if not self.drawn:
            return Effort((), 0, 0)
        if self._effort is None or timed:
            with self._calling():
                self._effort = self.refiner.effort(self._job(self.image), timed=timed)
        return self._effort

    def begun(self) -> dict[str, Any] | None:
        """What the run's state holds of the finished whole; None where that is not finished."""
        resume = self.template.watch.resume
        if resume is None or _BEGUN not in resume:
            return None
        with of_this_run():
            self._total = int(resume[_STEPS])
        return under(resume, _WHOLE)

    def before(self) -> Watch:
        """What the edit itself reports to: its steps are some of all."""
        outer, own = self.template.watch, self.effort().steps

        def on_step(step: Step) -> None:
            self._total = step.total
            if outer.on_step is not None:
                outer.on_step(Step(step.index, step.total + own, step.values, step.preview))

        return replace(outer, on_step=on_step)

    def finish(self, result: EditResult, whole: Mapping[str, Any]) -> EditResult:
        """The edit with its detail; `whole` is what the run resumes from without making the edit again. An edit that
        was stopped stays as it is."""
        if result.stopped:
            return result
        image, stopped = result.image, False
        for one in self.kept:
            image = with_detail(image, self.image, np.minimum(one.mask, result.mask), one.coarse)
        log = dict(result.log)
        if self.drawn:
            fine, stopped, drawn = self._draw(image, whole)
            for one in self.drawn:
                image = with_detail(image, fine, np.minimum(one.mask, result.mask), one.coarse, self.image)
            log = _with_drawn(log, drawn)
        return replace(
            result,
            image=image,
            raw=self._raw(result, image),
            frame=Frame(result.frame.native, (0, 0, *result.frame.native), result.frame.native),
            stopped=stopped,
            log=log,
            detailed=tuple(self._told(result, image)),
        )

    def _raw(self, result: EditResult, image: Image) -> Image:
        """What was pasted, at the photograph's size: blended in once by the result's mask it gives `image`."""
        x0, y0, x1, y1 = result.frame.crop
        raw = self.image.copy()
        raw[y0:y1, x0:x1] = result.frame.enlarge(result.raw)
        for rows in bands(*result.mask.shape):
            if result.mask[rows].any():
                raw[rows], _ = unblend(self.image[rows], image[rows], 1 - result.mask[rows], raw[rows])
        return raw

    def _told(self, result: EditResult, image: Image) -> Iterator[Detailed]:
        tiles = dict(zip(sorted(one.subtask for one in self.drawn), self.effort().tiles, strict=True))
        for one in sorted([*self.kept, *self.drawn], key=lambda one: one.subtask):
            inside = np.minimum(one.mask, result.mask) > 0
            before, edited, after = (
                round(sharpness(picture, inside), 4) for picture in (self.image, result.image, image)
            )
            by = self.session.settings.detail if one.subtask in tiles else OWN
            known = (before, edited, after) if np.isfinite(before) else None
            yield Detailed(one.subtask, round(one.coarse, 4), by, tiles.get(one.subtask, 0), known)

    def _draw(self, image: Image, whole: Mapping[str, Any]) -> tuple[Image, bool, dict[str, Any]]:
        """The photograph with the places drawn anew, whether that was stopped, and what was measured."""
        job = replace(self._job(image), watch=self._watch(whole))
        with notes.collected() as warned, self._calling():
            made = self.refiner.edit(job)
        answers.edited(made, job, self.session.fault(EDITORS, self.session.settings.detail))
        log = dict(made.log)
        if warned:
            log["notes"] = list(notes.joined(log.get("notes", ()), warned))
        return made.image, made.stopped, log

    def _job(self, image: Image) -> EditJob:
        drawn = sorted(self.drawn, key=lambda one: one.subtask)
        plan = part_of_plan(self.template.plan, [one.subtask for one in drawn])
        regions = tuple(
            Region(plan.subtasks[number].target, mask=one.mask.copy(), subtask=number, given=True)
            for number, one in enumerate(drawn)
        )
        return EditJob(
            image=image.copy(),
            plan=plan,
            regions=regions,
            seed=self.template.seed,
            options=self.refiner.options,
            watch=Watch(should_stop=self.template.watch.should_stop),
            grounded=True,
        )

    def _watch(self, whole: Mapping[str, Any]) -> Watch:
        outer, before = self.template.watch, self._total

        def on_step(step: Step) -> None:
            if outer.on_step is not None:
                values = {"detail": step.index, **step.values}
                outer.on_step(Step(before + step.index, before + step.total, values, step.preview))

        def checkpoint(state: Mapping[str, Any]) -> None:
            if outer.checkpoint is not None:
                begun = {_BEGUN: 1, _STEPS: before, **prefixed(_WHOLE, whole)}
                outer.checkpoint({**begun, **prefixed(_DRAWING, state)})

        resume = outer.resume
        return Watch(
            on_step=on_step,
            should_stop=outer.should_stop,
            checkpoint=checkpoint if outer.checkpoint is not None else None,
            resume=under(resume, _DRAWING) if resume is not None and _BEGUN in resume else None,
        )

    def _calling(self) -> Any:
        from contextlib import ExitStack

        held = ExitStack()
        held.enter_context(loading_stops_when(self.template.watch.should_stop))
        held.enter_context(self.session.registry.calling(EDITORS.plural, self.session.settings.detail))
        return held


def _with_drawn(log: dict[str, Any], drawn: Mapping[str, Any]) -> dict[str, Any]:
    """An edit's log with the refiner's in it: its rows are counted, its notes are among the edit's."""
    found = [f"detail: {note}" for note in drawn.get("notes", ())]
    more: dict[str, Any] = {"detail": dict(drawn)}
    if found:
        more["notes"] = list(notes.joined(log.get("notes", ()), found))
    if isinstance(log.get("evaluations"), int | float):
        more["evaluations"] = log["evaluations"] + drawn.get("evaluations", 0)
    return log | more
