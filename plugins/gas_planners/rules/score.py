"""Scores the rules planner on a file of requests with the subtasks that a reader expects: python -m
gas_planners.rules.score FILE

Each line of the file is a JSON object: `request`, an optional `caption`, and `expect`, a list of [action, source,
target], or `refuse: true`. Right is an exact match of the whole list, up to articles and case.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas.errors import GasError, PlanUnreadable
from gas.interfaces import Options
from gas.plan.phrases import straight_quotes
from gas.runtime import Runtime
from gas.types import EditPlan, EditRequest

if TYPE_CHECKING:
    from gas.types import Image

MAX_BYTES = 5_000_000
OUTCOMES = ("right", "wrong with a warning", "wrong without", "refused")


@dataclass(frozen=True)
class Score:
    """The outcome of one request, with what was found."""

    request: str
    outcome: str
    expected: str
    found: str


def score(rows: Sequence[dict[str, Any]]) -> list[Score]:
    """One score for each row. A request that should be refused is right when it is."""
    from gas_planners.rules.planner import RulesPlanner

    planner = RulesPlanner(Options(), Runtime())
    no_picture: Image = None  # type: ignore[assignment]  # the rules never look at it
    out = []
    for row in rows:
        request = EditRequest(no_picture, row["request"], caption=row.get("caption"))
        expected = None if row.get("refuse") else [tuple(_plain(part) for part in item) for item in row["expect"]]
        try:
            plan = planner.plan(request)
        except PlanUnreadable as error:
            outcome = "right" if expected is None else "refused"
            out.append(Score(row["request"], outcome, _shown(expected), f"refused: {error.message}"))
            continue
        found = _triples(plan)
        outcome = "right" if found == expected else "wrong with a warning" if plan.warnings else "wrong without"
        out.append(Score(row["request"], outcome, _shown(expected), _shown(found)))
    return out


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of requests."""
    from gas import files

    return [json.loads(line) for line in files.read_text(path, max_bytes=MAX_BYTES).splitlines() if line.strip()]


def report(scores: Sequence[Score]) -> str:
    """A table of outcomes and a list of the misses."""
    lines = []
    for outcome in OUTCOMES:
        count = sum(s.outcome == outcome for s in scores)
        lines.append(f"{outcome:22s}{count:5d}  {100 * count / len(scores):5.1f} %")
    lines.append(f"{'in all':22s}{len(scores):5d}")
    for s in scores:
        if s.outcome != "right":
            lines += ["", f"{s.outcome}: {s.request!r}", f"  expected {s.expected}", f"  found    {s.found}"]
    return "\n".join(lines)


def _plain(text: str) -> str:
    words = straight_quotes(text).casefold().split()
    return " ".join(word for word in words if word not in {"a", "an", "the"})


def _triples(plan: EditPlan) -> list[tuple[str, ...]]:
    return [tuple(_plain(part) for part in (s.action, s.source, s.target)) for s in plan.subtasks]


def _shown(triples: Sequence[tuple[str, ...]] | None) -> str:
    if triples is None:
        return "a refusal"
    return "; ".join(f"{action} {source!r} -> {target!r}" for action, source, target in triples)


def main(arguments: Sequence[str]) -> int:
    """Prints the report on a file of requests; the exit code is 0 unless the file cannot be read."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m gas_planners.rules.score FILE.jsonl\n")
        return 2
    try:
        rows = read_rows(Path(arguments[0]))
    except GasError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(report(score(rows)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
