"""The error for an edit of which some subtask is not done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gas.errors import NotVerified
from gas.plan.words import what
from gas.verify.words import remedy

if TYPE_CHECKING:
    from gas.run.record import Record


def raise_if_undone(record: Record) -> None:
    """NotVerified (exit 12), with what to try, where a subtask is known not to be done."""
    verified = record.verified
    if verified is None or not verified.undone:
        return
    undone = verified.undone
    first = next(one for one in verified.findings if one.subtask == undone[0])
    named = ", ".join(repr(what(record.plan.subtasks[index])) for index in undone)
    editor = next(
        (one.editor.name for one in reversed(verified.attempts) if one.finding.subtask == undone[0]),
        record.editor.name,
    )
    raise NotVerified(
        f"{len(undone)} of {len(record.plan.subtasks)} changes not done: {named}; the picture was written",
        remedy(first.failure, record.plan.subtasks[undone[0]], editor),
    )
