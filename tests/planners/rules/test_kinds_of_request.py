"""Kinds of request as people type them: each is understood as it is meant or refused, alone and in company."""

from __future__ import annotations

import pytest

from gas.errors import PlanUnreadable
from gas.interfaces import Options
from gas.runtime import Runtime
from gas.types import EditPlan, EditRequest
from gas_planners.rules.planner import RulesPlanner


def plan(text: str, **prompts: str) -> EditPlan:
    return RulesPlanner(Options(), Runtime()).plan(EditRequest(None, text, **prompts))  # type: ignore[arg-type]


def found(text: str) -> list[tuple[str, str, str]]:
    return [(s.action, s.source, s.target) for s in plan(text).subtasks]


def refused(text: str) -> str:
    with pytest.raises(PlanUnreadable) as caught:
        plan(text)
    return str(caught.value)


def pair(source: str, target: str) -> tuple[str, str, str]:
    return ("change", source, target)


# --- words in an adjective's place ------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["blorp", "wolf", "aurora", "grumbled", "tabby"])
def test_a_word_that_is_refused_alone_is_refused_in_company(word: str) -> None:
    for text in (
        f"make the chair {word}",
        f"make the chair {word} and the table red",
        f"make the table red and the chair {word}",
        f"turn the chair {word}, the table red",
        f"the chair should be {word}, the table red",
        f"paint the table red and make the chair {word}",
    ):
        assert "cannot read" in refused(text)


def test_the_refusal_says_how_to_write_it() -> None:
    message = refused("make the chair blorp")
    assert "'blorp' is not a quality that is known here" in message
    assert found(message.split('"')[1]) == [pair("a chair", "a blorp chair")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("make the chair sepia and the table red", [pair("a chair", "a sepia chair"), pair("a table", "a red table")]),
        ("turn the jacket denim", [pair("a jacket", "a denim jacket")]),
        ("make the shirt neon and the hat wool", [pair("a shirt", "a neon shirt"), pair("a hat", "a wool hat")]),
        ("paint the wall sage green", [pair("a wall", "a sage green wall")]),
        ("make the evening sky blue", [pair("an evening sky", "a blue evening sky")]),
        ("make the coffee mug and the teddy bear red",
         [pair("a coffee mug", "a red coffee mug"), pair("a teddy bear", "a red teddy bear")]),
        ("change the chair into a blorp one", [pair("a chair", "a blorp chair")]),
        ("turn the fence wrought iron", [pair("a fence", "a wrought iron fence")]),
        ("make the boy a pirate and the girl a mermaid", [pair("a boy", "a pirate"), pair("a girl", "a mermaid")]),
    ],
)  # fmt: skip
def test_qualities_that_are_known(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert found(text) == expected


def test_two_parts_are_never_one_thing() -> None:
    assert "girl mermaid" in refused("make the boy a pirate and the girl mermaid")


# --- quantities -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "source", "count"),
    [
        ("make all the cars blue", "cars", "all"),
        ("make all cars blue", "cars", "all"),
        ("make all of the cars blue", "cars", "all"),
        ("make every car blue", "a car", "all"),
        ("make each of the cars blue", "a car", "all"),
        ("make the cars blue", "cars", "all"),
        ("make three of the cars blue", "cars", 3),
        ("make 20 cars blue", "cars", 20),
        ("make the other two cars blue", "other cars", 2),
        ("make the first two cars blue", "first cars", 2),
        ("make one of the cars blue", "a car", None),
        ("make one of the two cars blue", "a car", None),
        ("make the car blue", "a car", None),
        ("make the sunglasses blue", "sunglasses", None),
        ("make the hair blue", "hair", None),
        ("remove any birds", "birds", "all"),
        ("remove all text", "text", None),
        ("give every player a red cap", "", "all"),
    ],
)
def test_how_many_are_meant(text: str, source: str, count: int | str | None) -> None:
    (subtask,) = plan(text).subtasks
    assert (subtask.source, subtask.count) == (source, count)


def test_an_exact_number_of_things_is_a_subtask_for_each() -> None:
    assert found("make both cars blue") == [pair("a car", "a blue car")] * 2
    assert found("turn the three pigs into goats") == [pair("a pig", "a goat")] * 3


@pytest.mark.parametrize(
    "text",
    ["remove some of the balloons", "make half of the tulips white", "remove a few trees", "make most apples red",
     "replace a dozen eggs with oranges", "paint each chair a different colour", "change every second tile to black",
     "remove a couple of the apples", "I want fewer clouds"],
)  # fmt: skip
def test_nobody_knows_how_many_or_which(text: str) -> None:
    refused(text)


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("make the red car blue and the other car green", ["a red car", "other car"]),
        ("make the dog on the left a cat and the other one a fox", ["a dog on the left", "other dog"]),
        ("make the red car blue and the left one green", ["a red car", "a left car"]),
        ("turn one cat into a dog and the other one into a fox", ["a cat", "a cat"]),
        ("turn the big dog into a lion and the small one into a cat", ["a big dog", "a small dog"]),
        ("paint the second house blue", ["a second house"]),
    ],
)
def test_which_of_several_is_meant(text: str, sources: list[str]) -> None:
    assert [s.source for s in plan(text).subtasks] == sources


# --- from, without, not, or, numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("change the man from France to a woman", [pair("a man from France", "a woman")]),
        ("turn the road from Rome into a river", [pair("a road from Rome", "a river")]),
        ("turn the sky from blue to orange", [pair("a blue sky", "an orange sky")]),
        ("turn the sky from blue to orange and the sea from calm to stormy",
         [pair("a blue sky", "an orange sky"), pair("a calm sea", "a stormy sea")]),
        ("turn the soup from tomato to pumpkin", [pair("tomato soup", "pumpkin soup")]),
        ('change the text from "SALE" to "SOLD"', [pair("a text SALE", "SOLD")]),
        ("remove the second tree from the left", [("remove", "a second tree from the left", "")]),
    ],
)  # fmt: skip
def test_from_something_to_something(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("text", "gone", "place"),
    [
        ("show the man without his hat", "a hat", "a man"),
        ("show the street with no people", "people", "a street"),
        ("the woman should no longer wear a scarf", "scarf", "a woman"),
        ("the car should have no wheels", "wheels", "a car"),
        ("the dog shouldn't have a collar", "collar", "a dog"),
        ("he should not be wearing a tie", "tie", "a man"),
        ("there must not be any cars", "cars", None),
        ("no more fog", "fog", None),
    ],
)
def test_what_shall_not_be_there_is_removed(text: str, gone: str, place: str | None) -> None:
    (subtask,) = plan(text).subtasks
    assert (subtask.action, subtask.source, subtask.anchor) == ("remove", gone, place)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("change the dog into a cat without a tail", "without"),
        ("change the cake into a cake without cherries", "without"),
        ("add a house with no windows", "without"),
        ("make the grass no longer green", "no"),
        ("make the dress not red", "not"),
        ("change the dog into a cat, not a kitten", "not"),
        ("do not remove the tree", "not"),
        ("change the cat to a dog or a wolf", "or"),
        ("paint it red or blue", "or"),
        ("make the car red/blue", "red/blue"),
        ("make the glass 50% emptier", "50%"),
        ("make the tree 2x taller", "2x"),
        ("make the sky 20 percent brighter", "20 percent"),
    ],
)
def test_what_no_thing_can_be_called(text: str, word: str) -> None:
    assert f"{word!r}" in refused(text)


# --- it, they ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("change the tent into a car and make it blue", [pair("a tent", "a blue car")]),
        ("turn the hens into ducks and make them yellow", [pair("hens", "yellow ducks")]),
        ("turn the cat and the dog into lions and make them golden",
         [pair("a cat", "golden lions"), pair("a dog", "golden lions")]),
        ("turn the cat into a dog and give it a hat", [pair("a cat", "a dog with a hat")]),
        ("change the horse to a camel and put a saddle on it", [pair("a horse", "a camel with a saddle")]),
        ("make the boat red, then turn it into a canoe", [pair("a boat", "a red canoe")]),
        ("add a boat. Paint it white.", [("add", "", "a white boat")]),
        ("add a snowman with a carrot nose and put a scarf on it",
         [("add", "", "a snowman with a carrot nose and a scarf")]),
        ("take the bottle and turn it into a vase", [pair("a bottle", "a vase")]),
        ("make the car red and give it white stripes", [pair("a car", "a red car"), ("add", "", "white stripes")]),
        ("remove the dog and put a cat in its place", [pair("a dog", "a cat")]),
        ("put a cat where the dog is", [pair("a dog", "a cat")]),
    ],
)  # fmt: skip
def test_pronouns_for_what_is_not_there_yet(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert found(text) == expected


def test_a_place_beside_a_changed_thing_is_that_of_the_thing_as_it_is() -> None:
    assert plan("change the car to a truck and add a dog next to it").subtasks[1].anchor == "a car"


@pytest.mark.parametrize(
    "text", ["remove it", "make it red", "paint it", "turn it into a castle", "add a cat and remove it"]
)
def test_a_pronoun_for_nothing(text: str) -> None:
    refused(text)


def test_it_after_an_addition_is_said() -> None:
    assert "not of the scarecrow" in plan("add a hat to the scarecrow and paint it red").warnings[0]


def test_a_new_thing_named_again_is_said_to_be_looked_for() -> None:
    made = plan("turn the bush into a bear. The bear should be brown.")
    assert any("'the bear' was read as one that is in the picture" in w for w in made.warnings)


# --- wishes, remarks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The sky should be stormy, the sea calm", [pair("a sky", "a stormy sky"), pair("a sea", "a calm sea")]),
        ("I want the car in red", [pair("a car", "a red car")]),
        ("I want the bike in black and the helmet in white",
         [pair("a bike", "a black bike"), pair("a helmet", "a white helmet")]),
        ("the dog is nice but I would prefer a cat", [pair("a dog", "a cat")]),
        ("the dog is great, but a cat would be better", [pair("a dog", "a cat")]),
        ("the cat is cute, but I'd rather have a dog", [pair("a cat", "a dog")]),
        ("I'd rather have a parrot than a pigeon", [pair("a pigeon", "a parrot")]),
        ("I like the car, but in blue", [pair("a car", "a blue car")]),
        ("hi, can you do me a favor and remove the bin? thx", [("remove", "a bin", "")]),
        ("nice photo! but the lamp must go", [("remove", "a lamp", "")]),
        ("make the sky pink because I love pink", [pair("a sky", "a pink sky")]),
        ("instead of a dog I want a cat", [pair("a dog", "a cat")]),
        ("I want him in a kimono", [pair("a man", "a man in a kimono")]),
    ],
)  # fmt: skip
def test_wishes(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert found(text) == expected


def test_remarks_are_left_out_and_said_to_be() -> None:
    made = plan("Hi there! This is a photo from our trip to Norway. Could you turn the tent into a cabin?")
    assert [(s.source, s.target) for s in made.subtasks] == [("a tent", "a cabin")]
    assert made.warnings == ("not read as a request: 'This is a photo from our trip to Norway'",)
    assert plan("Thanks! Now make the door red").warnings == ()


@pytest.mark.parametrize(
    "text",
    ["my grandma loves lilies", "the sky is too dark, make the car red",
     "the wall isn't supposed to be yellow, remove the bin",
     "sing me a song and remove the dog", "remove the dog. You should wear a hat, too."],
)  # fmt: skip
def test_what_may_ask_for_something_is_no_remark(text: str) -> None:
    refused(text)


# --- the whole picture, size and place --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("make it look like winter", "a winter scene"),
        ("in the style of Van Gogh", "a picture in the style of Van Gogh"),
        ("turn this into a watercolor painting", "a watercolor painting"),
        ("turn day into night", "a night scene"),
        ("change the season to autumn", "an autumn scene"),
        ("change the style to anime", "a picture in an anime style"),
        ("give the photo a vintage look", "a picture with a vintage look"),
        ("make the whole scene foggy", "a foggy picture"),
        ("can you make this look like a Pixar movie", "a Pixar movie"),
        ("make everything golden", "a golden picture"),
        ("convert the image to a pencil sketch", "a pencil sketch"),
        ("make the photo look like it was taken at night", "a picture taken at night"),
    ],
)
def test_the_whole_picture(text: str, target: str) -> None:
    (subtask,) = plan(text).subtasks
    assert (subtask.action, subtask.source, subtask.target, subtask.where) == ("change", "", target, "picture")
    assert subtask.instruction in (text, text.removeprefix("can you ")), "the user's own words"


@pytest.mark.parametrize(
    "text",
    ["make the dog bigger", "make the nose smaller and the hair red", "turn the small dog into a big dog",
     "make the fish huge", "make him taller", "shrink the boat", "move the cup to the left", "flip the image",
     "rotate the picture by 90 degrees", "put the cat on the table", "make the tree grow", "make the dress shorter"],
)  # fmt: skip
def test_size_and_place_stay(text: str) -> None:
    assert "keep their size and their place" in refused(text)


def test_hair_can_be_long() -> None:
    assert found("make her hair longer") == [pair("hair", "longer hair")]


@pytest.mark.parametrize(
    "text", ["make my photo nicer", "make it better", "make it pop", "make the picture square", "enhance"]
)
def test_vague_wishes_for_the_picture(text: str) -> None:
    refused(text)


def test_the_outline_is_kept_where_it_can_stay() -> None:
    assert plan("make the car gold but keep its shape").subtasks[0].preserve_shape
    made = plan("turn the kitten into an elephant, keep the shape")
    assert not made.subtasks[0].preserve_shape
    assert made.warnings == ("the outline of 'kitten' is not kept: 'elephant' has another",)
