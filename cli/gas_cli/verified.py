"""What a terminal shows of a verification."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gas.plan.words import what
from gas.verify.words import attempt_sentence, evidence_sentence, sentence
from gas_cli import wording
from gas_cli.output import warn
from gas_shell.words import setting_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

    from gas.run.record import Record
    from gas.run.session import Session
    from gas.types import EditPlan

_OF_VERIFYING = ("verifier", "budget", "retry_editors")
"""The flags that say how an edit is verified, and do not say that it is."""


def verified_lines(record: Record, *, evidence: bool = False) -> Iterator[str]:
    """A line for each subtask: whether it is there, and how that is known; then what was tried. With `evidence` a line
    for each thing that was looked at."""
    verified = record.verified
    if verified is None:
        return
    for finding in verified.findings:
        yield sentence(finding, record.plan.subtasks[finding.subtask])
        for one in finding.evidence if evidence else ():
            yield f"  {evidence_sentence(one)}"
    for attempt in verified.attempts:
        subtask = record.plan.subtasks[attempt.finding.subtask]
        yield attempt_sentence(attempt.editor.name, attempt.finding, attempt.kept, subtask, asked=attempt.asked)
    if verified.undone and verified.ended:
        yield f"nothing more was tried: {verified.ended}"


def warn_unknown(console: Console, record: Record) -> None:
    """Warns of the subtasks that could not be judged."""
    verified = record.verified
    for index in verified.unknown if verified is not None else ():
        finding = verified.findings[index]  # type: ignore[union-attr] # there is one where it has an index
        why = next((one.note for one in finding.evidence if one.note), "")
        unknown = f"whether it is done cannot be told: {what(record.plan.subtasks[index])}"
        warn(console, [unknown + (f" ({why})" if why else "")])


def warn_of_verifying(console: Console, session: Session, plan: EditPlan, flags: Mapping[str, Any]) -> None:
    """Warns, before an edit, of what its verifier lacks, with the remedy, and of `flags` that change nothing since
    nothing is verified, or tried again."""
    settings = session.settings
    for name in _OF_VERIFYING:
        if flags.get(name) is None:
            continue
        if not settings.verify:
            warn(console, [f"{setting_words(name)} changes nothing, for nothing is verified: add --verify"])
        elif settings.tries == 1 and name != "verifier":
            warn(console, [f"{setting_words(name)} changes nothing, for nothing is tried again: add --tries 2"])
    for error in session.verifier_lacks(plan):
        warn(console, [error.message])
        console.print(wording.remedy(error), markup=False, soft_wrap=True)


def verified_data(record: Record) -> dict[str, Any]:
    """The verification for `--json`; empty where there was none."""
    return {} if record.verified is None else {"verified": record.verified.model_dump(mode="json")}
