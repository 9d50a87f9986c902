"""Requests for colour, tone, effects and removal, as the plan has them: attribute, place, amount."""

import numpy as np
import pytest

from gas.errors import PlanUnreadable
from gas.interfaces import Options
from gas.runtime import Runtime
from gas.types import EditPlan, EditRequest
from gas_planners.rules.planner import RulesPlanner

NO_PICTURE = np.zeros((1, 1, 3), np.uint8)

Expected = tuple[str, str, str | None, str, float]
"""source, target, attribute, where, strength"""


def plan(text: str, caption: str | None = None) -> EditPlan:
    return RulesPlanner(Options(), Runtime()).plan(EditRequest(NO_PICTURE, text, caption=caption))


def found(made: EditPlan) -> list[Expected]:
    return [(s.source, s.target, s.attribute, s.where, s.strength) for s in made.subtasks]


COLOUR = [
    ("make the red cup blue", [("a red cup", "a blue cup", "colour", "region", 1.0)]),
    ("change the red cup into a blue cup", [("a red cup", "a blue cup", "colour", "region", 1.0)]),
    ("paint the wall dark green", [("a wall", "a dark green wall", "colour", "region", 1.0)]),
    ("turn the suit from orange to blue", [("an orange suit", "a blue suit", "colour", "region", 1.0)]),
    ("make the orange suit ivory", [("an orange suit", "an ivory suit", "colour", "region", 1.0)]),
    ("make the dress golden", [("a dress", "a golden dress", "colour", "region", 1.0)]),
    ("change the colour of the car to red", [("a car", "a red car", "colour", "region", 1.0)]),
    ("recolour the sofa in beige", [("a sofa", "a beige sofa", "colour", "region", 1.0)]),
    ("make the car a darker red", [("a car", "a darker red car", "colour", "region", 1.0)]),
    ("make the cup blue and the saucer green",
     [("a cup", "a blue cup", "colour", "region", 1.0), ("a saucer", "a green saucer", "colour", "region", 1.0)]),
]  # fmt: skip

TONE_OF_A_THING = [
    ("make the sky darker", [("a sky", "a darker sky", "tone", "region", 1.0)]),
    ("make the sky a little darker", [("a sky", "a darker sky", "tone", "region", 0.5)]),
    ("make the sky a bit darker, please", [("a sky", "a darker sky", "tone", "region", 0.5)]),
    ("make the sky slightly brighter", [("a sky", "a brighter sky", "tone", "region", 0.5)]),
    ("make the sky much darker", [("a sky", "a darker sky", "tone", "region", 2.0)]),
    ("make the sky a lot darker", [("a sky", "a darker sky", "tone", "region", 2.0)]),
    ("the sky a little darker", [("a sky", "a darker sky", "tone", "region", 0.5)]),
    ("the wall warmer", [("a wall", "a warmer wall", "tone", "region", 1.0)]),
    ("make the wall warmer", [("a wall", "a warmer wall", "tone", "region", 1.0)]),
    ("make the red wall cooler", [("a red wall", "a cooler red wall", "tone", "region", 1.0)]),
    ("the wall should be warmer", [("a wall", "a warmer wall", "tone", "region", 1.0)]),
    ("darken the sky", [("a sky", "a darker sky", "tone", "region", 1.0)]),
    ("lighten the faces slightly", [("faces", "brighter faces", "tone", "region", 0.5)]),
    ("brighten up the face a bit", [("a face", "a brighter face", "tone", "region", 0.5)]),
    ("less contrast in the sky", [("a sky", "a sky with less contrast", "tone", "region", 1.0)]),
    ("increase the saturation of the flowers a little", [("flowers", "more saturated flowers", "tone", "region", 0.5)]),
    ("make the flowers more vivid", [("flowers", "more saturated flowers", "tone", "region", 1.0)]),
    ("desaturate the sky", [("a sky", "a less saturated sky", "tone", "region", 1.0)]),
    ("turn the sky black and white", [("a sky", "a black and white sky", "tone", "region", 1.0)]),
    ("make the sky darker and the grass brighter",
     [("a sky", "a darker sky", "tone", "region", 1.0), ("grass", "brighter grass", "tone", "region", 1.0)]),
    ("make the cup blue and the sky a little darker",
     [("a cup", "a blue cup", "colour", "region", 1.0), ("a sky", "a darker sky", "tone", "region", 0.5)]),
]  # fmt: skip

WHOLE_PICTURE = [
    ("make the photo warmer", [("", "a warmer picture", "tone", "picture", 1.0)]),
    ("make it a little brighter", [("", "a brighter picture", "tone", "picture", 0.5)]),
    ("brighten the photo a little", [("", "a brighter picture", "tone", "picture", 0.5)]),
    ("a bit brighter please", [("", "a brighter picture", "tone", "picture", 0.5)]),
    ("warmer", [("", "a warmer picture", "tone", "picture", 1.0)]),
    ("more contrast", [("", "a picture with more contrast", "tone", "picture", 1.0)]),
    ("increase the contrast", [("", "a picture with more contrast", "tone", "picture", 1.0)]),
    ("reduce the contrast a lot", [("", "a picture with less contrast", "tone", "picture", 2.0)]),
    ("reduce the saturation a bit", [("", "a less saturated picture", "tone", "picture", 0.5)]),
    ("make the colours more vivid", [("", "a more saturated picture", "tone", "picture", 1.0)]),
    ("make it black and white", [("", "a black and white picture", "tone", "picture", 1.0)]),
    ("convert to grayscale", [("", "a black and white picture", "tone", "picture", 1.0)]),
    ("turn the picture into black and white", [("", "a black and white picture", "tone", "picture", 1.0)]),
    ("black and white", [("", "a black and white picture", "tone", "picture", 1.0)]),
    ("make the picture sepia", [("", "a sepia picture", "tone", "picture", 1.0)]),
    ("make the photo look faded", [("", "a faded picture", "tone", "picture", 1.0)]),
    ("blur the whole picture", [("", "a blurred picture", "effect", "picture", 1.0)]),
    ("sharpen it", [("", "a sharper picture", "effect", "picture", 1.0)]),
    ("make the picture a lot brighter and the sky darker",
     [("", "a brighter picture", "tone", "picture", 2.0), ("a sky", "a darker sky", "tone", "region", 1.0)]),
    ("make the cup blue and then make the picture warmer",
     [("a cup", "a blue cup", "colour", "region", 1.0), ("", "a warmer picture", "tone", "picture", 1.0)]),
]  # fmt: skip

ALL_BUT = [
    ("black and white but for the balloon",
     [("a balloon", "a black and white picture", "tone", "outside", 1.0)]),
    ("turn everything black and white except the balloon",
     [("a balloon", "a black and white picture", "tone", "outside", 1.0)]),
    ("make the picture black and white, but keep the red balloon in colour",
     [("a red balloon", "a black and white picture", "tone", "outside", 1.0)]),
    ("make everything but the dog a little darker",
     [("a dog", "a darker picture", "tone", "outside", 0.5)]),
    ("blur everything but the dog", [("a dog", "a blurred picture", "effect", "outside", 1.0)]),
    ("blur the background behind the dog", [("a dog", "a blurred picture", "effect", "outside", 1.0)]),
    ("darken everything around the lamp", [("a lamp", "a darker picture", "tone", "outside", 1.0)]),
    ("sepia apart from the umbrella", [("an umbrella", "a sepia picture", "tone", "outside", 1.0)]),
]  # fmt: skip

EFFECT = [
    ("blur the face", [("a face", "a blurred face", "effect", "region", 1.0)]),
    ("blur the faces strongly", [("faces", "blurred faces", "effect", "region", 2.0)]),
    ("blur the background", [("a background", "a blurred background", "effect", "region", 1.0)]),
    ("make the background blurry", [("a background", "a blurred background", "effect", "region", 1.0)]),
    ("pixelate the number plate", [("a number plate", "a pixelated number plate", "effect", "region", 1.0)]),
    ("sharpen the eyes", [("eyes", "sharper eyes", "effect", "region", 1.0)]),
    ("blur the face and pixelate the number plate",
     [("a face", "a blurred face", "effect", "region", 1.0),
      ("a number plate", "a pixelated number plate", "effect", "region", 1.0)]),
]  # fmt: skip

NOT_RETOUCHING = [
    ("change the dog into a tiger", [("a dog", "a tiger", "kind", "region", 1.0)]),
    ("change the grass into snow", [("grass", "snow", "kind", "region", 1.0)]),
    ("make the table wooden", [("a table", "a wooden table", "material", "region", 1.0)]),
    ("change the red car into a blue house", [("a red car", "a blue house", "kind", "region", 1.0)]),
    ("change the clear sky into a sunset sky", [("a clear sky", "a sunset sky", None, "region", 1.0)]),
    ("remove the spot", [("a spot", "", None, "region", 1.0)]),
    ("add a warmer coat to the man", [("", "a warmer coat", None, "region", 1.0)]),
]


@pytest.mark.parametrize(
    ("text", "expected"), [*COLOUR, *TONE_OF_A_THING, *WHOLE_PICTURE, *ALL_BUT, *EFFECT, *NOT_RETOUCHING]
)
def test_requests_are_read_as_what_they_are(text: str, expected: list[Expected]) -> None:
    assert found(plan(text)) == expected


@pytest.mark.parametrize("text", ["make it dark", "make it snow"])
def test_the_weather_is_no_tone(text: str) -> None:
    assert all(subtask.attribute != "tone" for subtask in plan(text).subtasks)


def test_every_subtask_has_a_request_of_its_own_that_reads_the_same_again() -> None:
    for text, _ in [*COLOUR, *TONE_OF_A_THING, *WHOLE_PICTURE, *ALL_BUT, *EFFECT]:
        for subtask in plan(text).subtasks:
            again = plan(subtask.instruction).subtasks
            assert [(s.source, s.target, s.where, s.strength) for s in again] == [
                (subtask.source, subtask.target, subtask.where, subtask.strength)
            ], subtask.instruction


def test_the_whole_sentences_speak_of_a_picture() -> None:
    made = plan("make the photo warmer")
    assert (made.source_prompt, made.target_prompt) == ("a picture", "a warmer picture")
    made = plan("black and white but for the balloon")
    assert (made.source_prompt, made.target_prompt) == ("a balloon", "a black and white picture with a balloon")


def test_a_caption_stays_as_it_is_for_the_whole_picture() -> None:
    made = plan("make it a little darker", caption="a red car on grass")
    assert (made.source_prompt, made.target_prompt) == ("a red car on grass", "a red car on grass, a darker picture")
    assert found(made) == [("", "a darker picture", "tone", "picture", 0.5)]


def test_a_caption_describes_what_stays() -> None:
    made = plan("black and white but for the car", caption="a red car on grass")
    assert made.subtasks[0].source == "a red car"


@pytest.mark.parametrize("text", ["blur", "more", "a little", "except the dog", "make everything except the dog"])
def test_what_is_incomplete_is_refused(text: str) -> None:
    with pytest.raises(PlanUnreadable):
        plan(text)
