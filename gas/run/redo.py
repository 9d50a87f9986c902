"""One change of a finished edit made again because a person asked for it: another editor, or another seed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gas.backends.roles import EDITORS
from gas.errors import InputRefused
from gas.interfaces import Watch
from gas.run.record import Attempt, Verified
from gas.run.retry import Retry
from gas.run.reuse import told
from gas.run.used import used
from gas.types import Finding

if TYPE_CHECKING:
    from gas.run.job import PhotoJob
    from gas.run.result import EditResult


def redone(
    job: PhotoJob, result: EditResult, subtask: int, editor: str, *, seed: int, watch: Watch = Watch()
) -> EditResult:
    """`result`, which `job` came to, with the change `subtask` (its index) made again by `editor` from `seed`.

    What was there is taken back, and the editor, confined to that change's regions, begins from the photograph there;
    everything else stays, bit for bit. `verified` has it as an attempt that was asked for, so the record of what
    `job.write` writes makes it again; the verifier is asked where the session's settings say so.
    InputRefused (exit 3) for a change without a region; Interrupted (exit 130); other errors as `Session.edit`.
    """
    session = job.session
    retry = Retry(
        session, job.photo.pixels, result, job.seed, job.work, lambda of, name: used(of, EDITORS.plural, name), watch
    )
    if not retry.has_region(subtask):
        raise InputRefused(
            f"change {subtask + 1} has no region of its own, so it cannot be made again alone", "make the edit again"
        )
    finding = Finding(subtask=subtask, verdict="cannot tell")
    by = used(retry.other(editor), EDITORS.plural, editor)
    attempt = Attempt(editor=by, seed=seed, finding=finding, kept="accepted", asked=True)
    with told.collected() as reused:
        made, rows = retry.again(result, attempt)
    if session.settings.verify:
        (finding,) = retry.findings(made.image, [subtask])
    attempt = attempt.model_copy(update={"finding": finding, "rows": rows})
    then = result.verified or Verified(findings=())
    findings = tuple(finding if one.subtask == subtask else one for one in then.findings)
    verified = then.model_copy(update={"findings": findings, "attempts": (*then.attempts, attempt)})
    return replace(made, verified=verified, reused=tuple(reused))
