"""The error for an edit of which some subtask is not done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gas.errors import NotVerified
from gas.plan.words import what
from gas.remedies import Setting
from gas.verify.words import remedy

if TYPE_CHECKING:
    from gas.remedies import Remedy
    from gas.run.record import Record, Used
    from gas.types import Failure


def raise_if_undone(record: Record) -> None:
    """NotVerified (exit 12), with what to try, where a subtask is known not to be done."""
    verified = record.verified
    if verified is None or not verified.undone:
        return
    undone = verified.undone
    first = next(one for one in verified.findings if one.subtask == undone[0])
    named = ", ".join(repr(what(record.plan.subtasks[index])) for index in undone)
    raise NotVerified(
        f"{len(undone)} of {len(record.plan.subtasks)} changes not done: {named}; the picture was written",
        remedy_for(record, undone[0], first.failure),
    )


def remedy_for(record: Record, subtask: int, failure: Failure | None) -> Remedy:
    """What to try for a subtask of an edit that is not done: nothing that was done already, and no option that its
    editor does not have."""
    ended = (record.verified.ended if record.verified else None) or ""
    further = Setting("tries", None if ended.startswith("after") else 3)
    if "budget" in ended:
        further = Setting("budget")
    elif "retry_editors" in ended:
        further = Setting("retry_editors")
    editor = _last_editor(record, subtask)
    return remedy(failure, record.plan.subtasks[subtask], editor.name, editor.options, further)


def _last_editor(record: Record, subtask: int) -> Used:
    """Who tried it last: in an attempt, chosen by the editor, or the editor itself."""
    attempts = () if record.verified is None else record.verified.attempts
    for attempt in reversed(attempts):
        if attempt.finding.subtask == subtask:
            return attempt.editor
    told = record.log.get("chosen")
    chosen = [one for one in told if isinstance(one, dict)] if isinstance(told, (list, tuple)) else []
    names = {one.get("editor") for one in chosen if one.get("subtask") == subtask + 1}
    return next((one for one in record.helpers if one.name in names), record.editor)
