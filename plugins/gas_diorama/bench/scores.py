"""From single results to a table: means with bootstrap intervals for each stratum, and differences paired by case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from gas_diorama.bench.verdict import MISSES
from gas_diorama.world.cases import SINGLE

Array = NDArray[np.float64]

RESAMPLES = 4000
ALL = "all"


@dataclass(frozen=True)
class Result:
    """What one editor (a row of the table) made of one case with one seed.

    * done, nearest, ratio, right, miss: the judge's verdicts, one for each subtask (`gas_diorama.bench.verdict`);
      `actions` are their actions. Of what is done `miss` is "".
    * raw_outside: mean absolute difference, in levels of 255, between the editor's own output and the VAE round trip of
      the source, outside all regions; None where the regions cover the picture.
    * pasted_outside: the same between the picture after paste-back and the source itself.
    * seconds: wall time of the batch that the edit was in, over its edits; network_rows: rows the denoiser was given,
      clip_rows and generator_rows: pictures that CLIP and a layer generator were, where an edit uses them.
    * l1 ... clip_region: `PictureScores` of the finished picture, None where they were not
      made. They are made from kept pictures for each report, and not kept with the result.
    """

    row: str
    case: str
    stratum: str
    seed: int
    actions: tuple[str, ...]
    done: tuple[bool, ...]
    nearest: tuple[str, ...]
    ratio: tuple[float, ...]
    right: tuple[bool, ...]
    miss: tuple[str, ...]
    raw_outside: float | None
    pasted_outside: float | None
    seconds: float | None
    network_rows: float | None
    clip_rows: float | None = None
    generator_rows: float | None = None
    l1: float | None = None
    l2: float | None = None
    clip_i: float | None = None
    clip_t: float | None = None
    clip_region: float | None = None

    def as_json(self) -> dict[str, object]:
        """Plain values by name, without the scores of the finished picture."""
        return {name: value for name, value in asdict(self).items() if name not in PICTURE_COLUMNS}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Result:
        """The result that `as_json` wrote. TypeError when names are missing or unknown."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Estimate:
    """A mean over cases with its 95 % bootstrap interval (percentiles)."""

    mean: float
    low: float
    high: float


COLUMNS = {
    "subtasks_right": "right (%)",
    "subtasks_done": "subtasks done (%)",
    "all_done": "all done (%)",
    "ratio": "mean ratio",
    "raw_outside": "raw error outside",
    "pasted_outside": "pasted error outside",
    "seconds": "seconds",
    "network_rows": "network rows",
    "clip_rows": "CLIP rows",
    "generator_rows": "generator rows",
}
"""Names in JSON and headings for people. Errors are in levels of 255, seconds and rows are for one edit. The ratio is
the judge's |out - exact| / |source - exact| of a subtask in its region: 0 for the exact result, 1 for the source. Right
is what the nearest rendering says alone, whatever the ratio."""

MISS_COLUMNS = {f"miss_{miss.replace(' ', '_')}": miss for miss in MISSES}
"""Why subtasks are not done, each a share of all subtasks in per cent."""

PICTURE_COLUMNS = {
    "l1": "L1",
    "l2": "L2",
    "clip_i": "CLIP-I",
    "clip_t": "CLIP-T",
    "clip_region": "masked CLIP-T",
}
"""The same for the scores of finished pictures: less is better in the first two, more in the others."""


def _parts(result: Result, column: str) -> tuple[float, float] | None:
    """Numerator and denominator of one result in a column; None where it has no value there."""
    if column == "subtasks_done":
        return 100.0 * sum(result.done), float(len(result.done))
    if column == "subtasks_right":
        return 100.0 * sum(result.right), float(len(result.right))
    if column in MISS_COLUMNS:
        return 100.0 * result.miss.count(MISS_COLUMNS[column]), float(len(result.miss))
    if column == "all_done":
        return 100.0 * all(result.done), 1.0
    if column == "ratio":
        return float(sum(result.ratio)), float(len(result.ratio))
    value = getattr(result, column)
    return None if value is None else (float(value), 1.0)


def _by_case(results: Iterable[Result], column: str) -> dict[str, Array]:
    """For each case (numerator, denominator), summed over its seeds."""
    found: dict[str, Array] = {}
    for result in results:
        parts = _parts(result, column)
        if parts is not None:
            found[result.case] = found.get(result.case, np.zeros(2)) + parts
    return found


def _draws(count: int) -> NDArray[np.int64]:
    """Which cases each resample takes: (RESAMPLES, count); always the same, so that all rows are resampled alike."""
    return np.random.default_rng(count).integers(0, count, (RESAMPLES, count))


def _ratios(cases: Array) -> Array:
    """The column's value in each resample of (cases, 2)."""
    sums = cases[_draws(len(cases))].sum(1)
    return sums[:, 0] / sums[:, 1]


def _estimate(mean: float, resampled: Array) -> Estimate:
    low, high = np.percentile(resampled, (2.5, 97.5))
    return Estimate(float(mean), float(low), float(high))


def estimate(results: Iterable[Result], column: str) -> Estimate | None:
    """The mean of a column over cases, resampled by case; subtasks done is a share of subtasks. None without values."""
    cases = np.array(list(_by_case(results, column).values()))
    if not len(cases):
        return None
    total = cases.sum(0)
    return _estimate(total[0] / total[1], _ratios(cases))


def difference(results: Iterable[Result], other: Iterable[Result], column: str) -> Estimate | None:
    """The column of `results` minus that of `other` over the cases that both have, both resampled together. None when
    they share no case."""
    ours, theirs = _by_case(results, column), _by_case(other, column)
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return None
    a, b = (np.array([values[case] for case in common]) for values in (ours, theirs))
    mean = a.sum(0)[0] / a.sum(0)[1] - b.sum(0)[0] / b.sum(0)[1]
    return _estimate(mean, _ratios(a) - _ratios(b))


Summary = dict[str, dict[str, dict[str, dict[str, Estimate]]]]
"""stratum -> row -> "value" or "difference" -> column -> estimate."""


def summarise(results: Sequence[Result], reference: str) -> Summary:
    """All estimates, for all cases together and for each stratum, with differences from the row `reference` where there
    is one. Rows keep the order of their first result. The edits by a single instruction are a group of their own: they
    do not count among all cases, so that those stay what they were before there were any."""
    groups: dict[str, list[Result]] = {ALL: [result for result in results if result.stratum != SINGLE]}
    for result in results:
        groups.setdefault(result.stratum, []).append(result)
    return _summaries(groups, lambda row: reference)


def by_action(results: Sequence[Result], reference: str) -> Summary:
    """As `summarise`, for each action the edits of all strata that are of that action alone: one subtask each."""
    groups: dict[str, list[Result]] = {}
    for action in ("change", "add", "remove"):
        groups[action] = [result for result in results if result.actions == (action,)]
    return _summaries(groups, lambda row: reference)


def by_grounding(results: Sequence[Result]) -> Summary:
    """As `summarise`, for edits of one subtask and of several, without the edits by a single instruction, and of rows
    that there are plain and grounded ("NAME" and "NAME grounded"): a grounded row's differences are from its plain
    one."""
    rows = {result.row for result in results}
    both = {row for row in rows if row + GROUNDED in rows or (row.endswith(GROUNDED) and _plain(row) in rows)}
    kept = [result for result in results if result.row in both and result.stratum != SINGLE]
    groups = {
        "one subtask": [result for result in kept if len(result.done) == 1],
        "several subtasks": [result for result in kept if len(result.done) > 1],
    }
    return _summaries(groups, _plain)


GROUNDED = " grounded"


def _plain(row: str) -> str:
    return row.removesuffix(GROUNDED)


def _summaries(groups: Mapping[str, Sequence[Result]], reference: Callable[[str], str]) -> Summary:
    columns = (*COLUMNS, *MISS_COLUMNS, *PICTURE_COLUMNS)
    summary: Summary = {}
    for group, inside in groups.items():
        if not inside:
            continue
        by_row = {row: [r for r in inside if r.row == row] for row in dict.fromkeys(r.row for r in inside)}
        summary[group] = {}
        for row, own in by_row.items():
            values = {column: estimate(own, column) for column in columns}
            against = by_row.get(reference(row), []) if row != reference(row) else []
            differences = {column: difference(own, against, column) for column in columns}
            summary[group][row] = {
                "value": {column: found for column, found in values.items() if found is not None},
                "difference": {column: found for column, found in differences.items() if found is not None},
            }
    return summary
