"""Prints the plans of the three planners side by side, for the requests in the figures of Ground-A-Score.

    python -m gas_planners.side_by_side

`rules` reads the requests. `openai` and `ollama` are asked over a real socket through their own clients, at fake
services whose replies are written down beside this file: strict JSON from the one, and from the other, as from a small
model, prose with the paper's lists. So this shows that the three give the same kind of plan; it says nothing about how
well a model plans.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gas.errors import GasError
from gas.plan.phrases import normalise_phrase
from gas.runtime import Runtime
from gas.testing.servers import FakeOllama, FakeOpenAI, say
from gas.types import EditPlan, EditRequest
from gas_planners.chat.ollama import OllamaOptions, OllamaPlanner
from gas_planners.chat.openai import OpenAIOptions, OpenAIPlanner
from gas_planners.rules.planner import RulesPlanner

REQUESTS = Path(__file__).with_name("paper_requests.json")


@dataclass(frozen=True)
class Row:
    """A request, its pairs in the paper, and each planner's plan, or the error that it gave instead."""

    request: str
    expected: list[tuple[str, str]]
    plans: Mapping[str, EditPlan | GasError]

    def right(self, planner: str) -> bool:
        """Whether the planner's plan has the paper's pairs, articles and case aside."""
        plan = self.plans[planner]
        return isinstance(plan, EditPlan) and [
            (normalise_phrase(s.source), normalise_phrase(s.target)) for s in plan.subtasks
        ] == [(normalise_phrase(source), normalise_phrase(target)) for source, target in self.expected]


def compare() -> list[Row]:
    """The rows, one for each request of the paper."""
    import numpy as np

    rows = []
    for case in json.loads(REQUESTS.read_text("utf-8")):
        request = EditRequest(np.zeros((64, 64, 3), np.uint8), case["request"])
        with FakeOpenAI([say(_as_json(case))]) as openai, FakeOllama([say(_as_lists(case))]) as ollama:
            plans = {
                "rules": _plan(lambda: RulesPlanner(RulesPlanner.options_type(), Runtime()), request),
                "openai": _plan(
                    _maker(OpenAIPlanner, OpenAIOptions(base_url=openai.url, model="fake-vision")), request
                ),
                "ollama": _plan(_maker(OllamaPlanner, OllamaOptions(host=ollama.url)), request),
            }
        rows.append(Row(case["request"], [(source, target) for source, target, _ in case["subtasks"]], plans))
    return rows


def main() -> int:
    """Prints the table and the counts; 0 when every plan has the paper's pairs, else 1."""
    from rich.console import Console
    from rich.table import Table

    rows = compare()
    names = list(rows[0].plans)
    table = Table(
        "request", *names, show_lines=True, title="subtasks; * keeps its shape; ! differs from the paper's pairs"
    )
    for row in rows:
        table.add_row(row.request, *(("" if row.right(name) else "! ") + _cell(row.plans[name]) for name in names))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    counts = {name: sum(row.right(name) for row in rows) for name in names}
    console.print(", ".join(f"{name}: {count} of {len(rows)} as in the paper" for name, count in counts.items()))
    console.print("openai and ollama: written replies of fake services, through the official clients")
    return 0 if set(counts.values()) == {len(rows)} else 1


def _as_json(case: Mapping[str, Any]) -> str:
    """The reply of a model with structured output."""
    return json.dumps(
        {
            "reasoning": "Each request names one thing.",
            "subtasks": [
                {"action": "change", "source": source, "target": target, "anchor": "", "preserve_shape": keep}
                for source, target, keep in case["subtasks"]
            ],
            "source_prompt": case["source_prompt"],
            "target_prompt": case["target_prompt"],
            "preserve_shape": False,
        }
    )


def _as_lists(case: Mapping[str, Any]) -> str:
    """The reply of a model that was told the paper's form: an explanation, and Python-style lists."""
    sources, targets, flags = zip(*case["subtasks"], strict=True)
    return (
        "Explanation: Each request names one thing.\nFinal answer:\n"
        f"source_list: {[*sources, case['source_prompt']]}\n"
        f"target_list: {[*targets, case['target_prompt']]}\n"
        f"preserve_form: {[*map(int, flags), 0]}"
    )


def _maker(planner: Callable[..., Any], options: Any) -> Callable[[], Any]:
    return lambda: planner(options, Runtime())


def _plan(make: Callable[[], Any], request: EditRequest) -> EditPlan | GasError:
    try:
        plan: EditPlan = make().plan(request)
    except GasError as error:
        return error
    return plan


def _cell(plan: EditPlan | GasError) -> str:
    if isinstance(plan, GasError):
        return f"exit {plan.exit_code}: {plan.message}"
    lines = []
    for subtask in plan.subtasks:
        pair = f"{subtask.source or '+'} -> {subtask.target or '-'}"
        lines.append(pair + (" *" if subtask.preserve_shape else ""))
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
