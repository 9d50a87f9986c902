"""Prints the plans of the planners side by side, for the requests in the figures of Ground-A-Score and one of ours.

    python -m gas_planners.side_by_side

`rules` reads the requests. The three ways to a model are asked for real, with replies that are written down beside this
file: `openai` and `ollama` over a socket, through their own clients, at fake services; `transformers` in this process,
by a tiny network of a real class that knows the reply by heart. Each reply has the form that is usual there: strict
JSON; after thoughts, prose with the paper's lists, as a small model writes; JSON after thoughts whose beginning stood
in the prompt. So this shows that all ways end in the same kind of plan; it says nothing about how well a model plans.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gas.errors import GasError
from gas.plan.phrases import normalise_phrase
from gas.runtime import Runtime
from gas.testing.servers import FakeOllama, FakeOpenAI, say
from gas.types import EditPlan, EditRequest
from gas_planners.chat.ollama import OllamaOptions, OllamaPlanner
from gas_planners.chat.openai import OpenAIOptions, OpenAIPlanner
from gas_planners.rules.planner import RulesPlanner

REQUESTS = Path(__file__).with_name("side_by_side.json")
THINKER = {"fake-vl:latest": ("completion", "vision", "thinking")}


@dataclass(frozen=True)
class Row:
    """A request, the pairs that it asks for, and each planner's plan, or the error that it gave instead."""

    request: str
    expected: list[tuple[str, str]]
    plans: Mapping[str, EditPlan | GasError]

    def right(self, planner: str) -> bool:
        """Whether the planner's plan has those pairs, articles and case aside."""
        plan = self.plans[planner]
        return isinstance(plan, EditPlan) and [
            (normalise_phrase(s.source), normalise_phrase(s.target)) for s in plan.subtasks
        ] == [(normalise_phrase(source), normalise_phrase(target)) for source, target in self.expected]


def compare() -> list[Row]:
    """The rows, one for each request. `transformers` is among the planners where its packages are installed."""
    import numpy as np

    rows = []
    for case in json.loads(REQUESTS.read_text("utf-8")):
        request = EditRequest(np.zeros((64, 64, 3), np.uint8), case["request"])
        plans = {"rules": _plan(lambda: RulesPlanner(RulesPlanner.options_type(), Runtime()), request)}
        with FakeOpenAI([say(_as_json(case))]) as server:
            openai = OpenAIOptions(base_url=server.url, model="fake-vision")
            plans["openai"] = _plan(_maker(OpenAIPlanner, openai), request)
        with FakeOllama([say(_as_lists(case), thoughts="Each request names one thing.")], THINKER) as server:
            ollama = OllamaOptions(host=server.url, think="yes")
            plans["ollama"] = _plan(_maker(OllamaPlanner, ollama), request)
        if all(find_spec(package) for package in ("torch", "transformers")):
            plans["transformers"] = _plan_here(f"Each request names one thing.\n</think>\n{_as_json(case)}", request)
        rows.append(Row(case["request"], [(source, target) for source, target, _ in case["subtasks"]], plans))
    return rows


def main() -> int:
    """Prints the table and the counts; 0 when every plan has the pairs that were asked for, else 1."""
    from rich.console import Console
    from rich.table import Table

    rows = compare()
    names = list(rows[0].plans)
    table = Table(
        "request", *names, show_lines=True, title="subtasks; * keeps its shape; ! differs from the pairs asked for"
    )
    for row in rows:
        table.add_row(row.request, *(("" if row.right(name) else "! ") + _cell(row.plans[name]) for name in names))
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)
    counts = {name: sum(row.right(name) for row in rows) for name in names}
    console.print(", ".join(f"{name}: {count} of {len(rows)} as asked for" for name, count in counts.items()))
    console.print("openai, ollama: written replies of fake services, through the official clients")
    if "transformers" in names:
        console.print("transformers: a tiny network of a real class that knows each reply by heart")
    else:
        console.print('transformers is left out: pip install "gas-edit[diffusion]"')
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


def _plan_here(reply: str, request: EditRequest) -> EditPlan | GasError:
    """The plan of a model in this process that says `reply`."""
    from gas.testing.tiny_vision_language import build_tiny_vision_language
    from gas_planners.chat.transformers import TransformersOptions, TransformersPlanner

    with TemporaryDirectory() as folder:
        model = build_tiny_vision_language(Path(folder, "tiny-vision-language"), says=reply)
        options = TransformersOptions(model=str(model), think="yes")
        runtime = Runtime(device="cpu", dtype="fp32", offline=True)
        return _plan(lambda: TransformersPlanner(options, runtime), request)


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
