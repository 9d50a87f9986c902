"""Scores the rules planner on a file of requests with the subtasks that a reader expects: python -m
gas_planners.rules.score FILE

Each line of the file is a JSON object: `request`, an optional `caption`, and what is right. `expect` is a list of
[action, source, target], each with an optional fourth part: further fields of the subtask and their values. `accept` is
a list of other readings in the same form that are as right. `refuse: true` says that a refusal is right (too). Right is
an exact match of a whole reading, up to articles and case; the target "*" stands for any words.
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
from gas.types import EditPlan, EditRequest, Subtask

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
        readings = [row["expect"], *row.get("accept", ())] if "expect" in row else []
        expected = " | ".join([_shown(reading) for reading in readings] + ["a refusal"] * bool(row.get("refuse")))
        try:
            plan = planner.plan(request)
        except PlanUnreadable as error:
            outcome = "right" if row.get("refuse") else "refused"
            out.append(Score(row["request"], outcome, expected, f"refused: {error.message}"))
            continue
        right = any(_is(plan, reading) for reading in readings)
        outcome = "right" if right else "wrong with a warning" if plan.warnings else "wrong without"
        out.append(Score(row["request"], outcome, expected, _found(plan, readings)))
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


def _is(plan: EditPlan, reading: Sequence[Sequence[Any]]) -> bool:
    return len(plan.subtasks) == len(reading) and all(map(_matches, plan.subtasks, reading))


def _matches(subtask: Subtask, item: Sequence[Any]) -> bool:
    action, source, target, *more = item
    fields = more[0] if more else {}
    return (
        subtask.action == action
        and _plain(subtask.source) == _plain(source)
        and (target == "*" or _plain(subtask.target) == _plain(target))
        and all(_value(getattr(subtask, name, None)) == _value(value) for name, value in fields.items())
    )


def _value(value: Any) -> Any:
    return _plain(value) if isinstance(value, str) else value


def _found(plan: EditPlan, readings: Sequence[Sequence[Sequence[Any]]]) -> str:
    names = sorted({name for reading in readings for item in reading for name in (item[3] if len(item) > 3 else ())})
    fields = [{name: getattr(s, name, None) for name in names} for s in plan.subtasks]
    return _shown([(s.action, s.source, s.target, more) for s, more in zip(plan.subtasks, fields, strict=True)])


def _shown(reading: Sequence[Sequence[Any]]) -> str:
    return "; ".join(
        f"{action} {source!r} -> {target!r}"
        + "".join(f" ({name} {value})" for more in rest for name, value in more.items())
        for action, source, target, *rest in reading
    )


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
