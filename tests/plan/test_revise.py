"""A plan after rows of it were changed by hand: its whole sentences follow, or say that they do not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gas.plan.revise import CHECK, revised
from gas.types import EditPlan, Subtask

CAR = Subtask(source="a red car", target="a blue car")
GRASS = Subtask(source="grass", target="snow")
PLAN = EditPlan(
    subtasks=(CAR, GRASS), source_prompt="a red car on grass", target_prompt="a blue car on snow", reasoning="two"
)


def test_a_plan_that_was_not_changed_is_the_same() -> None:
    assert revised(PLAN, [(CAR, CAR), (GRASS, GRASS)]) is PLAN


def test_a_change_that_is_left_out_says_the_source_again() -> None:
    plan = revised(PLAN, [(CAR, None), (GRASS, GRASS)])
    assert plan.subtasks == (GRASS,) and plan.target_prompt == "a red car on snow"
    assert plan.source_prompt == PLAN.source_prompt and plan.warnings == () and plan.reasoning == "two"


def test_another_target_or_source_is_said_in_the_sentence() -> None:
    green = CAR.model_copy(update={"target": "a green car", "source": "a scarlet car"})
    plan = revised(PLAN, [(CAR, green), (GRASS, GRASS)])
    assert (plan.source_prompt, plan.target_prompt) == ("a scarlet car on grass", "a green car on snow")
    assert plan.warnings == ()


def test_strength_alone_changes_no_sentence() -> None:
    strong = CAR.model_copy(update={"strength": 2.0})
    plan = revised(PLAN, [(CAR, strong), (GRASS, GRASS)])
    assert plan.target_prompt == PLAN.target_prompt and plan.warnings == () and plan.subtasks[0].strength == 2


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (None, Subtask(source="the sky", target="a red sky")),
        (CAR, Subtask(action="remove", source="a red car")),
        (CAR, CAR.model_copy(update={"source": "a lorry"})),
    ],
)
def test_what_cannot_be_said_is_warned_of_once(was: Subtask | None, now: Subtask) -> None:
    unlike = PLAN.model_copy(update={"source_prompt": "a picture", "warnings": (CHECK,)})
    rows = [(was, now), (GRASS, GRASS), *([] if was else [(CAR, CAR)])]
    assert revised(unlike, rows).warnings == (CHECK,)
    silent = PLAN.model_copy(update={"source_prompt": "", "target_prompt": ""})
    assert (was is CAR and now.action == "change") or revised(silent, rows).warnings == ()


def test_a_plan_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError):
        revised(PLAN, [(CAR, None), (GRASS, None)])
