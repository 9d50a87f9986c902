"""The verifier `detector`: the user's own detector is asked for what should be there, and for what should be gone
(METHODS, "Verifying an edit"; EdiVal, arXiv 2509.13399)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from gas.interfaces import Options, Verifier
from gas.plan.phrases import main_noun, normalise_phrase
from gas.types import Evidence, Finding
from gas.verify.parts import changes_looks, region_box
from gas_verifiers.findings import cannot_tell, without_model

if TYPE_CHECKING:
    from gas.interfaces import VerifyJob
    from gas.types import Box, Failure, Region, Subtask


class DetectorOptions(Options):
    """The thresholds; a profile has those that suit its detector (`gas bench verify`)."""

    target: float = Field(0.3, ge=0, le=1, description="least score of the target in its place")
    margin: float = Field(
        0.0, ge=-1, le=1, description="by how much the target must score more than the source in that place"
    )
    gone: float = Field(0.35, ge=0, le=1, description="largest score that a removed thing may have in its place")
    inside: float = Field(0.6, ge=0, le=1, description="least share of a box that lies in the region's box")
    rivals: tuple[str, ...] = Field(
        (), description="names of things that could have come instead; new ones must not score more than the target"
    )
    rival_margin: float = Field(0.1, ge=0, le=1, description="by how much a rival must score more to count")
    noun: float = Field(0.3, ge=0, le=1, description="least score at which a thing of the kind is there at all")


@dataclass(frozen=True)
class Scores:
    """The best scores, in [0, 1], of the target, the source and the target's main noun in a subtask's place, of the
    target in any other place, and of the rivals that were not in that place before the edit."""

    target: float
    source: float
    noun: float
    elsewhere: float
    rival: float
    rival_name: str


class DetectorVerifier(Verifier[DetectorOptions]):
    """Asks for all phrases of an edit in one look."""

    options_type = DetectorOptions
    name = "detector"

    def verify(self, job: VerifyJob) -> list[Finding]:
        known = {index: without_model(job, index, self.name) for index in job.subtasks}
        asked = [index for index, finding in known.items() if finding is None]
        scores = self._look(job, asked) if asked else {}
        found = []
        for index in job.subtasks:
            finding = known[index]
            if finding is None and scores is None:
                finding = cannot_tell(index, self.name, "no grounder that detects is chosen")
            elif finding is None and scores is not None:
                subtask, seen = job.plan.subtasks[index], scores[index]
                finding = self._judged(index, subtask, seen) if isinstance(seen, Scores) else seen
            assert finding is not None
            found.append(finding)
        return found

    def _look(self, job: VerifyJob, indices: Sequence[int]) -> dict[int, Scores | Finding] | None:
        """The scores of each subtask, or why there are none; None without a detector."""
        asked = {index: _phrases(job.plan.subtasks[index]) for index in indices}
        rivals = [normalise_phrase(one) for one in self.options.rivals]
        phrases = list(dict.fromkeys([*(one for three in asked.values() for one in three if one), *rivals]))
        places = job.look(job.after, phrases)
        if places is None:
            return None
        strange = {phrase for phrase, found in zip(phrases, places, strict=True) if found is None}
        after = {"": [], **{phrase: found or [] for phrase, found in zip(phrases, places, strict=True)}}
        there = job.look(job.before, rivals) if rivals else None
        before = {one: found or [] for one, found in zip(rivals, there or [None] * len(rivals), strict=True)}
        out: dict[int, Scores | Finding] = {}
        for index, (target, source, noun) in asked.items():
            needed = source if job.plan.subtasks[index].action == "remove" else target
            if needed in strange:
                out[index] = cannot_tell(index, self.name, f"the detector cannot look for {needed!r}")
                continue
            box = region_box(job, index)
            assert box is not None  # without_model has answered for a subtask without a region
            new = [(self._new(after[one], before[one], box), one) for one in rivals if not _within(one, target)]
            rival, rival_name = max(new, default=(0.0, ""), key=lambda pair: pair[0])
            out[index] = Scores(
                target=self._best(after[target], box),
                source=self._best(after[source], box),
                noun=self._best(after[noun], box),
                elsewhere=self._best(after[target], box, inside=False),
                rival=rival,
                rival_name=rival_name,
            )
        return out

    def _best(self, places: Sequence[Region], box: Box, *, inside: bool = True) -> float:
        """The best score of those places that lie in the box, or of those that do not."""
        scores = [
            place.score or 0.0
            for place in places
            if place.box is not None and (_share(place.box, box) >= self.options.inside) is inside
        ]
        return min(max(scores, default=0.0), 1.0)

    def _new(self, after: Sequence[Region], before: Sequence[Region], box: Box) -> float:
        """The best score in the box after the edit; 0 for what has scored half as much there before it."""
        score = self._best(after, box)
        return score if self._best(before, box) < score / 2 else 0.0

    def _judged(self, index: int, subtask: Subtask, scores: Scores) -> Finding:
        options = self.options
        if subtask.action == "remove":
            gone, done = scores.source <= options.gone, max(scores.source, scores.rival) <= options.gone
            evidence: tuple[Evidence, ...] = (
                self._seen(subtask.source, scores.source, options.gone, at_most=True),
                *self._rivals(scores, options.gone, at_most=True),
            )
            failure: Failure | None = None if done else "wrong kind" if gone else "unchanged"
            score = 1 - max(scores.source, scores.rival)
        else:
            there = scores.target >= options.target
            more = subtask.action == "add" or scores.target - scores.source >= options.margin
            done, score = there and more and scores.target >= scores.rival - options.rival_margin, scores.target
            evidence = (self._seen(subtask.target, scores.target, options.target),)
            if subtask.source:
                evidence = (*evidence, self._seen(subtask.source, scores.source, None, note="what was there"))
            evidence += self._rivals(scores, None)
            failure = None if done else self._failure(subtask, scores)
        return Finding(
            subtask=index,
            verdict="done" if done else "not done",
            score=score,
            evidence=evidence,
            failure=failure,
        )

    def _failure(self, subtask: Subtask, scores: Scores) -> Failure:
        """Why a target is not there: what is, in its place."""
        options = self.options
        if subtask.action == "change" and scores.source >= max(options.noun, scores.target):
            return "unchanged"
        if scores.rival >= options.noun and (
            scores.rival > scores.noun or _same_noun(scores.rival_name, subtask.target)
        ):
            return "wrong kind"  # another sky is a sky too
        if scores.noun >= options.noun and not _is_noun(subtask.target):
            return "wrong colour"
        if scores.elsewhere >= options.target and not changes_looks(subtask):
            return "displaced"
        if subtask.action == "add":
            return "unchanged"
        something = max(scores.target, scores.noun, scores.source) >= options.noun / 2
        return "wrong kind" if something and not options.rivals else "erased"

    def _rivals(self, scores: Scores, threshold: float | None, *, at_most: bool = False) -> tuple[Evidence, ...]:
        if not self.options.rivals:
            return ()
        asked = f"{scores.rival_name!r}, the best of the rivals that were not there before"
        return (Evidence(by=self.name, asked=asked, value=scores.rival, threshold=threshold, at_most=at_most),)

    def _seen(
        self, phrase: str, score: float, threshold: float | None, *, at_most: bool = False, note: str = ""
    ) -> Evidence:
        return Evidence(by=self.name, asked=repr(phrase), value=score, threshold=threshold, at_most=at_most, note=note)


def _phrases(subtask: Subtask) -> tuple[str, str, str]:
    """What is looked for: the target, the source and the target's main noun, without articles, which a detector would
    score too; empty where there is none."""
    return normalise_phrase(subtask.target), normalise_phrase(subtask.source), main_noun(subtask.target) or ""


def _within(phrase: str, other: str) -> bool:
    """Whether all words of `phrase` are in `other`, so that the one is a name of the other: a car, of a blue car."""
    return set(phrase.split()) <= set(other.split())


def _same_noun(phrase: str, other: str) -> bool:
    return main_noun(phrase) == main_noun(other)


def _is_noun(phrase: str) -> bool:
    """Whether the phrase is its main noun alone, so that nothing could have another colour."""
    return normalise_phrase(phrase) == (main_noun(phrase) or "")


def _share(box: Box, other: Box) -> float:
    """The share of `box` that lies in `other`."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return max(width, 0.0) * max(height, 0.0) / area if area > 0 else 0.0
