"""What the page is told: windows, tasks and edits as plain JSON values. No path, no key, no picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gas.errors import GasError
from gas.notes import plain
from gas.run.job import Planned
from gas.run.undone import remedy_for
from gas.types import Finding
from gas.verify.words import answer, attempt_sentence, evidence_sentence
from gas_ui import views
from gas_ui.choices import in_use, settings_form
from gas_ui.command import edit_line, replay_line
from gas_ui.preflight import NeedsAgreement, sheet
from gas_ui.wording import page_words, told
from gas_ui.work import maker, original_of

if TYPE_CHECKING:
    from gas.run.record import Attempt, Record
    from gas.types import Subtask
    from gas_ui.edits import Edit
    from gas_ui.tasks import Task, Tasks
    from gas_ui.window import Window


def window_state(window: Window, tasks: Tasks) -> dict[str, Any]:
    """All that the page shows of a window."""
    with window.lock:
        return {
            "id": window.id,
            "picture": _picture(window),
            "flags": window.flags,
            "chosen": _chosen(window),
            "instruction": window.request.instruction,
            "rows": [{"id": row.id, "on": row.on, **row.now.model_dump(mode="json")} for row in window.table.rows],
            "sentences": list(window.table.sentences()),
            "warnings": _warnings(window),
            "note": _note(window),
            "places": _places(window),
            "sheet": _sheet(window),
            "preparing": window.preparing and window.job is None,
            "task": None if window.task is None or window.task.over else window.task.id,
            "edits": [edit_state(edit) for edit in reversed(window.edits)],
            "busy": None if window.task is None else task_state(window.task, tasks),
        }


def task_state(task: Task, tasks: Tasks) -> dict[str, Any]:
    """How far a task is."""
    asks = task.error.asks if isinstance(task.error, NeedsAgreement) else None
    return {
        "id": task.id,
        "kind": task.kind,
        "state": task.state,
        "stopping": task.stopping,
        "before": tasks.place(task),
        "progress": task.progress.look(),
        "error": None if task.error is None else told(task.error),
        "asks": asks,
    }


def edit_state(edit: Edit) -> dict[str, Any]:
    """One card of the history, with all that its result shows."""
    record, running = edit.record, edit.task is not None and not edit.task.over
    out: dict[str, Any] = {
        "number": edit.number,
        "task": None if edit.task is None else edit.task.id,
        "name": edit.out.name,
        "picture": edit.picture.number,
        "size": list(edit.picture.size),
        "editor": edit.editor,
        "instruction": edit.instruction,
        "group": edit.group,
        "parent": edit.parent,
        "redone": edit.redone,
        "offered": edit.offered,
        "done": record is not None,
        "running": running and record is None and edit.error is None,
        "resumable": edit.state is not None and not running,
        "stopped": record is not None and record.stopped,
        "seconds": edit.seconds,
        "error": None if edit.error is None else told(edit.error),
        "notes": [plain(note) for note in edit.notes],
        "same_bytes": edit.same_bytes,
        "drift": [plain(sentence) for sentence in edit.drift],
    }
    if record is None:
        return out
    return {
        **out,
        "seed": record.seed,
        "profile": record.profile,
        "by_hand": edit.by_hand and not _from_record(edit, record),
        "from_record": _from_record(edit, record),
        "command": _command(edit, record),
        "changes": [_change(edit, record, index) for index in range(len(record.plan.subtasks))],
        "outside": None if record.file is None else record.file.outside_max,
        "everywhere": any(one.where == "picture" for one in record.plan.subtasks)
        or (not record.regions and record.file is not None and record.file.edited == 1),
        "beyond": record.file.beyond if record.file is not None else None,
    }


def _from_record(edit: Edit, record: Record) -> bool:
    """Whether only the record says how to make an edit again: it is a replay, or has changes made again by hand."""
    return edit.replayed or any(one.asked for one in (record.verified.attempts if record.verified else ()))


def _command(edit: Edit, record: Record) -> str:
    name = record.input.name
    if _from_record(edit, record):
        return replay_line(edit.out.name, name)
    return edit_line(name, edit.instruction, edit.flags, record.seed, by_hand=edit.by_hand, masks=bool(record.regions))


def _change(edit: Edit, record: Record, index: int) -> dict[str, Any]:
    subtask = record.plan.subtasks[index]
    inside = record.measured.inside
    return {
        "what": plain(_named(subtask)),
        "inside": inside[index] if index < len(inside) else None,
        "crops": index < len(edit.changes) and edit.changes[index] is not None,
        "editor": maker(record, index),
        **_verdict(record, index),
    }


def _named(subtask: Subtask) -> str:
    return {
        "change": f"{subtask.source or 'the picture'} → {subtask.target}",
        "add": f"add {subtask.target}",
        "remove": f"remove {subtask.source}",
    }[subtask.action]


def _verdict(record: Record, index: int) -> dict[str, Any]:
    """What is known of a change: whether it is there and how that is known, what to try, and what was tried."""
    verified = record.verified
    findings = {} if verified is None else {one.subtask: one for one in verified.findings}
    attempts = [one for one in (verified.attempts if verified else ()) if one.finding.subtask == index]
    finding = findings.get(index) or next((one.finding for one in reversed(attempts) if one.finding.evidence), None)
    out: dict[str, Any] = {
        "verdict": None if finding is None else finding.verdict,
        "tried": [_tried(one) for one in attempts],
    }
    if finding is None:
        return out
    undone = finding.verdict == "not done"
    return {
        **out,
        "answer": plain(answer(finding)),
        "why": ""
        if finding.verdict != "cannot tell"
        else plain(next((e.note for e in finding.evidence if e.note), "")),
        "evidence": [plain(evidence_sentence(one)) for one in finding.evidence],
        "remedy": plain(remedy_for(record, index, finding.failure).worded(page_words)) if undone else "",
    }


def _tried(attempt: Attempt) -> str:
    # What was accepted by hand has its finding as the verdict already.
    untold = Finding(subtask=attempt.finding.subtask, verdict="cannot tell")
    finding = untold if attempt.asked else attempt.finding
    return plain(attempt_sentence(attempt.editor.name, finding, attempt.kept, asked=attempt.asked))


def _picture(window: Window) -> dict[str, Any] | None:
    picture = window.picture
    if picture is None:
        return None
    size = picture.size
    made = picture.record
    return {
        "number": picture.number,
        "name": picture.name,
        "size": list(size),
        "view": list(views.view_size(size)),
        "warnings": [plain(one) for one in picture.warnings],
        "example": picture.example,
        "made": None
        if made is None
        else {
            "asked": made.asked.instruction or made.plan.instruction,
            "editor": made.editor.name,
            "original": made.input.name,
            "here": original_of(window, picture) is not None,
        },
    }


def _chosen(window: Window) -> dict[str, Any]:
    """What holds with the window's settings; an error where it cannot be."""
    try:
        session = window.session()
        settings = session.settings
    except GasError as error:
        return {"error": told(error)}
    return {
        "profile": settings.profile.name,
        "why": settings.origin("profile"),
        "planner": settings.planner,
        "grounders": list(settings.grounders),
        "editor": settings.editor,
        "verifier": settings.verifier,
        "grounded": settings.grounded,
        "verify": settings.verify,
        "tries": settings.tries,
        "retry_editors": list(settings.retry_editors),
        "in_use": in_use(session),
        "settings": settings_form(session, window.flags),
    }


def _warnings(window: Window) -> list[str]:
    if window.job is not None:
        return [plain(one) for one in dict.fromkeys([*window.job.plan.warnings, *window.job.notes])]
    if window.table.empty:
        return []
    notes = window.table.base.notes if isinstance(window.table.base, Planned) else ()
    return [plain(one) for one in dict.fromkeys([*window.table.plan().warnings, *notes])]


def _note(window: Window) -> str:
    source = window.table.source
    return "" if source is None else plain(source.provenance.note or "")


def _places(window: Window) -> list[dict[str, Any]]:
    if window.picture is None:
        return []
    size = window.picture.size
    return [
        {
            "id": place.id,
            "row": place.row,
            "phrase": plain(place.region.phrase),
            "score": place.region.score,
            "box": None if place.region.box is None else list(views.view_box(place.region.box, size)),
            "byHand": place.by_hand,
            "note": plain(place.region.note),
            "version": place.version,
            "undo": place.before is not None,
            "share": float(place.view.mean()) / 255,
        }
        for place in window.places
    ]


def _sheet(window: Window) -> dict[str, Any] | None:
    if window.job is None:
        return None
    try:
        return {**sheet(window.job), "sizes": _sizes(window), "seconds": _seconds(window)}
    except GasError as error:
        return {"error": told(error)}


def _sizes(window: Window) -> list[dict[str, Any]] | None:
    """How fine each place is worked on; None while that is not known."""
    if window.sizes is None or window.job is None:
        return None
    return [
        {
            "what": [plain(name) for name in place.names(window.job.plan)],
            "size": list(place.frame.size),
            "coarse": place.coarseness,
        }
        for place in window.sizes
    ]


def _seconds(window: Window) -> float | None:
    """About how long the edit takes: as long as the last one with the same editor and options in this window, for each
    working picture. None before there was one."""
    job = window.job
    assert job is not None
    editor = job.session.settings.editor
    for edit in reversed(window.edits):
        record = edit.record
        if record is None or record.stopped or edit.redone is not None or edit.from_cache or edit.editor != editor:
            continue
        if (edit.flags.get("options") or {}).get(editor) == (window.flags.get("options") or {}).get(editor):
            return edit.seconds * (len(window.sizes or ()) or 1) / (len(record.places) or 1)
    return None
