"""One edit between photograph and editor: brought to working size, edited (alone, or with others in one batch), pasted
back.

`Session.edit` makes one edit; who has several pictures of one size can let them share an editor's network calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gas import notes
from gas.backends.roles import EDITORS
from gas.checkpoint import of_this_run
from gas.errors import GasError, Interrupted, ResultRefused
from gas.interfaces import EditJob, Watch
from gas.process import loading_stops_when
from gas.remedies import Remedy
from gas.run import answers
from gas.run.kept import kept, restored
from gas.run.ladder import climbing
from gas.run.result import EditResult
from gas.types import EditPlan, Region

if TYPE_CHECKING:
    from gas.interfaces import Edited, Editor
    from gas.masks import Size
    from gas.picture.frame import Frame
    from gas.picture.frames import Placed
    from gas.run.detail import Detail
    from gas.run.result import Place
    from gas.run.session import Session
    from gas.types import Image, WorkMode


@dataclass(frozen=True)
class WorkingEdit:
    """An edit that its editor can begin: `image` and `regions` at native size, `job` at the working size of `frame`.

    `before` is the working picture as it was, `places` are where the plan means to change something. With several
    working pictures (`placed`) frame, `before` and job are of the whole photograph, and the job has no regions yet.
    """

    image: Image
    regions: tuple[Region, ...]
    places: Sequence[Region]
    placed: Sequence[Placed]
    frame: Frame
    before: Image
    job: EditJob

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the working picture: edits of one size can share a batch."""
        return self.before.shape[1], self.before.shape[0]


def begin(
    session: Session,
    image: Image,
    plan: EditPlan,
    regions: Sequence[Region],
    *,
    seed: int,
    work: WorkMode = "auto",
    watch: Watch = Watch(),
) -> WorkingEdit:
    """The edit of `image` that the session's editor is to make. Arguments and errors as `Session.edit`."""
    from gas.picture.frame import Frame, to_working
    from gas.regions.check import with_mask

    editor = _editor(session)
    session.check_plan(plan)
    session.check_regions(plan, regions)
    regions = [with_mask(region, image) for region in regions]
    size = image.shape[1], image.shape[0]
    places, placed = _placed(session, size, plan, regions, work, watch)
    if len(placed) > 1:
        frame, before, own = Frame(size, (0, 0, *size), size), image, []
    else:
        frame = placed[0].frame
        before, own = frame.cut(image), [_own_mask(region) for region in to_working(places, frame)]
    if watch.on_picture is not None:
        watch.on_picture(before)
    job = EditJob(
        image=before.copy(),
        plan=plan,
        regions=tuple(own),
        seed=seed,
        options=editor.options,
        segmenter=session.segmenter(),
        watch=watch,
    )
    return WorkingEdit(image, tuple(regions), places, placed, frame, before, job)


def working_pictures(
    session: Session,
    size: Size,
    plan: EditPlan,
    regions: Sequence[Region],
    *,
    work: WorkMode = "auto",
    watch: Watch = Watch(),
) -> list[Place]:
    """The working pictures that `edit` would cut from a photograph of `size` (width, height) for these regions with
    their masks, in its order, and the subtasks of each.

    The session's editor is asked for its size, so its model is loaded. Errors as its `check_plan`, ModelUnavailable
    (exit 6), Interrupted (exit 130), and InputRefused (exit 3) for a crop without a region.
    """
    from gas.run.frames import fineness

    session.check_plan(plan)
    places, placed = _placed(session, size, plan, regions, work, watch)
    return list(fineness(placed, places))


def detail_ahead(
    session: Session,
    image: Image,
    plan: EditPlan,
    regions: Sequence[Region],
    *,
    seed: int,
    work: WorkMode = "auto",
    watch: Watch = Watch(),
) -> Detail | None:
    """What detail `edit` would add to this photograph, and its effort; None where it would add none.

    Models are loaded. Errors as `working_pictures`, and UsageError (exit 2) where the setting `detail` names nobody.
    """
    from gas.run.detail import Detail

    asked = begin(session, image, plan, regions, seed=seed, work=work, watch=Watch(should_stop=watch.should_stop))
    return Detail.of(session, asked.image, asked.job, asked.placed, asked.places)


def _placed(
    session: Session, size: Size, plan: EditPlan, regions: Sequence[Region], work: WorkMode, watch: Watch
) -> tuple[Sequence[Region], tuple[Placed, ...]]:
    """Where the plan means to change something, and the working pictures for that."""
    from gas.picture.frames import one_frame, work_frames
    from gas.regions.where import edited_regions
    from gas.run.frames import without_place

    stages = session.stages

    def ask() -> tuple[int | None, int]:
        editor = _editor(session)

        def sizes() -> tuple[int | None, int]:
            return editor.resolution(), editor.multiple()

        with loading_stops_when(watch.should_stop), _calling(session):
            return sizes() if stages is None else stages.size(session.settings.editor, editor, sizes)

    asked = climbing(session, ask)
    resolution, multiple = answers.working_size(*asked, session.fault(EDITORS, session.settings.editor))
    places = edited_regions(plan, regions, size)
    if not without_place(plan, places):
        return places, tuple(work_frames(size, places, work, resolution, multiple))
    return places, (one_frame(size, places, work, resolution, multiple),)


def edit(session: Session, working: WorkingEdit) -> EditResult:
    """The finished picture of one edit, with the detail that the settings ask for. Errors as `Session.edit`."""
    from gas.run.detail import Detail

    detail = Detail.of(session, working.image, working.job, working.placed, working.places)
    if detail is None:
        return whole(session, working)[0]
    begun = detail.begun()
    working = replace(working, job=replace(working.job, watch=detail.before()))
    return detail.finish(*whole(session, working, begun))


def whole(
    session: Session, working: WorkingEdit, made: Mapping[str, Any] | None = None
) -> tuple[EditResult, dict[str, Any]]:
    """The edit as the editor makes it at its own resolution, and what gives it again as `made`, without the editor."""
    if len(working.placed) > 1:
        job = working.job if made is None else replace(working.job, watch=replace(working.job.watch, resume=made))
        return _in_frames(session, replace(working, job=job))
    if made is not None:
        with of_this_run():
            edited = restored(made, working.before)
    else:
        edited = _edit_one(session, working.job)
    return _finished(session, working, edited), kept(edited)


def _edit_one(session: Session, job: EditJob) -> Edited:
    """What the editor makes of `job`, checked, with what was warned of meanwhile."""
    from gas.run.turns import edit_grounded, made_by

    grounded = session.settings.grounded

    def make() -> Edited:
        editor = _editor(session)
        with _until_the_first_step(job) as begun, _calling(session):
            return edit_grounded(editor, begun, _check(session)) if grounded else made_by(editor, begun)

    with notes.collected(recorded=True) as warned:
        edited = climbing(session, make)
    _check(session)(job, edited)
    return replace(edited, log=_with_notes(edited.log, warned))


def _in_frames(session: Session, working: WorkingEdit) -> tuple[EditResult, dict[str, Any]]:
    """The finished picture of an edit in several working pictures, and its state."""
    from gas.run.frames import FrameRun, fineness

    run = FrameRun(
        working.image,
        working.places,
        working.placed,
        working.job,
        partial(_edit_one, session),
        session.settings.editor,
        confined=session.settings.grounded,
        edit_batch=partial(_edit_batch, session) if _shares(session) else None,
    )
    made = run.run()
    if not made.stopped:
        _refuse_same(made.image, working.image)
    result = EditResult(
        image=made.image,
        plan=working.job.plan,
        regions=working.regions,
        raw=made.raw,
        mask=made.mask,
        frame=working.frame,
        stopped=made.stopped,
        log=made.log,
        chosen=tuple(run.chosen()),
        places=tuple(fineness(working.placed, working.places)),
    )
    return result, run.state()


def edit_together(session: Session, several: Sequence[WorkingEdit]) -> list[EditResult | GasError]:
    """The finished pictures of several edits of one `size`, in their order; an error in the place of each that failed.

    They share the editor's network calls where it `batches` and the run is not grounded; the first edit's watch is
    used for all. What has failed in the batch as a whole is tried again one by one, so that no edit suffers for
    another. Interrupted (exit 130) as `Session.edit`.
    """
    in_frames = any(len(one.placed) > 1 for one in several)
    if len(several) > 1 and _shares(session) and not in_frames:
        try:
            watch = several[0].job.watch
            edited = _edit_batch(session, [replace(one.job, watch=watch) for one in several])
            made = zip(several, edited, strict=True)
            return [_or_error(partial(_detailed, session, one, answer)) for one, answer in made]
        except Interrupted:
            raise
        except GasError:  # of the batch as a whole: each is tried alone
            pass
    return [_or_error(partial(edit, session, one)) for one in several]


def _detailed(session: Session, working: WorkingEdit, edited: Edited) -> EditResult:
    """The edit pasted back, with the detail that the settings ask for, whose steps are not reported."""
    from gas.run.detail import Detail

    job = replace(working.job, watch=Watch(should_stop=working.job.watch.should_stop))
    detail = Detail.of(session, working.image, job, working.placed, working.places)
    result = _finished(session, working, edited)
    return result if detail is None else detail.finish(result, {})


def _shares(session: Session) -> bool:
    """Whether the session's editor makes several edits in one batch. A grounded run's are made in turns."""
    return _editor(session).batches and not session.settings.grounded


def _edit_batch(session: Session, jobs: Sequence[EditJob]) -> list[Edited]:
    """What the editor makes of jobs of one size in one batch, checked, with what was warned of meanwhile."""

    def make() -> list[Edited]:
        editor, stages = _editor(session), session.stages
        with _until_the_first_step(jobs[0]) as first, _calling(session):
            stops = [replace(job, watch=replace(job.watch, should_stop=first.watch.should_stop)) for job in jobs[1:]]
            several = [first, *stops]
            if stages is None:
                return editor.edit_together(several)
            return stages.edit_together(session.settings.editor, editor, several)

    with notes.collected(recorded=True) as warned:
        edited = climbing(session, make)
    if not isinstance(edited, list) or len(edited) != len(jobs):
        raise session.fault(EDITORS, session.settings.editor)(
            f"edit_together returned {type(edited).__name__}, not a list of {len(jobs)} results"
        )
    for job, one in zip(jobs, edited, strict=True):
        _check(session)(job, one)
    return [replace(one, log=_with_notes(one.log, warned)) for one in edited]


def _refuse_same(finished: Image, image: Image) -> None:
    from gas.picture.blend import is_same

    if is_same(finished, image):
        raise ResultRefused(
            "the result is the same as the input: the change is smaller than one level of 255",
            Remedy("larger_region", "draw a larger region, or raise the steps or the guidance"),
        )


def _finished(session: Session, working: WorkingEdit, edited: Edited) -> EditResult:
    """The edit pasted back. ResultRefused (exit 11) as `Session.edit`."""
    from gas.run.compose import compose, refuse_black, refuse_unchanged, working_mask
    from gas.run.frames import chosen_place, fineness

    job, before, name = working.job, working.before, session.settings.editor
    if not edited.stopped:
        mask = working_mask(job, edited)
        refuse_black(before, edited, mask)
        refuse_unchanged(before, edited, mask, name)
    finished, native_mask = compose(
        working.image, working.frame, job, edited, working.places, confined=session.settings.grounded
    )
    if not edited.stopped:
        _refuse_same(finished, working.image)
    return EditResult(
        image=finished,
        plan=job.plan,
        regions=working.regions,
        raw=edited.image,
        mask=native_mask,
        frame=working.frame,
        stopped=edited.stopped,
        log=edited.log,
        chosen=tuple(chosen_place(place, job.plan, working.frame) for place in edited.places),
        places=tuple(fineness(working.placed, working.places)),
    )


def _or_error(make: Callable[[], EditResult]) -> EditResult | GasError:
    """What `make()` returns or raises; Interrupted passes."""
    try:
        return make()
    except Interrupted:
        raise
    except GasError as error:
        return error


def _editor(session: Session) -> Editor:
    editor: Editor = session.use(EDITORS, session.settings.editor)
    return editor


def _calling(session: Session) -> contextlib.AbstractContextManager[None]:
    return session.registry.calling(EDITORS.plural, session.settings.editor)


def _check(session: Session) -> Any:
    """What refuses an editor's answer that cannot be used: called with the job and the answer."""
    fault = session.fault(EDITORS, session.settings.editor)
    return lambda job, edited: answers.edited(edited, job, fault)


def _with_notes(log: Mapping[str, Any], warned: Sequence[str]) -> Mapping[str, Any]:
    """The editor's log, with what was warned of while it worked among its notes."""
    return {**log, "notes": list(notes.joined(log.get("notes", ()), warned))} if warned else log


def _own_mask(region: Region) -> Region:
    """The region with a copy of its mask, which an editor may do with as it likes."""
    return region if region.mask is None else replace(region, mask=region.mask.copy())


@contextlib.contextmanager
def _until_the_first_step(job: EditJob) -> Iterator[EditJob]:
    """Gives the job to hand to an editor; within it loading stops when the user asks for that.

    Once a step was made there is something to return, which a model that is loaded only then must not throw away.
    """
    asked = 0

    def should_stop() -> bool:  # an editor asks before every step: at the second time one was made
        nonlocal asked
        asked += 1
        return job.watch.should_stop()

    with loading_stops_when(lambda: asked < 2 and job.watch.should_stop()):
        yield replace(job, watch=replace(job.watch, should_stop=should_stop))
