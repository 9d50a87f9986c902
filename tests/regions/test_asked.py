"""What grounders are asked for a plan, and what is doubtful about what they found."""

from __future__ import annotations

from typing import Any

import pytest

from gas.regions.asked import Asked, doubts, with_doubts
from gas.types import EditPlan, Region, Subtask

HERE, THERE = (0.0, 0.0, 10.0, 10.0), (50.0, 0.0, 60.0, 10.0)


def plan(*subtasks: dict[str, Any]) -> EditPlan:
    return EditPlan(subtasks=tuple(Subtask(**subtask) for subtask in subtasks))


def change(source: str, target: str = "a cat", **more: Any) -> dict[str, Any]:
    return {"source": source, "target": target, **more}


def at(subtask: int, box: Any = HERE, **more: Any) -> Region:
    return Region("x", box=box, subtask=subtask, **more)


def test_each_subtask_asks_with_its_number() -> None:
    asked = Asked.of(plan(change("cars", count="all"), change("a dog"), change("apples", count=3)), [0, 1, 2])
    assert [(r.phrase, r.subtask, r.count) for r in asked.regions] == [
        ("cars", 0, "all"), ("a dog", 1, None), ("apples", 2, 3),
    ]  # fmt: skip


def test_an_addition_shares_the_place_of_what_it_is_put_on() -> None:
    made = plan(change("a dog"), {"action": "add", "target": "a hat", "anchor": "the dog"})
    asked = Asked.of(made, [0, 1])
    assert [r.subtask for r in asked.regions] == [0] and asked.shared == {1: 0}
    assert [(r.subtask, r.box) for r in asked.with_shared([at(0)])] == [(0, HERE), (1, HERE)]
    assert [r.subtask for r in Asked.of(made, [1]).regions] == [1], "alone it is looked for itself"


@pytest.mark.parametrize(
    ("count", "found", "note"),
    [
        ("all", 1, "all of 'cars' are meant, and one region was found"),
        ("all", 2, None),
        (3, 2, "3 of 'cars' are meant, and 2 were found"),
        (3, 3, None),
        (None, 1, None),
    ],
)
def test_fewer_than_were_meant(count: Any, found: int, note: str | None) -> None:
    regions = [at(0, (20.0 * i, 0, 20.0 * i + 10, 10)) for i in range(found)]
    assert doubts(plan(change("cars", count=count)), regions) == ([note] if note else [])


def test_what_the_user_drew_is_no_doubt() -> None:
    assert doubts(plan(change("cars", count="all")), [at(0, given=True)]) == []
    assert doubts(plan(change("cars", count="all")), []) == [], "nothing was looked for"


def test_two_subtasks_in_one_place() -> None:
    made = plan(change("a red car"), change("other car"))
    (note,) = doubts(made, [at(0), at(1, (0, 0, 10, 9.5))])
    assert note.startswith("subtasks 1 ('a red car') and 2 ('other car') are in one place")
    assert doubts(made, [at(0), at(1, THERE)]) == []
    assert doubts(made, [at(0), at(0, THERE), at(1, THERE)]) != [], "any of its regions"
    on_it = plan(change("a dog"), {"action": "add", "target": "a hat", "anchor": "a dog"})
    assert doubts(on_it, [at(0), at(1)]) == [], "the plan itself says so"


def test_doubts_are_warnings_of_the_plan_once() -> None:
    made = plan(change("cars", count="all"))
    doubted = with_doubts(made, [at(0)])
    assert doubted.warnings == ("all of 'cars' are meant, and one region was found",)
    assert with_doubts(doubted, [at(0)]) == doubted and with_doubts(made, []) is made
