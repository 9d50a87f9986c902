"""Words of position, size and number: taken off a phrase, and used to choose among several candidates.

A detector scores "the cat on the left" hardly higher for the left cat than for the right one, and "the other cat" no
higher at all. So it is asked for "the cat", and geometry decides: left, right, top and bottom by the middles of the
boxes, size by their areas, "the second" counted from the left, "the other" among those that nothing else has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gas.plan.phrases import content_words, main_noun, singular, straight_quotes

_LEFT, _RIGHT, _TOP, _BOTTOM = (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)
_SIDES = {
    "left": _LEFT,
    "left-hand": _LEFT,
    "right": _RIGHT,
    "right-hand": _RIGHT,
    "top": _TOP,
    "upper": _TOP,
    "bottom": _BOTTOM,
    "lower": _BOTTOM,
}
_SUPERLATIVES = {
    "leftmost": _LEFT,
    "rightmost": _RIGHT,
    "topmost": _TOP,
    "uppermost": _TOP,
    "highest": _TOP,
    "bottommost": _BOTTOM,
    "lowermost": _BOTTOM,
    "lowest": _BOTTOM,
}
_SIZES = dict.fromkeys(("bigger", "biggest", "larger", "largest"), 1.0) | dict.fromkeys(("smaller", "smallest"), -1.0)
_MIDDLES = ("middle", "centre", "center")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_SHORT_ORDINALS = ("1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th", "9th", "10th")
# Things that have a left and a right, or an upper and a lower, of their own.
_COUNTED_OTHERWISE = "floor storey story row column shelf page line lane gear step drawer hand"
"""What is counted from below or by name, not from the left."""
_PARTS = """
hand arm leg foot eye ear shoulder knee elbow cheek wing lip jaw finger sleeve shoe glove sock side half corner part
"""


def _any(words: Sequence[str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_SIDE, _RANK = _any(list(_SIDES)), _any([*_ORDINALS, *_SHORT_ORDINALS])
_PICTURE = r"of the (?:picture|image|photo|photograph|scene|frame|screen)"
_DETERMINER = r"(?:the|a|an|this|that)"
# "on the left", "in the top right corner of the picture", "from the left"
_TAIL = re.compile(
    rf",?\s*\b(?:(?:that|which|who) (?:is|are) )?(?:(?P<rank>{_RANK}) )?(?P<preposition>on|at|in|to|towards|from) the "
    rf"(?:far |very )?(?:(?P<first>{_SIDE})[ -](?P<second>{_SIDE})|(?P<only>{_SIDE})|(?P<middle>{_any(_MIDDLES)}))"
    rf"(?: (?:side|half|corner|edge|part|end))?(?P<picture> {_PICTURE})?$"
)
_WORD = (
    rf"(?P<side>{_SIDE})|(?P<most>{_any(list(_SUPERLATIVES))})|(?P<size>{_any(list(_SIZES))})"
    r"|(?P<middle>middle|central)"
)
# "the second biggest dog", "the left car"
_HEAD = re.compile(rf"^(?:(?P<determiner>{_DETERMINER}) )?(?:(?P<rank>{_RANK})[ -])?(?:{_WORD}) (?!of )(?P<rest>.+)$")
# "the bigger one of the two dogs"
_OF = re.compile(
    rf"^(?:the )?(?:(?P<rank>{_RANK})[ -])?(?:{_WORD})(?P<one> one)? (?:of|among) (?P<rest>(?:the|these|those) .+)$"
)
# "the dog, the bigger one"
_APPOSITION = re.compile(rf"^(?P<rest>.+?), (?:the )?(?:(?P<rank>{_RANK})[ -])?(?:{_WORD}) one$")
_LEADING_RANK = re.compile(rf"^(?:the )?(?P<rank>{_RANK}) (?P<rest>.+)$")
# "the second dog", counted from the left; "the last dog"
_PLAIN_RANK = re.compile(rf"^(?:{_DETERMINER} )?(?:(?P<rank>{_RANK})|last) (?!aid |class |base )(?P<rest>.+)$")
_OTHER = re.compile(rf"^(?:{_DETERMINER} )?(?:other|remaining) (?P<rest>.+)$")


@dataclass(frozen=True)
class Position:
    """Which of several things is meant: the one farthest in `direction`, the largest or smallest, or the middle one.

    `direction` is a unit step `(x, y)`, y pointing down, or their sum for a corner; `size` 1 (largest), -1 (smallest)
    or 0; with neither it is the middle one (`of_picture`: the one nearest the picture's middle). `rank` 1 is the second
    in that order.
    """

    words: str
    direction: tuple[float, float] = (0.0, 0.0)
    size: float = 0.0
    of_picture: bool = False
    rank: int = 0

    def order(self, boxes: np.ndarray, size: tuple[int, int]) -> list[int]:
        """The indices of `boxes` `(n, 4)`, the one that is meant first; `size` is the picture's `(width, height)`.

        Equal ones keep their order. Those before the rank that is meant come last.
        """
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        sides = np.asarray(size, np.float64)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / sides
        if self.size:
            keys = -self.size * np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        elif any(self.direction):
            keys = -centres @ np.asarray(self.direction)
        else:
            # Of two things neither is in the middle of them: then the picture's middle is meant.
            between = not self.of_picture and len(boxes) > 2
            middle = (centres.min(axis=0) + centres.max(axis=0)) / 2 if between else np.array([0.5, 0.5])
            keys = np.square((centres - middle) * sides).sum(axis=1)
        order = np.argsort(keys, kind="stable").tolist()
        return order[self.rank :] + order[: self.rank]


def split_position(phrase: str) -> tuple[str, Position | None]:
    """The phrase without its words of position or size, and what they mean; the phrase itself and None without any.

    "the cat on the left" gives "the cat" and the position left. Places relative to another thing ("to the left of the
    car") stay in the phrase, and so do words without a thing ("the bigger one") and sides of a body ("the left hand").
    """
    text = " ".join(straight_quotes(phrase).lower().split()).rstrip(".,;:!?")
    for split in (_split_of, _split_apposition, _split_tail, _split_head, _split_rank):
        found = split(text)
        if found is not None and content_words(found[0]) and main_noun(found[0]) != "one":
            return found
    return phrase, None


def _split_tail(text: str) -> tuple[str, Position] | None:
    match = _TAIL.search(text)
    if match is None:
        return None
    rest, words = text[: match.start()].rstrip(" ,"), match.group().strip(" ,")
    rank = match["rank"]
    if match["preposition"] == "from":
        leading = _LEADING_RANK.match(rest)
        if rank is None and leading is not None:
            rank, rest = leading["rank"], "the " + leading["rest"]
            words = f"{rank} {words}"
        if rank is None:
            return None  # "light from the left" is no position of the light
    if match["middle"]:
        return rest, Position(words, of_picture=match["picture"] is not None)
    sides = [_SIDES[match[name]] for name in ("first", "second", "only") if match[name]]
    return rest, Position(words, (sum(x for x, _ in sides), sum(y for _, y in sides)), rank=_rank(rank))


def _split_head(text: str) -> tuple[str, Position] | None:
    match = _HEAD.match(text)
    if match is None:
        return None
    rest = match["rest"].removeprefix("one ")
    if match["side"] and (main_noun(rest) in _PARTS.split() or (match["side"] == "top" and rest.startswith("hat"))):
        return None
    return f"{match['determiner'] or 'the'} {rest}", _position(match)


def split_other(phrase: str) -> tuple[str, bool]:
    """The phrase without "other" or "remaining", and whether it had that: "the other cat" gives ("the cat", True)."""
    match = _OTHER.match(" ".join(straight_quotes(phrase).lower().split()))
    if match is None or not content_words(match["rest"]) or main_noun(match["rest"]) == "one":
        return phrase, False
    return f"the {match['rest']}", True


def one_of_them(phrase: str) -> str:
    """The phrase with its main noun in the singular: detectors look for one at a time ("red cars" → "red car")."""
    noun, words = main_noun(phrase), phrase.split()
    return " ".join(noun if noun and singular(word.lower()) == noun else word for word in words)


def _split_rank(text: str) -> tuple[str, Position] | None:
    match = _PLAIN_RANK.match(text)
    if match is None or main_noun(match["rest"]) in _COUNTED_OTHERWISE.split():
        return None
    if match["rank"] is None:
        return f"the {match['rest']}", Position("last", _RIGHT)
    return f"the {match['rest']}", Position(match["rank"], _LEFT, rank=_rank(match["rank"]))


def _split_of(text: str) -> tuple[str, Position] | None:
    match = _OF.match(text)
    # "the top of the car" is a part of it, "the top one of the cars" a whole one.
    if match is None or not (match["one"] or match["most"] or match["size"]):
        return None
    return match["rest"], _position(match)


def _split_apposition(text: str) -> tuple[str, Position] | None:
    match = _APPOSITION.match(text)
    return None if match is None else (match["rest"], _position(match))


def _position(match: re.Match[str]) -> Position:
    word = match["side"] or match["most"] or match["size"] or match["middle"]
    rank = _rank(match["rank"])
    words = f"{match['rank']} {word}" if match["rank"] else word
    if match["size"]:
        return Position(words, size=_SIZES[word], rank=rank)
    if match["middle"]:
        return Position(words, rank=rank)
    return Position(words, _SIDES.get(word) or _SUPERLATIVES[word], rank=rank)


def _rank(word: str | None) -> int:
    if word is None:
        return 0
    return _ORDINALS.index(word) if word in _ORDINALS else _SHORT_ORDINALS.index(word)
