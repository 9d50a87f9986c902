"""The verifier `clip`: whether the place looks more like the target than like the source.

The measure is the margin of the two cosines on the crop, as a probability under CLIP's own temperature. The gain over
the source picture, and a cosine by itself, tell hardly more than chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from gas.errors import ModelUnavailable
from gas.interfaces import Options, Verifier
from gas.remedies import Option, Remedy
from gas.types import Evidence, Finding
from gas.verify.changes import change, region_of
from gas.verify.parts import crop, region_box
from gas_verifiers.findings import cannot_tell, without_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gas.errors import GasError
    from gas.interfaces import VerifyJob
    from gas.types import EditPlan, Failure, Subtask


class ClipOptions(Options):
    """Whose CLIP, and how sure it must be."""

    model: str = Field("", max_length=500, description="hub id, local folder or package:PACKAGE/FOLDER of a CLIP")
    target: float = Field(
        0.5, ge=0, le=1, description="least probability of the target's phrase against the source's, on the crop"
    )
    room: float = Field(0.1, ge=0, le=2, description="what is seen around the region: share of its longer side")


_MOST = 0.5


class ClipVerifier(Verifier[ClipOptions]):
    """Compares the phrases of each subtask on its crop."""

    options_type = ClipOptions
    name = "clip"

    def verify(self, job: VerifyJob) -> list[Finding]:
        found = []
        for index in job.subtasks:
            job.watch.check_stop()
            found.append(without_model(job, index, self.name) or self._compared(job, index))
        return found

    def lacks(self, plan: EditPlan) -> Sequence[GasError]:
        return () if self.options.model else (self._no_model(),)

    def _no_model(self) -> ModelUnavailable:
        return ModelUnavailable(
            "the verifier 'clip' has no model",
            Remedy(
                "name_clip",
                "name a CLIP, a folder or an id of the hub: {model}",
                model=Option({"model": None}, self.name),
            ),
        )

    def _compared(self, job: VerifyJob, index: int) -> Finding:
        there, gone = _phrases(job.plan.subtasks[index])
        if not there or not gone:
            return cannot_tell(index, self.name, "one phrase alone cannot be compared")
        if not self.options.model:
            raise self._no_model()
        from gas.diffusion.clip import Clip

        clip = Clip.load(self.options.model, self.runtime)
        box = region_box(job, index)
        assert box is not None  # without_model has answered for a subtask without a region
        texts = clip.texts([there, gone])
        cosines = texts @ clip.embed(crop(job.after, box, self.options.room))
        score = float((cosines * clip.network.logit_scale.exp()).softmax(0)[0])
        done = score >= self.options.target
        asked = f"{there!r} rather than {gone!r}"
        evidence = Evidence(by=self.name, asked=asked, value=score, threshold=self.options.target)
        return Finding(
            subtask=index,
            verdict="done" if done else "not done",
            score=score,
            evidence=(evidence,),
            failure=None if done else _failure(job, index),
        )


def _failure(job: VerifyJob, index: int) -> Failure:
    """What a place is that does not look like the target: as it was, or something else where most of it has visibly
    changed."""
    inside = region_of(job, index)
    assert inside is not None
    return "wrong kind" if change(job.before, job.after, inside).share > _MOST else "unchanged"


def _phrases(subtask: Subtask) -> tuple[str, str]:
    """What the place should look like, and what it looked like."""
    anchor = subtask.anchor or ""
    if subtask.action == "add":
        return subtask.target, anchor
    if subtask.action == "remove":
        return anchor, subtask.source
    return subtask.target, subtask.source
