"""Requests with the prompt syntax of other programs, emoji, abbreviations, quotation marks: read, or shown as typed."""

from __future__ import annotations

import pytest

from gas.errors import PlanUnreadable
from gas.interfaces import Options
from gas.runtime import Runtime
from gas.types import EditPlan, EditRequest
from gas_planners.rules.planner import RulesPlanner
from gas_planners.rules.tokens import read_text


def plan(text: str = "", **prompts: str) -> EditPlan:
    return RulesPlanner(Options(), Runtime()).plan(EditRequest(None, text, **prompts))  # type: ignore[arg-type]


def refused(text: str) -> str:
    with pytest.raises(PlanUnreadable) as caught:
        plan(text)
    return str(caught.value)


def test_a_weight_is_the_strength_of_its_subtask() -> None:
    made = plan("change the cat to a (fluffy:1.3) dog and the sofa to a bench")
    assert [(s.target, s.strength) for s in made.subtasks] == [("a fluffy dog", 1.3), ("a bench", 1.0)]
    assert made.warnings == ("the weight in '(fluffy:1.3)' was read as the strength 1.3 of its subtask",)
    assert plan("change the cat to a (dog:9)").subtasks[0].strength == 4, "a strength has its limits"


def test_weights_in_two_prompts() -> None:
    made = plan(source="a photo of a dog on grass", target="a photo of a (tiger:1.5) on grass")
    assert [(s.source, s.target, s.strength) for s in made.subtasks] == [("a dog", "a tiger", 1.5)]
    assert made.target_prompt == "a photo of a tiger on grass" and "weight" in made.warnings[0]


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("turn the dog into a robot <lora:mecha:0.8>", "<lora:mecha:0.8>"),
        ("turn the dog into a robot --no people", "--no people"),
        ("turn the dog into a robot --ar 16:9", "--ar 16:9"),
        ("turn the dog into a robot, masterpiece", "masterpiece"),
        ("turn the dog into a ((robot))", "((robot))"),
        ("turn the dog into a [robot]", "[robot]"),
    ],
)
def test_what_means_nothing_here_is_named(text: str, dropped: str) -> None:
    made = plan(text)
    assert [(s.source, s.target) for s in made.subtasks] == [("a dog", "a robot")]
    assert len(made.warnings) == 1 and repr(dropped) in made.warnings[0]


def test_a_break_parts_two_requests() -> None:
    made = plan("change the cat to a lynx BREAK remove the bowl")
    assert [(s.action, s.source) for s in made.subtasks] == [("change", "a cat"), ("remove", "a bowl")]


def test_emoji_around_a_request_are_named_and_in_it_are_refused() -> None:
    made = plan("make the car red 🚗🔥")
    assert made.subtasks[0].target == "a red car" and made.warnings == ("not read: 🚗🔥",)
    message = refused("change the \U0001f436 into a \U0001f431")
    assert "'change the \U0001f436 into a \U0001f431'" in message and "is no word" in message


@pytest.mark.parametrize(
    ("text", "source", "target"),
    [
        ("change the U.S. flag into a cat", "a U.S. flag", "a cat"),
        ('change the "U.S. flag" into a cat', "a U.S. flag", "a cat"),
        ("change Mr. Bean's car into a tank", "Mr. Bean's car", "a tank"),
        ("replace the text 'Joe's Bar' with 'Ann's Café'", 'text "Joe\'s Bar"', '"Ann\'s Café"'),
        ("change “the dog” into “a tiger”", "a dog", "a tiger"),
        ('change the text on the sign to "OPEN"', "text on the sign", '"OPEN"'),
        ("turn the mat into a “go away” mat", "a mat", 'a "go away" mat'),
        ("change teh dog into a cat", "a dog", "a cat"),
    ],
)
def test_names_and_quotations(text: str, source: str, target: str) -> None:
    (subtask,) = plan(text).subtasks
    assert (subtask.source, subtask.target) == (source, target)


@pytest.mark.parametrize(
    "text",
    ["juggle the U.S. flag", "juggle the “red” ball", "juggle the red/blue ball", "juggle   Dr. Smith's hat"],
)
def test_messages_show_the_request_as_it_was_typed(text: str) -> None:
    assert repr(" ".join(text.split())) in refused(text)


@pytest.mark.parametrize("text", ["把狗变成老虎", "ändere den Hund in einen Tiger", "cambia el perro por un tigre"])
def test_other_languages_are_refused(text: str) -> None:
    refused(text)


def test_the_words_of_a_text() -> None:
    read = read_text("1. Turn Mr. X's dog — the “big” one — into a cat!\n2. 20% off & more 🙂")
    assert [list(sentence) for sentence in read.sentences] == [
        ["Turn", "Mr.", "X's", "dog", ",", "the", '"big"', "one", ",", "into", "a", "cat"],
        ["\x0020%", "off", "and", "more"],
    ]
    assert read.unread == ("🙂",)
