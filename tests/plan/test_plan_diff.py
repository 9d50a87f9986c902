"""What differs between two plans, in words."""

from __future__ import annotations

from typing import Any

import pytest

from gas.plan.diff import plan_differences
from gas.types import EditPlan, Provenance, Subtask

CAR = Subtask(source="a red car", target="a blue car", instruction="make the car blue")
GRASS = Subtask(source="grass", target="snow")
HAT = Subtask(action="add", target="a hat", anchor="the dog")
PLAN = EditPlan(
    subtasks=(CAR, GRASS, HAT), source_prompt="a red car on grass", target_prompt="a blue car on snow", reasoning="two"
)


def plan(*subtasks: Subtask, **more: Any) -> EditPlan:
    return PLAN.model_copy(update={"subtasks": subtasks, **more})


def test_plans_that_ask_for_the_same_have_no_difference() -> None:
    other = PLAN.model_copy(update={"reasoning": "because", "warnings": ("look",)})
    assert plan_differences(PLAN, PLAN) == plan_differences(PLAN, other) == []


def test_another_target_of_the_same_thing_is_one_change() -> None:
    green = CAR.model_copy(update={"target": "a green car"})
    assert plan_differences(PLAN, plan(green, GRASS, HAT)) == [
        "a blue car in the place of a red car: now a green car in the place of a red car"
    ]


def test_subtasks_are_known_again_wherever_they_stand() -> None:
    assert plan_differences(PLAN, plan(GRASS, HAT)) == ["no more: a blue car in the place of a red car"]
    cat = Subtask(action="remove", source="a cat")
    assert plan_differences(PLAN, plan(cat, CAR, GRASS, HAT)) == ["new: a cat gone"]
    (moved,) = plan_differences(PLAN, plan(GRASS, CAR, HAT))
    assert moved.startswith("the order is now: snow in the place of grass; a blue car")


def test_a_reworded_source_with_the_same_target_is_the_same_subtask() -> None:
    reworded = CAR.model_copy(update={"source": "the car"})
    assert plan_differences(PLAN, plan(reworded, GRASS, HAT)) == [
        "a blue car in the place of a red car: now a blue car in the place of the car"
    ]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("strength", 2.5, "strength: 1, now 2.5"),
        ("preserve_shape", True, "keeps its shape: no, now yes"),
        ("attribute", "colour", "what of it changes: not said, now colour"),
        ("where", "outside", "where: region, now outside"),
        ("count", "all", "how many: one, now all"),
        ("instruction", "paint it blue", "in words: make the car blue, now paint it blue"),
        ("anchor", "a road", "what lies behind it: not said, now a road"),
    ],
)
def test_every_field_of_a_subtask_is_said(field: str, value: Any, said: str) -> None:
    other = CAR.model_copy(update={field: value})
    assert plan_differences(PLAN, plan(other, GRASS, HAT)) == [f"a blue car in the place of a red car: {said}"]


def test_words_are_told_where_more_than_their_phrases_differs() -> None:
    made, became = "change the red car into a blue car", "change the red car into a green car"
    blue = CAR.model_copy(update={"instruction": made})
    green = blue.model_copy(update={"target": "a green car", "instruction": became})
    name = "a green car in the place of a red car"
    assert plan_differences(plan(blue), plan(green)) == [f"a blue car in the place of a red car: now {name}"]
    painted = green.model_copy(update={"instruction": "paint the car green"})
    assert plan_differences(plan(blue), plan(painted))[1] == f"{name}: in words: {made}, now paint the car green"


def test_no_field_of_a_subtask_is_forgotten() -> None:
    """A new field must come into the comparison, or into this list with a reason."""
    said = {"action", "source", "target", "instruction", "anchor", "preserve_shape", "strength", "attribute", "where"}
    assert said | {"count"} == set(Subtask.model_fields)


def test_whole_sentences_and_who_planned_are_said() -> None:
    other = plan(
        CAR,
        GRASS,
        HAT,
        source_prompt="",
        target_prompt="winter",
        preserve_shape=True,
        provenance=Provenance(planner="openai", model="m"),
    )
    assert plan_differences(PLAN, other) == [
        "the whole picture as it is: a red car on grass, now not said",
        "the whole picture after the edit: a blue car on snow, now winter",
        "the outline of the whole picture is kept: no, now yes",
        "planned by: hand, now openai",
        "the planner's model: not said, now m",
    ]
