"""What somebody who had not seen the grammar found misread, as kinds: understood as it is meant, or refused."""

from __future__ import annotations

import pytest

from gas.errors import PlanUnreadable
from gas.interfaces import Options
from gas.runtime import Runtime
from gas.types import EditPlan, EditRequest
from gas_planners.rules.planner import RulesPlanner

Found = list[tuple[str, str, str]]


def plan(text: str) -> EditPlan:
    return RulesPlanner(Options(), Runtime()).plan(EditRequest(None, text))  # type: ignore[arg-type]


def found(text: str) -> Found:
    return [(s.action, s.source, s.target) for s in plan(text).subtasks]


def refused(text: str) -> str:
    with pytest.raises(PlanUnreadable) as caught:
        plan(text)
    return str(caught.value)


def one(source: str, target: str) -> Found:
    return [("change", source, target)]


# --- colours ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("make the t-shirt olive", one("a t-shirt", "an olive t-shirt")),
        ("the dress should be coral", one("a dress", "a coral dress")),
        ("paint the garage door forest green", one("a garage door", "a forest green garage door")),
        ("paint the shutters seafoam green", one("shutters", "seafoam green shutters")),
        ("make the car kermit green", one("a car", "a kermit green car")),
        ("make the apple tree green", one("an apple tree", "a green apple tree")),
        ("make the sea turtle green", one("a sea turtle", "a green sea turtle")),
        ("let the snow become sand", one("snow", "sand")),
        ("change the car to gold", one("a car", "a gold car")),
        ("turn the tower to gold", one("a tower", "gold")),
        ("change the shirt color from blue to a deep burgundy", one("a blue shirt", "a deep burgundy shirt")),
        ("give the car a matte finish", one("a car", "a matte car")),
        ("give the fence a fresh coat of white paint", one("a fence", "a white fence")),
        ("the dress should be in red", one("a dress", "a red dress")),
    ],
)
def test_colours(text: str, expected: Found) -> None:
    assert found(text) == expected


def test_a_colour_of_the_table_is_said_to_be_one() -> None:
    assert [s.attribute for s in plan("make the dress coral and the wall chocolate").subtasks] == ["colour", None]


def test_a_word_that_may_be_a_shade_is_named_in_a_warning() -> None:
    (warning,) = plan("make the car ferrari red").warnings
    assert "'car ferrari' was read as one thing" in warning
    assert plan("make the other car red").warnings == plan("make the coffee mug red").warnings == ()


def test_what_is_given_is_no_new_thing_where_it_says_how_something_looks() -> None:
    assert "cannot read" in refused("give the kitchen a fresh coat of paint")
    assert "cannot read" in refused("give the room a makeover")
    assert "cannot read" in refused("make the umbrella polka dotted")


# --- what was so and is so no more ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("change the tea from hot to iced", one("hot tea", "iced tea")),
        ("swap that ugly couch for a leather one", one("an ugly couch", "a leather couch")),
        ("replace the cloudy sky with a blue one", one("a cloudy sky", "a blue sky")),
        ("I want green grass", one("grass", "green grass")),
        ("I'd like a more dramatic sky", one("a sky", "a more dramatic sky")),
        ("I don't like the colour of the car, make it blue", one("a car", "a blue car")),
        ("the car is too shiny, make it matte", one("a car", "a matte car")),
    ],
)
def test_the_new_state_replaces_the_old(text: str, expected: Found) -> None:
    assert found(text) == expected


# --- which ones, how many ---------------------------------------------------------------------------------------------


def test_the_others() -> None:
    made = plan("remove two of the chairs and paint the others green")
    assert [(s.source, s.target, s.count) for s in made.subtasks] == [
        ("chairs", "", 2),
        ("other chairs", "green chairs", "all"),
    ]


@pytest.mark.parametrize(
    ("text", "source", "count"),
    [
        ("change twenty apples to pears", "apples", 20),
        ("only change one of the windows into a door", "a window", None),
        ("add one more dog", "", None),
        ("make just the left car red", "a left car", None),
    ],
)
def test_how_many(text: str, source: str, count: int | None) -> None:
    (subtask,) = plan(text).subtasks
    assert (subtask.source, subtask.count) == (source, count)


@pytest.mark.parametrize(
    "text",
    [
        "make them all blue",
        "turn them into cats",
        "the second and third car should be blue",
        "remove part of the fence",
        "turn a hundred sheep into cows",
        "crop out the left side",
        "add some depth to the photo",
        "let the man ride a horse",
        "a third of the windows should be lit",
        "make my waist slimmer",
        "change the sign to say hello",
        "make the cat wear a hat and hold a fish",
    ],
)
def test_what_nobody_can_point_at_is_refused(text: str) -> None:
    assert "cannot read" in refused(text)


# --- around a request -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "plz remove the trash can lol",
        "i wanna get rid of the trash can",
        "yo, can u remove the trash can?",
        "lol remove the trash can",
        "hi! need help: remove the trash can",
        "Could you do me a favour and remove the trash can?",
        "thanks, looks good! next, remove the trash can",
        "Is there any way you can remove the trash can?",
        "dear editor, kindly remove the trash can",
        "not sure if this works but remove the trash can",
        "the trash can shouldnt be there",
        "I don't want the trash can",
        "remove the trash can but leave the pole",
        "Remove:\n- the trash can",
    ],
)
def test_the_request_is_found(text: str) -> None:
    ((action, source, _),) = found(text)
    assert action == "remove" and source.removeprefix("a ") == "trash can"


def test_a_remark_is_quoted() -> None:
    (warning,) = plan("not sure if this works but remove the lamp").warnings
    assert "not sure if this works" in warning


def test_short_forms_are_shown_as_typed() -> None:
    assert '"the wall isn\'t blorp"' in refused("the wall isn't blorp")


def test_a_list_below_its_verb() -> None:
    assert found("Change: 1. car -> tank 2. tree -> cactus") == [*one("car", "tank"), *one("tree", "cactus")]
    assert [s[1] for s in found("Remove\n- the lamp\n- the chair")] == ["a lamp", "a chair"]
    assert "what" in refused("Change")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("less bright", "a darker picture"),
        ("make the colours less intense", "a less saturated picture"),
        ("make it more warm", "a warmer picture"),
        ("add some warmth to the photo", "a warmer picture"),
        ("as if painted by Monet", "a picture as if painted by Monet"),
    ],
)
def test_the_whole_picture(text: str, target: str) -> None:
    (subtask,) = plan(text).subtasks
    assert (subtask.where, subtask.target) == ("picture", target)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("change Dr. Who's phone box to a red one", one("Dr. Who's phone box", "Dr. Who's red phone box")),
        ('remove the words "for sale"', [("remove", 'words "for sale"', "")]),
        ("take the picture from the wall", [("remove", "a picture", "")]),
        ("change an empty plate into a plate full of cookies", one("an empty plate", "a plate full of cookies")),
        ("the lake frozen, the sky grey", [*one("a lake", "a frozen lake"), *one("a sky", "a grey sky")]),
        ("my hair looks flat, make it curly", one("hair", "curly hair")),
        ('change "the old bridge" into a new one', one("an old bridge", "a new bridge")),
        ("make the coat look brand new", one("a coat", "a brand new coat")),
        ("make the van which is white black", one("a van which is white", "a black van")),
        ("whiten the teeth", one("teeth", "whiter teeth")),
        ("make sure there are no people", [("remove", "people", "")]),
        ("get rid of the litter", [("remove", "litter", "")]),
        ("how about a hot air balloon over the hill?", [("add", "", "a hot air balloon")]),
        ("Would love a rainbow over the barn", [("add", "", "a rainbow")]),
        ("add a cup, a plate and a spoon to the table", [("add", "", f"a {x}") for x in ("cup", "plate", "spoon")]),
        ("add salt and pepper", [("add", "", "salt and pepper")]),
        ("make the front door green", one("a front door", "a green front door")),
        ("make the left door green", one("a left door", "a left green door")),
        ("the tree looks boring, make it a rose", one("a tree", "a rose")),
        ("make it look like it's raining", one("", "a picture raining")),
        ("make it rain", [("add", "", "rain")]),
        ("make the cat a tiger and the sky snow", one("a cat", "a tiger") + one("a sky", "snow")),
        ("make the sky gold", one("a sky", "a gold sky")),
    ],
)
def test_others(text: str, expected: Found) -> None:
    assert found(text) == expected


def test_weather_that_is_let_come_is_no_other_thing() -> None:
    """A sky may be made snow; to let it snow is no change of one thing into another."""
    refused("let the sky snow")
