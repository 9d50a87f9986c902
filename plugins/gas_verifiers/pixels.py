"""The verifier `pixels`: what can be known without any model. It never says that something is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from gas.interfaces import Options, Verifier
from gas.types import Evidence, Finding
from gas.verify.changes import VISIBLE, change, outside_share, region_of, spoilt
from gas_verifiers.findings import SPOILT, cannot_tell

if TYPE_CHECKING:
    from gas.interfaces import VerifyJob


class PixelsOptions(Options):
    """What counts as a change."""

    least_change: float = Field(
        1.5, ge=0, le=255, description="mean change of a region in levels of 255 below which nothing was changed"
    )
    outside: float = Field(
        0.02, ge=0, le=1, description="largest share of the pixels outside all regions that may have changed visibly"
    )


class PixelsVerifier(Verifier[PixelsOptions]):
    """Knows an edit of nothing, noise, black, and one that went elsewhere; of all others it cannot tell."""

    options_type = PixelsOptions
    name = "pixels"

    def verify(self, job: VerifyJob) -> list[Finding]:
        share = outside_share(job)
        beyond = Evidence(
            by=self.name,
            asked=f"share outside all regions that changed by more than {VISIBLE} levels",
            value=share,
            threshold=self.options.outside,
            at_most=True,
        )
        elsewhere = share is not None and share > self.options.outside
        return [self._finding(job, index, beyond if elsewhere else None) for index in job.subtasks]

    def _finding(self, job: VerifyJob, index: int, beyond: Evidence | None) -> Finding:
        failure = spoilt(job, index)
        if failure is not None:
            evidence = (Evidence(by=self.name, note=SPOILT[failure]),)
            return Finding(subtask=index, verdict="not done", score=0.0, evidence=evidence, failure=failure)
        inside = region_of(job, index)
        if inside is None:
            return cannot_tell(index, self.name, "the subtask has no region")
        found = change(job.before, job.after, inside)
        asked = f"share of the region that changed by more than {VISIBLE} levels"
        seen = Evidence(by=self.name, asked=asked, value=found.share, note=f"by {found.mean:.1f} levels in the mean")
        if found.mean < self.options.least_change:
            return Finding(subtask=index, verdict="not done", score=0.0, evidence=(seen,), failure="unchanged")
        if beyond is not None:
            return Finding(subtask=index, verdict="not done", score=0.0, evidence=(beyond, seen), failure="outside")
        return Finding(subtask=index, verdict="cannot tell", evidence=(seen,))
