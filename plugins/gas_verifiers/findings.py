"""Findings that several verifiers make in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gas.types import Evidence, Finding
from gas.verify.changes import spoilt
from gas.verify.parts import can_be_seen

if TYPE_CHECKING:
    from gas.interfaces import VerifyJob

SPOILT = {
    "unchanged": "the place is as it was, bit for bit",
    "noise": "neighbouring pixels have nothing to do with each other",
    "erased": "the place is black",
}


def cannot_tell(subtask: int, by: str, why: str) -> Finding:
    """The finding of a verifier that cannot know."""
    return Finding(subtask=subtask, verdict="cannot tell", evidence=(Evidence(by=by, note=why),))


def without_model(job: VerifyJob, subtask: int, by: str) -> Finding | None:
    """The finding where no model needs to be asked, or none could answer; None where one is to be asked."""
    failure = spoilt(job, subtask)
    if failure is not None:
        evidence = (Evidence(by=by, note=SPOILT[failure]),)
        return Finding(subtask=subtask, verdict="not done", score=0.0, evidence=evidence, failure=failure)
    if not job.masks(subtask):
        return cannot_tell(subtask, by, "the subtask has no region")
    if not can_be_seen(job.plan.subtasks[subtask]):
        return cannot_tell(subtask, by, "its phrases do not say how the place is to look")
    return None
