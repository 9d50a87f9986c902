"""From findings and verdicts to figures: what is wrongly accepted and rejected, with intervals, and thresholds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gas.types import Failure, Verdict

Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class VerifierAnswer:
    """One subtask: what the judge says (`right`, and `miss` where it is not), and what a verifier does. `removal`:
    whether a thing was to go."""

    origin: str
    right: bool
    miss: str
    removal: bool
    verdict: Verdict
    score: float | None
    failure: Failure | None


@dataclass(frozen=True)
class Share:
    """A share of `count` things with its 95 % interval (Wilson)."""

    hits: int
    count: int

    @property
    def value(self) -> float:
        return self.hits / self.count if self.count else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        if not self.count:
            return (math.nan, math.nan)
        n, p = self.count, self.value
        middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z / (1 + Z * Z / n) * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    def as_json(self) -> dict[str, float | int | None]:
        """Plain values; of nothing the share is null."""
        low, high = self.interval
        shown = [None if math.isnan(one) else round(one, 4) for one in (self.value, low, high)]
        return {"hits": self.hits, "count": self.count, "share": shown[0], "low": shown[1], "high": shown[2]}

    def __str__(self) -> str:
        if not self.count:
            return "–"
        low, high = self.interval
        return f"{100 * self.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


@dataclass(frozen=True)
class Figures:
    """Of one verifier:

    * accepted: the wrong that it calls done; rejected: the right that it calls not done; unknown: all of which it
      cannot tell; precision: of what it calls done the right; recall: of the right what it calls done;
    * named: of the wrong that it calls not done those whose failure it names as the judge does.
    """

    accepted: Share
    rejected: Share
    unknown: Share
    precision: Share
    recall: Share
    named: Share

    @classmethod
    def of(cls, found: Iterable[VerifierAnswer]) -> Figures:
        all_ = list(found)
        wrong, right = [one for one in all_ if not one.right], [one for one in all_ if one.right]
        done = [one for one in all_ if one.verdict == "done"]
        refused = [one for one in wrong if one.verdict == "not done"]
        return cls(
            accepted=Share(sum(one.verdict == "done" for one in wrong), len(wrong)),
            rejected=Share(sum(one.verdict == "not done" for one in right), len(right)),
            unknown=Share(sum(one.verdict == "cannot tell" for one in all_), len(all_)),
            precision=Share(sum(one.right for one in done), len(done)),
            recall=Share(sum(one.verdict == "done" for one in right), len(right)),
            named=Share(sum(one.failure == one.miss for one in refused), len(refused)),
        )

    def as_json(self) -> dict[str, dict[str, float | int | None]]:
        return {name: share.as_json() for name, share in vars(self).items()}


def threshold(found: Sequence[VerifierAnswer]) -> float | None:
    """The score from which on a subtask is best called done: that with the least sum of the shares of wrong accepted
    and right rejected, in the middle of the gap between two scores. None where all are right, or all wrong."""
    scored = [(one.score, one.right) for one in found if one.score is not None]
    values = np.array([score for score, _ in scored], float)
    right = np.array([one for _, one in scored], bool)
    if not right.any() or right.all():
        return None
    levels = np.unique(values)
    cuts = np.concatenate([(levels[1:] + levels[:-1]) / 2, [levels[-1] + 1e-6]])
    cost = [(values[~right] >= cut).mean() + (values[right] < cut).mean() for cut in cuts]
    return float(cuts[int(np.argmin(cost))])
