"""Asks verifiers about samples, and lets what is not done be tried again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gas.backends.roles import EDITORS
from gas.picture.frame import work_frame
from gas.run.result import EditResult
from gas.run.retry import Retry
from gas.run.session import Session
from gas.run.used import used
from gas_diorama.bench.counting import counting_rows
from gas_diorama.bench.verifying.figures import VerifierAnswer
from gas_diorama.bench.verifying.samples import Sample, Samples
from gas_diorama.bench.verifying.spoilt import noise
from gas_diorama.world.cases import Case

if TYPE_CHECKING:
    from gas.run.record import Used
    from gas.types import Finding


@dataclass(frozen=True)
class Asked:
    """What one verifier says of all samples, and the seconds that it took for each edit."""

    name: str
    found: tuple[VerifierAnswer, ...]
    seconds: tuple[float, ...]


def ask(sessions: Mapping[str, Session], samples: Iterable[Sample]) -> list[Asked]:
    """What each of the verifiers, by their names, says of the samples in the exact regions."""
    found: dict[str, list[VerifierAnswer]] = {name: [] for name in sessions}
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for sample in samples:
        for name, session in sessions.items():
            began = time.perf_counter()
            findings = _verify(session, sample.case, sample.source, sample.picture)
            seconds[name].append(time.perf_counter() - began)
            found[name] += [
                VerifierAnswer(
                    origin=sample.origin,
                    right=verdict.right,
                    miss=verdict.miss or "",
                    removal=edit.action == "remove",
                    verdict=finding.verdict,
                    score=finding.score,
                    failure=finding.failure,
                )
                for edit, verdict, finding in zip(sample.case.edits, sample.verdicts, findings, strict=True)
            ]
    return [Asked(name, tuple(found[name]), tuple(seconds[name])) for name in sessions]


def ask_noise(session: Session, cases: Sequence[Case], samples: Samples) -> tuple[int, int]:
    """How often random noise in a subtask's region is not done, and how often it was asked."""
    refused = count = 0
    for number, case in enumerate(cases):
        index = number % len(case.edits)
        source = samples.sample("noise", case, noise(case, index, number)).source
        (finding,) = _verify(session, case, source, noise(case, index, number), [index])
        refused += finding.verdict == "not done"
        count += 1
    return refused, count


@dataclass(frozen=True)
class Tried:
    """One edit: how many of its subtasks are right, before and after the others' tries, and the rows of its networks
    for the first edit and for the tries; whether an accepted region has changed by a bit."""

    case: str
    subtasks: int
    right: int
    right_after: int
    first_rows: float
    more_rows: float
    attempts: int
    changed: bool
    all_right: bool
    all_right_after: bool


def try_again(session: Session, samples: Iterable[Sample], judged: Samples) -> list[Tried]:
    """What the session's tries make of each sample, in the exact regions."""
    out = []
    for sample in samples:
        regions = sample.case.regions()
        size = (sample.source.shape[1], sample.source.shape[0])
        mask = np.max([region.mask for region in regions if region.mask is not None], axis=0)
        result = EditResult(
            image=sample.picture,
            plan=sample.case.plan,
            regions=regions,
            raw=sample.picture,
            mask=mask,
            frame=work_frame(size, regions, mode="full", resolution=size[0], multiple=1),
            stopped=False,
            log={},
        )
        with counting_rows() as counted:
            made = Retry(session, sample.source, result, 0, "full", _used).run()
        after = judged.sample(sample.origin, sample.case, made.image).verdicts
        assert made.verified is not None
        out.append(
            Tried(
                case=sample.case.name,
                subtasks=len(sample.verdicts),
                right=sum(one.right for one in sample.verdicts),
                right_after=sum(one.right for one in after),
                first_rows=sample.rows or 0.0,
                more_rows=counted.rows,
                attempts=len(made.verified.attempts),
                changed=_changed(sample, made),
                all_right=all(one.right for one in sample.verdicts),
                all_right_after=all(one.right for one in after),
            )
        )
    return out


def _changed(sample: Sample, made: EditResult) -> bool:
    """Whether a pixel has changed of a region that was accepted at first, and that no region of a subtask that was
    tried again overlaps."""
    verified = made.verified
    assert verified is not None
    masks = {region.subtask: region.mask > 0 for region in sample.case.regions() if region.mask is not None}
    tried = [masks[one.finding.subtask] for one in verified.attempts]
    free = ~np.logical_or.reduce(tried) if tried else np.ones(sample.picture.shape[:2], bool)
    kept = [masks[one.subtask] for one in verified.first if one.verdict != "not done"]
    inside = np.logical_or.reduce(kept) & free if kept else np.zeros_like(free)
    return bool((made.image[inside] != sample.picture[inside]).any())


def _verify(
    session: Session, case: Case, source: np.ndarray, picture: np.ndarray, subtasks: Sequence[int] | None = None
) -> tuple[Finding, ...]:
    return session.verify(source, picture, case.plan, case.regions(), subtasks)


def _used(session: Session, name: str) -> Used:
    return used(session, EDITORS.plural, name)
