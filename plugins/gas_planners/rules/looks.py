"""Requests for a look rather than a thing: "the sky a little darker", "black and white but for the balloon".

They are asked for in few forms: a verb that is the look ("blur the face"), a thing and its look ("make the wall
warmer"), more or less of something ("less contrast in the sky"). What has no thing is about the whole picture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from gas.types import Attribute, Where
from gas_planners.rules import lexicon as lex
from gas_planners.rules.items import (
    PICTURE,
    Context,
    Item,
    Reading,
    is_pronoun,
    is_the_picture,
    made_before,
    rewritten,
    things,
)
from gas_planners.rules.noun_phrase import Phrase, phrase, with_quality
from gas_planners.rules.tokens import Words, low

AMOUNTS = {0.5: "a little", 2.0: "much"}
_LITTLE = "a little bit|a little|little|a tiny bit|a bit|a touch|a tad|slightly|somewhat|gently|subtly|a smidge"
_MUCH = (
    "very much|much|a lot|lots|far|way|considerably|strongly|heavily|a great deal|significantly|very|extremely|a ton"
)
_A = rf"(?:{_LITTLE}|{_MUCH})"
_LOOKS: dict[str, tuple[str, Attribute]] = {
    "brighter": ("brighter|lighter|more bright|less dark|less dim", "tone"),
    "darker": ("darker|dimmer|more dark|less bright", "tone"),
    "warmer": ("warmer|more warm|less cool|less cold", "tone"),
    "cooler": ("cooler|colder|less warm", "tone"),
    "more saturated": (
        "more saturated|more vivid|more vibrant|more intense|more colou?rful|vivider|saturated|vivid|vibrant", "tone"
    ),
    "less saturated": (
        "less saturated|less vivid|less vibrant|less colou?rful|less intense|duller|more muted|muted|desaturated",
        "tone",
    ),
    "faded": ("faded|more faded|washed out|washed-out", "tone"),
    "black and white": (
        "black and white|black-and-white|black & white|b&w|bw|gr[ae]yscale|gr[ae]y scale|monochrome", "tone"
    ),
    "sepia": ("sepia|sepia-toned|sepia toned", "tone"),
    "blurred": ("more blurred|blurred|blurry|blurrier|out of focus|softer", "effect"),
    "sharper": ("sharper|crisper|more sharp|sharpened|less blurry|less blurred", "effect"),
    "pixelated": ("more pixelated|pixell?ated|pixell?i[sz]ed", "effect"),
}  # fmt: skip
_VERBS = {
    "brighter": "brighten|lighten", "darker": "darken|dim", "warmer": "warm", "cooler": "cool",
    "more saturated": "saturate", "less saturated": "desaturate|mute", "faded": "fade",
    "black and white": "gr[ae]yscale", "blurred": "blur|soften", "sharper": "sharpen",
    "pixelated": "pixell?ate|pixell?i[sz]e|censor",
}  # fmt: skip
_MORE_OF = {
    "contrast": ("with more contrast", "with less contrast"),
    "saturation|colou?r|colou?rs|vibrance|vibrancy": ("more saturated", "less saturated"),
    "brightness|light|exposure": ("brighter", "darker"),
    "warmth|temperature|colou?r temperature": ("warmer", "cooler"),
    "sharpness": ("sharper", "blurred"),
}
_RAISE = "increase|raise|boost|add|enhance|strengthen|bump up|turn up|up"
_LOWER = "decrease|reduce|lower|cut|weaken|turn down"
_NOT_OF_THE_PICTURE = {"blurred", "sharper", "pixelated"}
"""Looks that a bare adjective without any verb does not ask the whole picture for: "sharper" alone is no request."""
_ALL = {"everything", "all", "picture", "photo", "photograph", "image", "scene", "rest"}


@dataclass(frozen=True)
class Look:
    """How something shall look: ("darker",), ("with", "more", "contrast"); `amount` is 0.5, 1 or 2."""

    words: Words
    attribute: Attribute
    amount: float = 1.0

    def on(self, thing: Phrase) -> Phrase:
        """The thing with this look: "a darker sky", "a sky with more contrast"."""
        if self.words[0] == "with":
            return replace(thing, words=(*thing.words, *self.words), count=None)
        return Phrase(with_quality(thing.words, self.words), thing.countable)

    def request(self, thing: Phrase | None, where: Where) -> str:
        """The look as a request of its own, in words that are read as the same again."""
        amount = f"{AMOUNTS[self.amount]} " if self.amount in AMOUNTS else ""
        owner = "the picture" if thing is None else thing.definite
        owner = f"everything except {owner}" if where == "outside" else owner
        if self.words[0] == "with":
            return f"{amount}{' '.join(self.words[1:])} in {owner}"
        return f"make {owner} {amount}{' '.join(self.words)}"


# --- all but one thing ------------------------------------------------------------------------------------------------


def spared(words: Words) -> Words:
    """The words of a sentence with "all but that" and "keep that in colour" as "except"."""
    lower = low(words)
    out = ["except" if w == "but" and i and lower[i - 1] in _ALL else words[i] for i, w in enumerate(lower)]
    return _kept_in_colour(tuple(w for i, w in enumerate(out) if not (w == "," and out[i + 1 : i + 2] == ["except"])))


_KEPT = re.compile(
    r"^(?P<look>.+?) ,? ?(?:but |and )?(?:please )?(?:keep|leave) (?P<thing>.+?)"
    r" (?:in colou?r|colou?red|colou?rful|as (?:it|they) (?:is|are)|sharp|in focus|alone|unchanged|untouched)$",
    re.IGNORECASE,
)


def _kept_in_colour(words: Words) -> Words:
    """ "black and white, but keep the balloon in colour" as "black and white except the balloon"."""
    match = _KEPT.match(" ".join(words))
    if match is None:
        return words
    asked = tuple(match["look"].split(" "))
    asked = asked[:-1] if asked[-1] == "," else asked
    reading = look_reading(asked, Context())
    if reading is None or not reading.items or reading.items[-1].where != "picture":
        return words
    return (*asked, "except", *match["thing"].split(" "))


# --- the forms --------------------------------------------------------------------------------------------------------


def _alternatives(patterns: list[str]) -> str:
    """One pattern of named groups, the group's number standing for its place in the list."""
    return "|".join(f"(?P<k{i}>{pattern})" for i, pattern in enumerate(patterns))


_END = rf"(?: (?P<after>{_A}))?(?: except (?P<spared>.+))?$"
_BY_LOOK = re.compile(
    r"^(?:(?P<verb>make|turn|render|get|have|convert|change|transform|put|let|set) )?(?:(?P<thing>.+?) )??"
    r"(?:(?:should |must |to )?(?:be|look|become|appear) |to |into |in )?"
    rf"(?:(?P<before>{_A}) )?(?:an? )?(?:{_alternatives([pattern for pattern, _ in _LOOKS.values()])}){_END}",
    re.IGNORECASE,
)
_BY_VERB = re.compile(
    rf"^(?:(?P<before>{_A}) )?(?:{_alternatives(list(_VERBS.values()))})(?: (?:up|down|out))?"
    rf"(?: (?P<thing>.+?))?(?: (?:up|down))?{_END}",
    re.IGNORECASE,
)
_BY_MEASURE = re.compile(
    rf"^(?:(?:give|make) (?P<owner>.+?) )?(?:(?P<before>{_A}) )?(?:(?P<raise>{_RAISE})|(?P<lower>{_LOWER})"
    rf"|(?P<more>more|higher)|(?P<less>less|lower))(?: more| some| a bit of| a touch of)?(?: the)?"
    rf" (?:{_alternatives(list(_MORE_OF))})"
    rf"(?: (?:of|in|on|for|to) (?P<thing>.+?))?{_END}",
    re.IGNORECASE,
)
_AROUND = re.compile(
    r"^(?:(?:everything|all|the rest|the (?:whole |entire )?(?:picture|photo|photograph|image|scene))"
    r" (?:except|around|outside|besides|behind)"
    r"|the (?:background|surroundings?) (?:behind|around|of)) (?P<thing>.+)$",
    re.IGNORECASE,
)
_COLOURS = re.compile(
    r"^(?:the |all (?:the )?)?(?:colou?rs|tones|lighting|white balance|atmosphere)(?: of (?P<thing>.+))?$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Found:
    look: Look
    thing: str | None
    spared: str | None
    carry: Words


def look_reading(words: Words, context: Context) -> Reading | None:
    """The items of one clause that asks for a look; None where it is no such."""
    text = " ".join(words)
    for form in (_measure, _verb, _look):
        found = form(text)
        reading = None if found is None else _reading(found, context)
        if reading is not None:
            return reading
    return None


def _look(text: str) -> _Found | None:
    match = _BY_LOOK.match(text)
    if match is None:
        return None
    name = list(_LOOKS)[_which(match)]
    verb, thing = match["verb"], match["thing"]
    if verb is None and thing is None and (name in _NOT_OF_THE_PICTURE or match["after"]):
        return None
    if verb is None and thing is not None and low(tuple(thing.split(" ")))[0] not in lex.DEFINITE | _ALL:
        return None
    bare = thing is None and verb is not None and verb.casefold() in {"make", "get", "have", "put", "let", "set"}
    if bare and name != "black and white":
        return None
    return _Found(Look(tuple(name.split(" ")), _LOOKS[name][1], _amount(match)), thing, match["spared"], ("make",))


def _verb(text: str) -> _Found | None:
    match = _BY_VERB.match(text)
    if match is None or (match["thing"] is None and match["spared"] is None):
        return None
    name = list(_VERBS)[_which(match)]
    look = Look(tuple(name.split(" ")), _LOOKS[name][1], _amount(match))
    return _Found(look, match["thing"], match["spared"], (text.split(" ")[0],))


def _measure(text: str) -> _Found | None:
    match = _BY_MEASURE.match(text)
    if match is None:
        return None
    more, less = list(_MORE_OF.values())[_which(match)]
    name = more if match["raise"] or match["more"] else less
    attribute: Attribute = _LOOKS[name][1] if name in _LOOKS else "tone"
    look = Look(tuple(name.split(" ")), attribute, _amount(match))
    return _Found(look, match["thing"] or match["owner"], match["spared"], ())


def _which(match: re.Match[str]) -> int:
    return next(int(key[1:]) for key, value in match.groupdict().items() if re.fullmatch(r"k\d+", key) and value)


def _amount(match: re.Match[str]) -> float:
    said = match["before"] or match["after"]
    if said is None:
        return 1.0
    return 0.5 if re.fullmatch(_LITTLE, said.casefold()) else 2.0


def _reading(found: _Found, context: Context) -> Reading | None:
    thing, where = found.thing, "region"
    colours = _COLOURS.match(thing) if thing is not None else None
    if colours is not None:
        if found.look.attribute == "effect":
            return None  # softer light is no blurred picture
        thing = colours["thing"] or "everything"
    around = _AROUND.match(thing) if thing is not None else None
    if around is not None and found.spared is None:
        where, thing = "outside", around["thing"]
    elif thing is None or is_the_picture(tuple(thing.split(" ")), context) or thing.casefold() == "the rest":
        where, thing = ("picture", None) if found.spared is None else ("outside", found.spared)
    elif found.spared is not None:
        return None
    if thing is None:
        return Reading((_item(found.look, None, "picture"),), carry=found.carry)
    return _of_things(found, tuple(thing.split(" ")), where, context)


def _of_things(found: _Found, words: Words, where: str, context: Context) -> Reading | None:
    again = made_before(words, context)
    if again and where == "region":
        return rewritten(again, context, lambda item: _looking(item, found.look), found.carry)
    parts = things(words, context)
    if parts is None or any(is_pronoun(part) for part in parts):
        return None
    items = tuple(_item(found.look, phrase(part), "outside" if where == "outside" else "region") for part in parts)
    return Reading(items, carry=found.carry)


def _looking(item: Item, look: Look) -> Item | None:
    if item.target is None or item.action == "remove" or item.where != "region":
        return None
    return replace(item, target=look.on(item.target), look=None)


def _item(look: Look, thing: Phrase | None, where: Where) -> Item:
    target = look.on(thing if where == "region" and thing is not None else PICTURE)
    return Item("change", thing, target, look=look, where=where)
