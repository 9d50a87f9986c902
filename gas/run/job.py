"""The one way from a request to an edited file with its record beside it: `prepare`, then `PhotoJob.run`.

The command line, `gas.edit`, comparisons and whatever else edits photographs call these; what can be refused is
refused before the first step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from gas import notes
from gas.backends.roles import EDITORS, GROUNDERS, PLANNERS, VERIFIERS
from gas.checkpoint import load_state, run_digest, save_state
from gas.errors import GasError, Interrupted, PluginBroken, ResultRefused, UsageError
from gas.interfaces import Watch
from gas.picture import photo_write
from gas.picture.containers import output_format
from gas.picture.frame import Frame
from gas.run import record as records
from gas.run import recording
from gas.run.budget import Budget
from gas.run.output import Output, check_output, reserve_output, state_path
from gas.run.points import is_point
from gas.run.record import Model, Record, Request, Used, Verified
from gas.run.result import EditResult
from gas.run.retry import OnAttempt, Retry
from gas.run.reuse import told
from gas.run.reuse.told import Told
from gas.run.session import Session, new_seed
from gas.run.used import models, models_used, used
from gas.types import EditPlan, Region, WorkMode
from gas.version import __version__

if TYPE_CHECKING:
    from gas.masks import Size
    from gas.picture.photo import Photo
    from gas.picture.photo_write import Written
    from gas.placement import MemorySetting
    from gas.run.detail import Detail
    from gas.run.result import Place

Stage = Literal["plan", "ground"]
OnStage = Callable[[Stage, str], None]
"""Is told what begins: planning or grounding, and the names of the backends that are asked."""


@dataclass(frozen=True)
class WrittenEdit:
    """An edit that was written: the result in memory, the file, and the record, which is also in `record_path`.

    `state` is the file that an interrupted run can be resumed from (None: it ran to its end).
    """

    result: EditResult
    written: Written
    record: Record
    record_path: Path
    state: Path | None = None


@dataclass(frozen=True)
class Planned:
    """A plan with where it came from: what was asked for, the planner, and what was warned of meanwhile."""

    plan: EditPlan
    request: Request
    planner: Used
    notes: tuple[str, ...] = ()


def make_plan(
    session: Session,
    photo: Photo,
    request: Request,
    *,
    seed: int,
    watch: Watch = Watch(),
    on_stage: OnStage | None = None,
) -> Planned:
    """The plan that the session's planner makes of what is asked of `photo`: the first stage of `prepare` alone, to
    show it before anything is looked for. Errors as there."""
    session.check(PLANNERS)
    return _planned(session, photo, request, records.pixel_hash(photo.pixels), seed, watch, on_stage)


def _planned(
    session: Session, photo: Photo, request: Request, pixels: str, seed: int, watch: Watch, on_stage: OnStage | None
) -> Planned:
    """What `make_plan` gives; `pixels` is the photograph's hash before the planner sees it."""
    name = session.settings.planner
    with notes.collected(recorded=True) as warned:
        edit_request = request.of(photo.pixels, seed)
        watch.check_stop()
        if on_stage is not None:
            on_stage("plan", name)
        plan = session.plan(edit_request)
        _refuse_written(photo, pixels, f"planner {name!r}")
    return Planned(plan, request, used(session, PLANNERS.plural, name), tuple(warned))


def prepare(
    session: Session,
    photo: Photo,
    request: Request | EditPlan | Planned,
    given: Sequence[Region] = (),
    *,
    seed: int | None = None,
    work: WorkMode = "auto",
    required: bool | None = None,
    watch: Watch = Watch(),
    on_stage: OnStage | None = None,
) -> PhotoJob:
    """The job that does what is asked of `photo`: its plan made, its things found, nothing edited yet.

    * request: what the user asks for, or a finished plan, or what `make_plan` gave; then no planner is asked.
    * given: the regions that the user drew, in pixels of the photograph; a box alone is enough, or a point where a
      segmenter is chosen. Only what is left open is looked for (`Session.ground`, which `required` is for).
    * seed: in [0, 2³¹); None: the session's, else a new one.
    * watch: is told the steps of the grounders, and asked before each stage and within grounding whether to stop;
      `on_stage` is told what begins.

    UsageError (exit 2) and InputRefused (exit 3) before any backend is asked, where that can be known; Interrupted
    (exit 130) when told to stop; PluginBroken (exit 9) for a backend that changes the photograph in memory; the errors
    of `Session.plan` and `Session.ground`.
    """
    from gas.regions.asked import with_doubts
    from gas.regions.check import check_region
    from gas.settings.catalogue import refuse_picture

    refuse_picture(session.registry, session.settings, photo.pixels, session.helpers)
    session.check(
        *((PLANNERS,) if isinstance(request, Request) else ()),
        GROUNDERS,
        EDITORS,
        *((VERIFIERS,) if verifies(session) else ()),
    )
    drawn = tuple(replace(check_region(region, photo.size), given=True) for region in given)
    seed = next(one for one in (seed, session.settings.seed, new_seed()) if one is not None)
    pixels = records.pixel_hash(photo.pixels)
    settings = session.settings
    with notes.collected(recorded=True) as warned, told.collected() as reused:
        if isinstance(request, Request):
            request = _planned(session, photo, request, pixels, seed, watch, on_stage)
        known = request if isinstance(request, Planned) else None
        plan = request if isinstance(request, EditPlan) else request.plan
        watch.check_stop()
        if on_stage is not None:
            on_stage("ground", ", ".join(settings.grounders))
        regions = session.ground(photo.pixels, plan, drawn, required=required, watch=watch)
        if work == "frames":
            _warn_of_one_frame(plan, regions, photo.size)
    plan = with_doubts(plan, regions)
    looked = (
        any(not region.given for region in regions)
        or any(is_point(region) for region in drawn)
        or session.backend(EDITORS.plural, settings.editor).finds_regions
    )
    _refuse_written(photo, pixels, f"a grounder of {', '.join(settings.grounders)}")
    job = PhotoJob(
        session,
        photo,
        plan,
        regions,
        seed,
        work=work,
        request=Request() if known is None else known.request,
        planner=None if known is None else known.planner,
        grounders=tuple(used(session, GROUNDERS.plural, name) for name in settings.grounders if looked),
        pixels=pixels,
        notes=notes.joined(() if known is None else known.notes, warned),
        reused=tuple(reused),
    )
    job.check()
    return job


def _warn_of_one_frame(plan: EditPlan, regions: Sequence[Region], size: Size) -> None:
    """Warns where an edit is not made in several working pictures, since some subtask has no place."""
    from gas.plan.words import what
    from gas.regions.where import edited_regions
    from gas.run.frames import without_place

    if lacking := without_place(plan, edited_regions(plan, regions, size)):
        names = ", ".join(repr(what(plan.subtasks[index])) for index in lacking)
        notes.warn(
            f"one working picture shows all: several need a region for every change, and there is none for {names}",
            stacklevel=3,
        )


def verifies(session: Session) -> bool:
    """Whether the session's edits are verified. UsageError (exit 2) for a budget, a verifier or an editor of the
    settings that cannot be used for it."""
    settings = session.settings
    if not settings.verify:
        return False
    Budget.of(settings.budget)
    for name in session.verifiers():
        session.settled(VERIFIERS.plural, name)
    for name in settings.retry_editors if settings.tries > 1 else ():
        session.settled(EDITORS.plural, name)
    return True


@dataclass(frozen=True)
class PhotoJob:
    """A photograph with all that is to be done to it, settled: plan, regions (native pixels), editor, seed.

    `request`, `planner` and `grounders` say where plan and regions came from, `profile_from` who chose the profile
    (None: as the settings say), `notes` what was warned of before the edit, for the record. `resume` is a state file.
    `pixels` is the hash of the photograph's pixels as they were read. For another editor on the same plan and regions
    replace the `session`. `follow` is what a record says of verification: its attempts are made again, and nobody is
    asked; `verifier` is who was. `reused`: which stages before the edit were taken from the cache.
    """

    session: Session
    photo: Photo
    plan: EditPlan
    regions: tuple[Region, ...]
    seed: int
    work: WorkMode = "auto"
    request: Request = field(default_factory=Request)
    planner: Used | None = None
    grounders: tuple[Used, ...] = ()
    resume: Path | None = None
    profile_from: str | None = None
    notes: tuple[str, ...] = ()
    verifier: Used | None = None
    follow: Verified | None = None
    pixels: str = field(default="", repr=False)
    reused: tuple[Told, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not self.pixels:
            object.__setattr__(self, "pixels", records.pixel_hash(self.photo.pixels))

    def check(self, out: Path | None = None, *, overwrite: bool = False) -> None:
        """Refuses what can be refused before the first step; loads no model and makes no file.

        UsageError (exit 2): a region that is missing, an unknown way to work, and for `out` as
        `gas.run.output.check_output`. InputRefused (exit 3): a state of another run.
        """
        if out is not None:
            check_output(self.photo, out, overwrite=overwrite)
        if self.work not in get_args(WorkMode):
            raise UsageError(f"work {self.work!r} is unknown", f"use {', '.join(get_args(WorkMode))}")
        self.session.check_regions(self.plan, self.regions)
        if self.resume is not None:
            load_state(self.resume, digest=self._digest())

    def places(self, watch: Watch = Watch()) -> list[Place]:
        """The working pictures that `edit` will cut, and the subtasks of each; the editor's model may be loaded. Errors
        as `gas.run.working.working_pictures`."""
        from gas.run.working import working_pictures

        return working_pictures(self.session, self.photo.size, self.plan, self.regions, work=self.work, watch=watch)

    def detail(self, watch: Watch = Watch()) -> Detail | None:
        """The detail that `edit` will add to large places, with its effort; None where it will add none. The models are
        loaded. Errors as `gas.run.working.detail_ahead`."""
        from gas.run.working import detail_ahead

        return detail_ahead(
            self.session, self.photo.pixels, self.plan, self.regions, seed=self.seed, work=self.work, watch=watch
        )

    def edit(self, watch: Watch = Watch(), on_attempt: OnAttempt | None = None) -> EditResult:
        """The edited photograph in memory, verified where the settings say so; `EditResult.save` writes it.

        `on_attempt` is told of each subtask that is tried again, and by which editor. Errors as `Session.edit`.
        """
        with told.collected() as reused:
            result = self.session.edit(
                self.photo.pixels, self.plan, self.regions, seed=self.seed, work=self.work, watch=watch
            )
            _refuse_written(self.photo, self.pixels, f"editor {self.session.settings.editor!r}")
            result = self.verified(result, watch, on_attempt)
        return replace(result, job=self, reused=tuple(reused))

    def verified(self, result: EditResult, watch: Watch = Watch(), on_attempt: OnAttempt | None = None) -> EditResult:
        """A result of this job after verification, where the settings say so, or after what a record says of it; one
        that was stopped as it is. `edit` does this itself; it is for the results of `edit_together`."""
        if result.stopped or not (self.session.settings.verify or self.follow):
            return result
        retry = Retry(self.session, self.photo.pixels, result, self.seed, self.work, _used_editor, watch)
        if on_attempt is not None:
            retry.on_attempt = on_attempt
        result = retry.follow(self.follow) if self.follow is not None else retry.run()
        _refuse_written(self.photo, self.pixels, "a verifier, or an editor that tried again,")
        return result

    def run(
        self,
        out: Path | Output,
        *,
        watch: Watch = Watch(),
        gps: bool = False,
        overwrite: bool = False,
        on_attempt: OnAttempt | None = None,
    ) -> WrittenEdit:
        """The edit, written to `out` and read again, with its record in `out`.gas.json.

        The name is reserved while it runs, unless it is one that the caller has reserved (`reserve_output`). The state
        is kept in `out`.gas-state, and stays there when the run is stopped. Errors leave `out` as it was.
        """
        reserved = nullcontext(out) if isinstance(out, Output) else reserve_output(self.photo, out, overwrite=overwrite)
        with reserved as output:
            self.check()
            state = state_path(output.path)
            try:
                result = self.edit(self._kept(watch, state), on_attempt)
            except ResultRefused:
                if self.resume is None:  # a run that came to its end; to resume it would only come there again
                    state.unlink(missing_ok=True)
                raise
            done = self._write(result, output, gps)
            if not result.stopped:
                state.unlink(missing_ok=True)
            return replace(done, state=state if result.stopped and state.exists() else None)

    def write(
        self, result: EditResult, out: Path | Output, *, gps: bool = False, overwrite: bool = False
    ) -> WrittenEdit:
        """A result of this job, written to `out` and read again, with its record. Errors as `run`."""
        if isinstance(out, Output):
            return self._write(result, out, gps)
        with reserve_output(self.photo, out, overwrite=overwrite) as output:
            return self._write(result, output, gps)

    def _write(self, result: EditResult, output: Output, gps: bool) -> WrittenEdit:
        record = self._record(result)
        written = photo_write.write(
            self.photo,
            output.path,
            result.image,
            result.mask,
            outside_of=result.asked,
            record=recording.embeddable(record, photo_write.room(self.photo, output_format(output.path))),
            gps=gps,
            trained=bool(record.models),
            overwrite=output.overwrite,
        )
        record, path = recording.write_sidecar(record, written, result, overwrite=output.overwrite)
        return WrittenEdit(result, written, record, path)

    def _kept(self, watch: Watch, state: Path) -> Watch:
        """`watch` with the run's states kept in the file `state`, and resumed from the job's own."""
        digest, draft, also = self._digest(), self._record(self._unfinished()).to_json(), watch.checkpoint

        def checkpoint(values: Mapping[str, Any]) -> None:
            save_state(state, values, digest=digest, record=draft)
            if also is not None:
                also(values)

        resume = watch.resume if self.resume is None else load_state(self.resume, digest=digest)
        return replace(watch, checkpoint=checkpoint, resume=resume)

    def _record(self, result: EditResult) -> Record:
        settings, editor, helpers = self.session.settings, self._editor(), self._helpers()
        tried = {one.editor.name: one.editor for one in result.verified.attempts}.values() if result.verified else ()
        session = self.session
        own = [model for one in (editor, *helpers) for model in models_used(session, EDITORS.plural, one.name)]
        for one in tried:
            own += models_used(session.with_editor(one.name), EDITORS.plural, one.name)
        return recording.make(
            self.photo,
            result,
            pixels=self.pixels,
            request=self.request,
            planner=self.planner,
            grounders=self.grounders,
            editor=editor,
            helpers=helpers,
            verifier=self._verifier(result),
            profile=settings.profile.name,
            profile_from=self.profile_from or settings.origin("profile"),
            models=[
                *{model.id: model for model in own}.values(),
                *(model for one in self.grounders for model in self._models_of_grounder(one)),
            ],
            seed=self.seed,
            device=settings.device,
            dtype=settings.dtype,
            memory=self._memory(),
            work=self.work,
            grounded=settings.grounded,
            detail=settings.detail,
            notes=self.notes,
        )

    def _models_of_grounder(self, one: Used) -> list[Model]:
        """Of one that another run has asked only what its record says is known."""
        chosen = one.name in self.session.settings.grounders
        return models_used(self.session, GROUNDERS.plural, one.name) if chosen else models(one.options)

    def _memory(self) -> MemorySetting:
        """The rung by which networks were placed, where it is not the first; else the setting."""
        rung = self.session.runtime.rung
        return self.session.settings.memory if rung in (None, "all") else rung

    def _editor(self) -> Used:
        return used(self.session, EDITORS.plural, self.session.settings.editor)

    def _verifier(self, result: EditResult) -> Used | None:
        if self.follow is not None or result.verified is None or not result.verified.findings:
            return self.verifier
        return used(self.session, VERIFIERS.plural, self.session.settings.verifier)

    def _helpers(self) -> tuple[Used, ...]:
        return tuple(used(self.session, EDITORS.plural, name) for name in self.session.helpers())

    def _unfinished(self) -> EditResult:
        """The result of a run that has not begun, for the record inside its state file."""
        import numpy as np

        width, height = self.photo.size
        return EditResult(
            image=self.photo.pixels,
            plan=self.plan,
            regions=self.regions,
            raw=self.photo.pixels,
            mask=np.zeros((height, width), np.float32),
            frame=Frame(self.photo.size, (0, 0, width, height), self.photo.size),
            stopped=True,
            log={},
        )

    def _digest(self) -> str:
        return run_digest(
            gas=__version__,
            pixels=self.pixels,
            plan=self.plan.model_dump(mode="json"),
            regions=[[r.phrase, r.subtask, _mask_hash(r)] for r in self.regions],
            editor=[one.model_dump(mode="json") for one in (self._editor(), *self._helpers())],
            seed=self.seed,
            work=self.work,
            grounded=self.session.settings.grounded,
            detail=self.session.settings.detail,
        )


def edit_together(jobs: Sequence[PhotoJob], watch: Watch = Watch()) -> list[EditResult | GasError]:
    """The results of several jobs of one session in memory, in their order; an error in the place of each that failed.

    Those whose working pictures have one size share the editor's network calls (`gas.run.working.edit_together`).
    """
    from gas.run import working

    session = jobs[0].session
    results: dict[int, EditResult | GasError] = {}
    sizes: dict[tuple[int, int], list[tuple[int, working.WorkingEdit]]] = {}
    for index, job in enumerate(jobs):
        try:
            asked = working.begin(
                session, job.photo.pixels, job.plan, job.regions, seed=job.seed, work=job.work, watch=watch
            )
            sizes.setdefault(asked.size, []).append((index, asked))
        except Interrupted:
            raise
        except GasError as error:
            results[index] = error
    for group in sizes.values():
        together = working.edit_together(session, [asked for _, asked in group])
        for (index, _), result in zip(group, together, strict=True):
            job = jobs[index]
            _refuse_written(job.photo, job.pixels, f"editor {session.settings.editor!r}")
            results[index] = result if isinstance(result, GasError) else replace(result, job=job)
    return [results[index] for index in range(len(jobs))]


def _used_editor(session: Session, name: str) -> Used:
    return used(session, EDITORS.plural, name)


def _refuse_written(photo: Photo, pixels: str, who: str) -> None:
    """PluginBroken for a photograph whose pixels in memory are no longer those that were read."""
    if records.pixel_hash(photo.pixels) != pixels:
        raise PluginBroken(
            f"{who} has written into the photograph that it was given", "report it to the plugin's author"
        )


def _mask_hash(region: Region) -> str | None:
    return None if region.mask is None else records.pixel_hash(region.mask)
