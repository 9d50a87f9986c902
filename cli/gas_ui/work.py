"""What the tasks of a window do: plan and look, edit, compare, replay, resume."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gas import files, notes
from gas.backends.roles import EDITORS, GROUNDERS, PLANNERS, VERIFIERS
from gas.errors import GasError, InputRefused, Interrupted, UsageError
from gas.plan.words import what
from gas.run.record import Record, Request
from gas.run.redo import redone
from gas.run.replay import again, drift
from gas.run.session import Session, new_seed
from gas.types import Region
from gas_ui.edits import Edit
from gas_ui.places import native_point
from gas_ui.preflight import check_agreed, require_models
from gas_ui.progress import CHECKING

if TYPE_CHECKING:
    from gas.run.job import PhotoJob
    from gas_ui.picture import Picture
    from gas_ui.tasks import Task
    from gas_ui.window import Window


def plan(window: Window, task: Task, request: Request, agreed: Collection[str]) -> None:
    """The plan of a request, then the regions of its things."""
    more = _agreed(window, agreed, request, PLANNERS)
    window.ask(task, request, more)
    find(window, task, agreed)


def find(window: Window, task: Task, agreed: Collection[str], **how: Any) -> PhotoJob:
    """The regions of whatever has none yet."""
    more = _agreed(window, agreed, window.request, GROUNDERS)
    return window.find(task.watch(), task.begin_stage, more, **how)


def outline(window: Window, task: Task, id: str, agreed: Collection[str]) -> None:
    """A place as a segmenter sees the thing in its box."""
    session = window.session(_agreed(window, agreed, window.request, GROUNDERS))
    region = window.place(id).region
    found = session.outline(window.shown().photo.pixels, region, task.watch())
    if found.mask is None:
        raise InputRefused(f"nothing was outlined in the box of {region.phrase!r}", "draw another box")
    mask = found.mask
    window.change_place(id, lambda place: place.put(mask))


def segment(window: Window, task: Task, row: str, point: Sequence[float], agreed: Collection[str]) -> None:
    """The thing at a point of the view, as a segmenter sees it, as a place of the row."""
    session = window.session(_agreed(window, agreed, window.request, GROUNDERS))
    photo, phrase = window.shown().photo, window.phrase(row)
    pointed = Region(phrase, point=native_point(point, photo.size), given=True)
    window.add_place(row, session.outline(photo.pixels, pointed, task.watch()))


def edit(window: Window, task: Task, agreed: Collection[str], *, other_seed: bool = False) -> None:
    """One edit, by the job that is ready, or after the missing regions were looked for."""
    job = window.job or find(window, task, agreed)
    more = _agreed(window, agreed, window.request, EDITORS, VERIFIERS)
    if more:
        job = replace(job, session=window.session(more))
    if other_seed:
        job = replace(job, seed=new_seed())
        window.seed, window.job = job.seed, job
    require_models(job.session)
    made = window.new_edit(job, job.session.settings.editor, window.flags, task=task)
    run(made, job, task)


def run(made: Edit, job: PhotoJob, task: Task, *, overwrite: bool = False) -> None:
    """Runs the job and fills the card `made`. What goes wrong is kept in it and raised."""
    task.begin_stage("edit", job.session.settings.editor, then=CHECKING if job.session.settings.verify else "")
    began = time.monotonic()

    def tried_again(subtask: int, editor: str) -> None:
        task.begin_stage("retry", f"{what(job.plan.subtasks[subtask])}, with {editor}", then=CHECKING)

    try:
        gps = bool(made.flags.get("gps"))
        with notes.collected() as warned:
            done = job.run(made.out, watch=task.watch(), gps=gps, overwrite=overwrite, on_attempt=tried_again)
    except GasError as error:
        made.error = error
        raise
    made.finish(done, job, time.monotonic() - began, warned)


def resume(window: Window, task: Task, made: Edit) -> None:
    """Resumes an edit that was stopped."""
    if made.job is None or made.state is None:
        raise UsageError("this edit has no state to resume from", "make it again")
    made.task = task
    run(made, replace(made.job, resume=made.state), task, overwrite=True)


def compare(window: Window, task: Task, editors: Sequence[str], agreed: Collection[str]) -> None:
    """The same plan, regions and seed with several editors, one after the other. One that fails stops no other."""
    sessions: dict[str, Session] = {}
    for name in editors:
        session = window.session({"editor": name})
        session.check(EDITORS)
        if check := _remote(window, session, agreed):
            session = window.session({"editor": name, **check})
        sessions[name] = session
    needs = any(session.backend(EDITORS.plural, name).needs_regions for name, session in sessions.items())
    job = window.job
    if job is None or (needs and not job.regions):
        job = find(window, task, agreed, required=needs or None)
    group = next(window.numbers)
    failed: GasError | None = None
    for name, session in sessions.items():
        flags = {**window.flags, "editor": name}
        made = window.new_edit(job, name, flags, task=task, group=group)
        try:
            require_models(session)
            mine = replace(job, session=session)
            mine.check()
            run(made, mine, task)
        except Interrupted as error:
            made.error = error
            raise
        except GasError as error:
            made.error = failed = error
        if task.stopping:
            return
    if failed is not None and all(one.error is not None for one in window.edits if one.group == group):
        raise failed


def redo(window: Window, task: Task, made: Edit, subtask: int, editor: str | None, agreed: Collection[str]) -> None:
    """One change of an edit once more, with another seed or editor, as an offer: the others stay bit for bit."""
    record, kept = made.record, made.kept
    if record is None or kept is None:
        raise UsageError("only an edit that came to its end can be changed in parts", "resume it first")
    if made.offered:
        raise UsageError("this change was made again and is not decided on", "accept it or throw it away first")
    if not 0 <= subtask < len(record.plan.subtasks):
        raise UsageError(f"this edit has no change {subtask + 1}", "reload the page")
    name = editor or maker(record, subtask)
    more: dict[str, Any] = {} if name == record.editor.name else {"retry_editors": [name], "tries": 2}

    def opened(recorded: Mapping[str, Any], check: Mapping[str, Any] | None = None) -> Session:
        if made.replayed:
            return window.session({**more, **(check or {})}, {}, recorded=recorded)
        flags = {**made.flags, "profile": made.flags.get("profile") or record.profile}
        return window.session({**more, **(check or {})}, flags)

    photo = made.picture.photo
    job = again(record, photo, opened)
    if check := _remote(window, job.session, agreed, others=tuple(more.get("retry_editors", ()))):
        job = again(record, photo, lambda recorded: opened(recorded, check))
    require_models(job.session, name)
    fresh = window.redone_edit(made, subtask, task)
    task.begin_stage("edit", name, then=CHECKING if job.session.settings.verify else "")
    began = time.monotonic()
    try:
        before = kept.result(photo.pixels, job.regions)
        with notes.collected() as warned:
            result = redone(job, before, subtask, name, seed=new_seed(), watch=task.watch())
            done = job.write(result, fresh.out, gps=bool(made.flags.get("gps")))
        fresh.finish(done, job, time.monotonic() - began, warned)
    except BaseException:
        window.discard(fresh.number)
        raise


def maker(record: Record, subtask: int) -> str:
    """The editor that a change of an edit is by."""
    attempts = () if record.verified is None else record.verified.attempts
    mine = [one for one in attempts if one.finding.subtask == subtask and one.kept != "no"]
    return mine[-1].editor.name if mine else record.editor.name


def replay(window: Window, task: Task, output: Picture) -> None:
    """The edit in the record of a dropped picture, made again from the original, which was dropped too."""
    then = output.record
    if then is None:
        raise UsageError("this picture holds no record of gas", "drop a picture that gas wrote")
    original = original_of(window, output)
    if original is None:
        raise UsageError(f"the original, {then.input.name}, is not here", "drop it on the page too")
    job = again(then, original.photo, lambda recorded: window.session({}, {}, recorded=recorded, picture=original))
    require_models(job.session)
    window.show(original)
    made = window.new_edit(job, job.session.settings.editor, {}, task=task, replayed=True)
    made.instruction, made.by_hand = then.asked.instruction, True
    run(made, job, task)
    if made.record is not None:
        made.drift = tuple(drift(then, made.record))
        with files.open_regular(made.out) as stream:
            made.same_bytes = files.sha256(stream) == output.sha256


def original_of(window: Window, output: Picture) -> Picture | None:
    """The photograph that the dropped output was made from, if it was dropped too."""
    return next((one for one in window.pictures if one.made(output)), None)


def _agreed(window: Window, agreed: Collection[str], request: Request, *roles: Any) -> dict[str, Any]:
    image = window.shown().photo.pixels
    return check_agreed(window.session(), roles, agreed, image, request)


def _remote(window: Window, session: Session, agreed: Collection[str], others: Sequence[str] = ()) -> dict[str, Any]:
    image = window.shown().photo.pixels
    return check_agreed(session, (EDITORS, VERIFIERS), agreed, image, window.request, others)
