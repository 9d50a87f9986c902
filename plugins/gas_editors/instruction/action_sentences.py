"""Sentences that ask for one change, addition or removal, to train ZONE's action classifier on (its section 3.2)."""

from __future__ import annotations

import random
from typing import Literal

Action = Literal["change", "add", "remove"]
ACTIONS: tuple[Action, ...] = ("change", "add", "remove")
"""In the order of the classifier's outputs, and of the published checkpoint's."""


def _listed(text: str) -> list[str]:
    return text.split(", ")


COCO = _listed(
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, "
    "mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, "
    "teddy bear, hair drier, toothbrush"
)

_LOOKS = _listed(
    "red, blue, green, yellow, black, white, golden, wooden, old, shiny, bigger, furry, broken, made of ice, made of "
    "stone, covered in snow, in the style of a cartoon"
)
_PLACES = _listed(
    "on the left, on the right, in the middle, in the background, in the corner, on the table, on the grass, next to "
    "the {b}, behind the {b}, in front of the {b}, under the {b}"
)
_EXTRAS = _listed("a hat, sunglasses, a scarf, a flag, a pair of wings, a ribbon, some flowers, a crown, a shadow")

_FORMS: dict[Action, tuple[str, ...]] = {
    "change": (
        "turn the {a} into {b_}",
        "change the {a} to {b_}",
        "make the {a} {look}",
        "replace the {a} with {b_}",
        "make the {a} look like {b_}",
        "turn the {a} {place} into {b_}",
        "change the color of the {a} to {look}",
        "paint the {a} {look}",
        "let the {a} be {look}",
        "swap the {a} for {b_}",
        "transform the {a} {place} to {b_}",
        "the {a} should become {b_}",
        "have the {a} be {b_} instead",
    ),
    "add": (
        "add {a_} {place}",
        "put {a_} {place}",
        "give the {a} {extra}",
        "place {a_} {place}",
        "add {extra} to the {a}",
        "let there be {a_} {place}",
        "insert {a_} {place}",
        "draw {a_} {place}",
        "have the {a} wear {extra}",
        "include {a_} {place}",
        "there should be {a_} {place}",
        "show {a_} {place}",
        "add another {a} {place}",
    ),
    "remove": (
        "remove the {a}",
        "get rid of the {a} {place}",
        "delete the {a} {place}",
        "take away the {a}",
        "erase the {a} {place}",
        "remove the {a} {place}",
        "take the {a} out of the picture",
        "the {a} should be gone",
        "make the {a} {place} disappear",
        "there should be no {a} {place}",
        "cut out the {a}",
        "eliminate the {a} {place}",
        "let the {a} vanish",
    ),
}


def sentences(count: int, seed: int = 0) -> list[tuple[str, Action]]:
    """`count` sentences with their actions, as many of each, none twice, in random order."""
    return [(text, action) for text, action, _ in worded(count, seed)]


def worded(count: int, seed: int = 0) -> list[tuple[str, Action, int]]:
    """The same with the number of the form, among its action's, that words each sentence."""
    rng = random.Random(seed)
    made: dict[str, tuple[Action, int]] = {}
    for number in range(count):
        action = ACTIONS[number % len(ACTIONS)]
        while (one := _sentence(action, rng))[0] in made:
            continue
        made[one[0]] = action, one[1]
    out = [(text, *how) for text, how in made.items()]
    rng.shuffle(out)
    return out


def _sentence(action: Action, rng: random.Random) -> tuple[str, int]:
    a, b = rng.sample(COCO, 2)
    place = rng.choice(_PLACES).format(b=b)
    values = {"a": a, "a_": _article(a), "b_": _article(b), "look": rng.choice(_LOOKS), "extra": rng.choice(_EXTRAS)}
    form = rng.choice(_FORMS[action])
    return form.format(place=place, **values), _FORMS[action].index(form)


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
