"""After composition: each subtask is verified, and what is not done is tried again, in its own region, by the next
editor.

What was accepted stays, bit for bit. Where regions overlap the smaller one lies on top, as in a grounded run: trying a
small thing again may change what it stands on, and never the other way round. A record holds every attempt, so a replay
follows it and asks no verifier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gas import notes
from gas.backends.roles import EDITORS
from gas.errors import GasError, InputRefused, Interrupted, ModelUnavailable, ObjectNotFound, ResultRefused, UsageError
from gas.interfaces import Watch
from gas.masks import any_set
from gas.regions.where import edited_regions
from gas.run.budget import Budget, rows_of
from gas.run.record import MAX_SEED, Attempt, Used, Verified
from gas.run.turns import single_plan
from gas.types import Evidence, Finding, Region

if TYPE_CHECKING:
    from gas.run.result import EditResult
    from gas.run.session import Session
    from gas.types import Image, Mask, WorkMode

OnAttempt = Callable[[int, str], None]
"""Is told the subtask that is tried again, and by which editor."""
_GIVEN_UP = (InputRefused, ModelUnavailable, ObjectNotFound, ResultRefused)


def _untold(subtask: int, editor: str) -> None:
    pass


@dataclass
class Retry:
    """One photograph's verification and its further attempts.

    `used(session, name)` describes an editor for the record; `on_attempt` is told of each attempt.
    """

    session: Session
    before: Image
    result: EditResult
    seed: int
    work: WorkMode
    used: Callable[[Session, str], Used]
    watch: Watch = field(default_factory=Watch)
    on_attempt: OnAttempt = _untold
    _sessions: dict[str, Session] = field(default_factory=dict)

    # --- verifying, and trying again ----------------------------------------------------------------------------------

    def run(self) -> EditResult:
        """The result with its findings; where the settings say so, with what is not done tried again.

        Whatever keeps the verifier from answering is a warning, and the findings are *cannot tell*: no edit is lost for
        that. A stop ends it with what is accepted by then, and the result says that it was stopped.
        """
        settings = self.session.settings
        try:
            first = self.findings(self.result.image, range(len(self.result.plan.subtasks)))
        except Interrupted:
            return replace(self.result, stopped=True)
        canvas = _Canvas(self, first)
        failed = [finding.subtask for finding in first if finding.verdict == "not done"]
        if not failed or settings.tries < 2:
            return replace(self.result, verified=Verified(findings=first, first=first))
        budget, stopped = Budget.of(settings.budget), False
        budget.rows = rows_of(self.result.log) or 0.0
        ended = None
        try:
            ended = self._try(canvas, budget)
        except Interrupted:
            ended, stopped = "it was stopped", True
        image, mask, attempts = canvas.finish()
        verified = Verified(findings=tuple(canvas.findings), first=first, attempts=attempts, ended=ended)
        return replace(self.result, image=image, mask=mask, verified=verified, stopped=self.result.stopped or stopped)

    def _try(self, canvas: _Canvas, budget: Budget) -> str | None:
        """Tries what is not done until all is, or nothing more may be tried: why, or None."""
        settings = self.session.settings
        waiting = {index: list(self._editors(index)) for index in canvas.undone()}
        tried = dict.fromkeys(waiting, 1)
        while left := [index for index in canvas.undone() if waiting[index] and tried[index] < settings.tries]:
            for index in left:
                if budget.over:
                    return f"the budget of {budget} is spent"
                self.watch.check_stop()
                name = waiting[index].pop(0)
                if not self._can(name, canvas, index):
                    continue
                tried[index] += 1
                self.on_attempt(index, name)
                attempt = canvas.attempt(index, name, min(self.seed + tried[index] - 1, MAX_SEED))
                budget.rows += attempt.rows or 0.0
        if not canvas.undone():
            return None
        if any(tried[index] < settings.tries for index in canvas.undone()):
            return "no other editor is left: retry_editors" if settings.retry_editors else "no retry_editors are set"
        return f"after {settings.tries} tries"

    def _editors(self, index: int) -> Sequence[str]:
        """Who may try a subtask again, in order: never who has made it, whose next seed gains nothing."""
        settings, chosen = self.session.settings, self.result.log.get("chosen", ())
        makers = {settings.editor, *(one.get("editor") for one in chosen if one.get("subtask") == index + 1)}
        return [name for name in dict.fromkeys(settings.retry_editors) if name not in makers]

    def _can(self, name: str, canvas: _Canvas, index: int) -> bool:
        """Whether an editor carries out the subtask at all; where not, a warning says why."""
        if canvas.regions[index] is None:
            notes.warn(f"{canvas.phrase(index)!r} has no region of its own, so it is not tried again", stacklevel=2)
            return False
        try:
            session = self.other(name)
            session.use(EDITORS, name)
            session.check_plan(single_plan(self.result.plan, index))
        except (UsageError, ModelUnavailable) as error:
            notes.warn(f"{name} does not try {canvas.phrase(index)!r} again: {error.message}", stacklevel=2)
            return False
        return True

    def other(self, name: str) -> Session:
        """The session with another editor, made once."""
        if name not in self._sessions:
            self._sessions[name] = self.session.with_editor(name)
        return self._sessions[name]

    def edit(self, image: Image, index: int, name: str, regions: Sequence[Region], seed: int) -> EditResult:
        """One subtask, by the editor `name`, confined to its own region of `image`."""
        watch = Watch(on_step=self.watch.on_step, should_stop=self.watch.should_stop)
        plan = single_plan(self.result.plan, index)
        result = self.other(name).edit(image, plan, regions, seed=seed, work=self.work, watch=watch)
        if result.stopped:
            raise Interrupted("stopped while a subtask was tried again")
        return result

    def findings(self, image: Image, subtasks: Sequence[int]) -> tuple[Finding, ...]:
        """What the verifier says; *cannot tell* where it cannot be asked."""
        try:
            return self.session.verify(
                self.before, image, self.result.plan, self.result.regions, subtasks, watch=self.watch
            )
        except Interrupted:
            raise
        except GasError as error:
            name = self.session.settings.verifier
            notes.warn(f"the verifier {name!r} could not be asked: {error.message}", stacklevel=2)
            evidence = (Evidence(by=name, note=" ".join(error.message.split())[:500]),)
            return tuple(Finding(subtask=index, verdict="cannot tell", evidence=evidence) for index in subtasks)

    # --- following a record ------------------------------------------------------------------------------------------

    def follow(self, then: Verified) -> EditResult:
        """The result with the attempts of a record that are in its picture made again; nobody is asked anything."""
        own = [one for one in then.attempts if not one.asked]
        result = self.result
        try:
            if own:
                canvas = _Canvas(self, then.first)
                for attempt in own:
                    if attempt.kept != "no":
                        self.on_attempt(attempt.finding.subtask, attempt.editor.name)
                        canvas.repeat(attempt)
                image, mask, _ = canvas.finish()
                result = replace(result, image=image, mask=mask)
            for attempt in then.attempts:
                if attempt.asked:
                    self.on_attempt(attempt.finding.subtask, attempt.editor.name)
                    result, _ = self.again(result, attempt)
        except Interrupted:
            return replace(self.result, stopped=True)
        return replace(result, verified=then)

    def again(self, result: EditResult, attempt: Attempt) -> tuple[EditResult, float | None]:
        """`result` with one subtask taken back and made again as `attempt` says, and the rows that it took. What the
        others did stays, as far as it does not lie beneath. Errors as `Session.edit`; Interrupted (exit 130)."""
        index = attempt.finding.subtask
        others = range(len(result.plan.subtasks))
        taken = [Finding(subtask=one, verdict="not done" if one == index else "cannot tell") for one in others]
        canvas = _Canvas(replace(self, result=result), taken)
        rows = canvas.repeat(attempt)
        image, mask, _ = canvas.finish()
        return replace(result, image=image, mask=mask), rows

    def has_region(self, index: int) -> bool:
        """Whether a subtask has a region of its own, so that it can be made again alone."""
        return _region(self.result, index) is not None


class _Canvas:
    """The picture as accepted so far, and what was tried."""

    def __init__(self, retry: Retry, first: Sequence[Finding]) -> None:
        self.retry, self.result = retry, retry.result
        self.findings = list(first)
        self.regions = [_region(self.result, index) for index in range(len(self.result.plan.subtasks))]
        self.attempts: list[Attempt] = []
        self.pasted: dict[int, tuple[Image, np.ndarray]] = {}
        """Of subtasks that are not done the best attempt so far, and where it lies."""
        self.best: dict[int, int | None] = {}
        """Which attempt that is; None: the first edit's."""
        failed = self.undone()
        self.image = self.result.image.copy()
        self.mask = self.result.mask.copy()
        for index in failed:
            inside = self.regions[index]
            if inside is None:
                continue
            alone = inside & ~self._accepted(lambda other: True)
            self.pasted[index], self.best[index] = (self.result.image, alone), None
        for _, alone in self.pasted.values():
            self.image[alone] = retry.before[alone]
        if any(one.failure == "outside" for one in first):
            beyond = ~any_set([one for one in self.regions if one is not None])
            self.image[beyond] = retry.before[beyond]

    def undone(self) -> list[int]:
        """The subtasks that are not done, those with the largest region first."""
        sizes = [0 if one is None else int(one.sum()) for one in self.regions]
        return sorted((one.subtask for one in self.findings if one.verdict == "not done"), key=lambda i: (-sizes[i], i))

    def phrase(self, index: int) -> str:
        subtask = self.result.plan.subtasks[index]
        return subtask.target or subtask.source

    def attempt(self, index: int, name: str, seed: int) -> Attempt:
        """Another try at a subtask, verified and kept if it is done; what became of it."""
        retry = self.retry
        used = retry.used(retry.other(name), name)
        try:
            result = retry.edit(self.image, index, name, self._own(index), seed)
        except _GIVEN_UP as error:
            note = " ".join(error.message.split())[:500]
            evidence = (Evidence(by=name, note=note),)
            gave_up = Finding(subtask=index, verdict="not done", evidence=evidence, failure="refused")
            self.attempts.append(Attempt(editor=used, seed=seed, finding=gave_up))
            return self.attempts[-1]
        image, where = self._with(index, result)
        (finding,) = retry.findings(image, [index])
        made = Attempt(editor=used, seed=seed, finding=finding, rows=rows_of(result.log))
        if finding.verdict == "done":
            self._accept(index, image, where, result.mask)
            self.findings[index] = finding
            made = made.model_copy(update={"kept": "accepted"})
        elif (finding.score or 0.0) > (self.findings[index].score or 0.0):
            self.findings[index] = finding
            self.pasted[index], self.best[index] = (image, where), len(self.attempts)
        self.attempts.append(made)
        return made

    def repeat(self, attempt: Attempt) -> float | None:
        """An attempt of a record, made again; the rows of networks that it took."""
        index = attempt.finding.subtask
        result = self.retry.edit(self.image, index, attempt.editor.name, self._own(index), attempt.seed)
        image, where = self._with(index, result)
        self.findings[index] = attempt.finding
        if attempt.kept == "accepted":
            self._accept(index, image, where, result.mask)
        else:
            self.pasted[index] = image, where
        return rows_of(result.log)

    def finish(self) -> tuple[Image, Mask, tuple[Attempt, ...]]:
        """The picture with the best there is of what is not done, where anything was pasted, and the attempts."""
        for index in self.undone():
            if index not in self.pasted:
                continue
            image, where = self.pasted[index]
            where = where & ~self._accepted(partial(self._smaller, index=index))
            self.image[where] = image[where]
            self.mask = np.maximum(self.mask, where.astype(np.float32))
        attempts = list(self.attempts)
        for index, number in self.best.items():
            if number is not None and self.findings[index].verdict != "done":
                attempts[number] = attempts[number].model_copy(update={"kept": "best"})
        return self.image, self.mask, tuple(attempts)

    def _with(self, index: int, result: EditResult) -> tuple[Image, np.ndarray]:
        """The picture with an attempt pasted where it may be, and where it differs from the one before it."""
        where = (result.mask > 0) & ~self._accepted(partial(self._smaller, index=index))
        return np.where(where[..., None], result.image, self.image), where

    def _accept(self, index: int, image: Image, where: np.ndarray, mask: Mask) -> None:
        self.image = image
        self.mask = np.maximum(self.mask, np.where(where, mask, 0))
        self.pasted.pop(index, None)

    def _accepted(self, which: Callable[[int], bool]) -> np.ndarray:
        """The regions `(H, W)` bool of all subtasks that are not known to be undone, and for which `which` holds."""
        masks = [self.regions[one.subtask] for one in self.findings if one.verdict != "not done" and which(one.subtask)]
        there = [mask for mask in masks if mask is not None]
        return any_set(there) if there else np.zeros(self.image.shape[:2], bool)

    def _smaller(self, other: int, index: int) -> bool:
        """Whether the region of `other` lies on top of that of `index`: it is smaller, or as large and named later."""
        mine, its = self.regions[index], self.regions[other]
        if mine is None or its is None or other == index:
            return False
        return (int(its.sum()), -other) < (int(mine.sum()), -index)

    def _own(self, index: int) -> list[Region]:
        """The subtask's regions, for a plan that has it alone."""
        own = [replace(region, subtask=0) for region in self.result.regions if region.subtask == index]
        if own or self.result.plan.subtasks[index].where == "picture":
            return own
        inside = self.regions[index]
        assert inside is not None  # what has no region is not tried again
        return [Region(self.phrase(index), mask=inside.astype(np.float32), subtask=0, given=True)]


def _region(result: EditResult, index: int) -> np.ndarray | None:
    """Where a subtask may change the picture, `(H, W)` bool; None where that is not known. The only subtask of an edit
    without regions may change what the editor chose."""
    size = result.image.shape[1], result.image.shape[0]
    places = edited_regions(result.plan, result.regions, size)
    masks = [one.mask for one in places if one.subtask == index and one.mask is not None]
    if masks:
        return any_set(masks)
    return result.asked if len(result.plan.subtasks) == 1 else None
