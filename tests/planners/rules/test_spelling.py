"""Words that are one slip of the finger away from a known one."""

from __future__ import annotations

import pytest

from gas.interfaces import Options
from gas.runtime import Runtime
from gas.types import EditRequest
from gas_planners.rules.planner import RulesPlanner


def warnings(text: str) -> list[str]:
    plan = RulesPlanner(Options(), Runtime()).plan(EditRequest(None, text))
    return [one for one in plan.warnings if "as typed" in one]


@pytest.mark.parametrize(
    ("text", "typed", "meant"),
    [
        ("change the sky to sunest", "sunest", "sunset"),
        ("turn the dog into a rabit", "rabit", "rabbit"),
        ("replace the cat with a girafffe", "girafffe", "giraffe"),
    ],
)
def test_a_slip_is_named_and_taken_as_typed(text: str, typed: str, meant: str) -> None:
    assert warnings(text) == [f"{typed!r} was taken as typed; if {meant!r} is meant, write that"]


@pytest.mark.parametrize(
    "text", ["make the bench into a swing", "the boy becomes a knight", "turn the dog into a Rabit", "add goo"]
)
def test_other_words_are_left_alone(text: str) -> None:
    """Words of their own, names, and what is no word at all but too far from one."""
    assert not warnings(text)
