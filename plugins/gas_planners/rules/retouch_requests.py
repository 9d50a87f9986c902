"""Requests for a look rather than a thing: "the sky a little darker", "black and white but for the balloon".

They are asked for in few forms: a verb that is the look ("blur the face"), a thing and its look ("make the wall
warmer"), more or less of something ("less contrast in the sky"). What has no thing is about the whole picture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from gas.types import Attribute, Where
from gas_planners.rules import lexicon as lex
from gas_planners.rules.items import Item, Reading, named
from gas_planners.rules.noun_phrase import Phrase, Words, coordinates, is_phrase, low, phrase, with_quality

PICTURE = Phrase(("picture",), countable=True)

AMOUNTS = {0.5: "a little", 2.0: "much"}
_LITTLE = "a little bit|a little|little|a tiny bit|a bit|a touch|a tad|slightly|somewhat|gently|subtly"
_MUCH = "very much|much|a lot|lots|far|way|considerably|strongly|heavily|a great deal|significantly|very|extremely"
_AMOUNT = re.compile(rf"(?P<little>{_LITTLE})|(?:{_MUCH})")

_ADJECTIVES: dict[str, tuple[str, Attribute]] = {
    "brighter": ("brighter|lighter", "tone"),
    "darker": ("darker|dimmer", "tone"),
    "warmer": ("warmer", "tone"),
    "cooler": ("cooler|colder", "tone"),
    "more saturated": (
        "more saturated|more vivid|more vibrant|more intense|more colou?rful|vivider|saturated|vivid|vibrant",
        "tone",
    ),
    "less saturated": (
        "less saturated|less vivid|less vibrant|less colou?rful|duller|more muted|muted|desaturated",
        "tone",
    ),
    "faded": ("faded|more faded|washed out|washed-out", "tone"),
    "black and white": (
        "black and white|black-and-white|black & white|b&w|gr[ae]yscale|gr[ae]y scale|monochrome",
        "tone",
    ),
    "sepia": ("sepia|sepia-toned|sepia toned", "tone"),
    "blurred": ("more blurred|blurred|blurry|blurrier|out of focus|softer", "effect"),
    "sharper": ("sharper|crisper|more sharp|sharpened", "effect"),
    "pixelated": ("more pixelated|pixell?ated|pixell?i[sz]ed", "effect"),
}
_VERBS = {
    "brighter": "brighten|lighten",
    "darker": "darken|dim",
    "warmer": "warm",
    "cooler": "cool",
    "more saturated": "saturate",
    "less saturated": "desaturate|mute",
    "faded": "fade",
    "black and white": "gr[ae]yscale",
    "blurred": "blur|soften",
    "sharper": "sharpen",
    "pixelated": "pixell?ate|pixell?i[sz]e",
}
_MORE_OF = {
    "contrast": ("with more contrast", "with less contrast"),
    "saturation|colou?r|colou?rs|vibrance": ("more saturated", "less saturated"),
    "brightness|light|exposure": ("brighter", "darker"),
    "warmth|temperature|colou?r temperature": ("warmer", "cooler"),
    "sharpness": ("sharper", "blurred"),
}
_RAISE = "increase|raise|boost|add|enhance|strengthen"
_LOWER = "decrease|reduce|lower|cut|weaken"

_NOT_OF_THE_PICTURE = {"blurred", "sharper", "pixelated"}
"""Looks that a bare adjective without any verb does not ask the whole picture for: "sharper" alone is no request."""

_EXCEPT = (
    ("with", "the", "exception", "of"), ("except", "for"), ("but", "for"), ("apart", "from"), ("aside", "from"),
    ("other", "than"), ("save", "for"),
)  # fmt: skip
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
            return replace(thing, words=(*thing.words, *self.words))
        return Phrase(with_quality(thing.words, self.words), thing.countable)

    def request(self, thing: Phrase | None, where: Where) -> str:
        """The look as a request of its own, in words that are read as the same again."""
        amount = f"{AMOUNTS[self.amount]} " if self.amount in AMOUNTS else ""
        owner = "the picture" if thing is None else thing.definite
        owner = f"everything except {owner}" if where == "outside" else owner
        if self.words[0] == "with":
            return f"{amount}{' '.join(self.words[1:])} in {owner}"
        return f"make {owner} {amount}{' '.join(self.words)}"


def spared(words: Words) -> Words:
    """The words of a sentence with every way to say "all but that" as "except": "but for", "keep that in colour"."""
    lower = low(words)
    out: list[str] = []
    i = 0
    while i < len(words):
        marker = next((m for m in _EXCEPT if lower[i : i + len(m)] == m), None)
        if marker is not None and i:
            out.append("except")
            i += len(marker)
        elif lower[i] == "but" and i and lower[i - 1] in _ALL:
            out.append("except")
            i += 1
        else:
            out.append(words[i])
            i += 1
    return _kept_in_colour(tuple(word for i, word in enumerate(out) if not _comma_before_except(out, i)))


def _comma_before_except(words: list[str], i: int) -> bool:
    return words[i] == "," and words[i + 1 : i + 2] == ["except"]


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
    reading = read_look(asked, ())
    if reading is None or reading.items[-1].where != "picture":
        return words
    return (*asked, "except", *match["thing"].split(" "))


def _alternatives(groups: dict[str, str]) -> str:
    """One pattern of named groups, the group's number standing for its key."""
    return "|".join(f"(?P<k{i}>{pattern})" for i, pattern in enumerate(groups.values()))


_A = rf"(?:{_LITTLE}|{_MUCH})"
_LOOKS = _alternatives({name: pattern for name, (pattern, _) in _ADJECTIVES.items()})
_BY_LOOK = re.compile(
    r"^(?:(?P<verb>make|turn|render|get|have|convert|change|transform|put|let|set) )?(?:(?P<thing>.+?) )??"
    r"(?:(?:should |must |to )?(?:be|look|become|appear) |to |into |in )?"
    rf"(?:(?P<before>{_A}) )?(?:an? )?(?:{_LOOKS})(?: (?P<after>{_A}))?(?: except (?P<spared>.+))?$",
    re.IGNORECASE,
)
_BY_VERB = re.compile(
    rf"^(?:(?P<before>{_A}) )?(?:{_alternatives(_VERBS)})(?: (?:up|down))?(?: (?P<thing>.+?))?"
    rf"(?: (?P<after>{_A}))?(?: except (?P<spared>.+))?$",
    re.IGNORECASE,
)
_BY_MEASURE = re.compile(
    rf"^(?:give (?P<owner>.+?) )?(?:(?P<before>{_A}) )?(?:(?P<raise>{_RAISE})|(?P<lower>{_LOWER})|(?P<more>more)"
    rf"|(?P<less>less))(?: more)?(?: the)? (?:{_alternatives({key: key for key in _MORE_OF})})"
    rf"(?: (?:of|in|on|for|to) (?P<thing>.+?))?(?: (?P<after>{_A}))?(?: except (?P<spared>.+))?$",
    re.IGNORECASE,
)


def read_look(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """The items of one clause that asks for a look; None where it is no such. `before` are those read so far."""
    text = " ".join(words)
    for form in (_measure, _verb, _look):
        found = form(text)
        if found is None:
            continue
        look, thing, spared_thing, carry = found
        items = _items(look, thing, spared_thing, before)
        if items is not None:
            return Reading(items, carry=carry)
    return None


_Found = tuple[Look, str | None, str | None, Words]


def _look(text: str) -> _Found | None:
    match = _BY_LOOK.match(text)
    if match is None:
        return None
    name = list(_ADJECTIVES)[_which(match)]
    verb, thing = match["verb"], match["thing"]
    if verb is None and thing is None and (name in _NOT_OF_THE_PICTURE or match["after"]):
        return None
    if verb is None and thing is not None and low(tuple(thing.split(" ")))[0] not in lex.DEFINITE | _ALL:
        return None
    bare = thing is None and verb is not None and verb.casefold() in {"make", "get", "have", "put", "let", "set"}
    if bare and name != "black and white":
        return None
    look = Look(tuple(name.split(" ")), _ADJECTIVES[name][1], _amount(match))
    return look, thing, match["spared"], ("make",)


def _verb(text: str) -> _Found | None:
    match = _BY_VERB.match(text)
    if match is None or (match["thing"] is None and match["spared"] is None):
        return None
    name = list(_VERBS)[_which(match)]
    look = Look(tuple(name.split(" ")), _ADJECTIVES[name][1], _amount(match))
    return look, match["thing"], match["spared"], (text.split(" ")[0],)


def _measure(text: str) -> _Found | None:
    match = _BY_MEASURE.match(text)
    if match is None:
        return None
    more, less = list(_MORE_OF.values())[_which(match)]
    name = more if match["raise"] or match["more"] else less
    attribute: Attribute = _ADJECTIVES[name][1] if name in _ADJECTIVES else "tone"
    thing = match["thing"] or match["owner"]
    return Look(tuple(name.split(" ")), attribute, _amount(match)), thing, match["spared"], ()


def _which(match: re.Match[str]) -> int:
    return next(int(key[1:]) for key, value in match.groupdict().items() if re.fullmatch(r"k\d+", key) and value)


def _amount(match: re.Match[str]) -> float:
    said = match["before"] or match["after"]
    if said is None:
        return 1.0
    found = _AMOUNT.fullmatch(said.casefold())
    return 0.5 if found is not None and found["little"] else 2.0


_AROUND = re.compile(
    r"^(?:(?P<all>everything|all|the rest|the (?:whole |entire )?(?:picture|photo|photograph|image|scene))"
    r" (?P<besides>except|around|outside|besides|behind)"
    r"|the (?:background|surroundings?) (?:behind|around|of)) (?P<thing>.+)$",
    re.IGNORECASE,
)
_WHOLE = re.compile(
    r"^(?:everything|all|(?:the |this |my |that )?(?:whole |entire )?(?:picture|photo|photograph|image|scene|shot)"
    r"|(?:the |all (?:the )?)?colou?rs)$",
    re.IGNORECASE,
)
_COLOURS_OF = re.compile(r"^(?:the )?colou?rs of (?P<thing>.+)$", re.IGNORECASE)


def _items(
    look: Look, thing: str | None, spared_thing: str | None, before: tuple[Item, ...]
) -> tuple[Item, ...] | None:
    where: Where = "region"
    colours = _COLOURS_OF.match(thing) if thing is not None else None
    thing = colours["thing"] if colours is not None else thing
    around = _AROUND.match(thing) if thing is not None else None
    if around is not None and spared_thing is None:
        where, thing = "outside", around["thing"]
    elif thing is None or _WHOLE.match(thing) or (thing.casefold() in {"it", "this"} and not before):
        where, thing = ("picture", None) if spared_thing is None else ("outside", spared_thing)
    elif spared_thing is not None:
        return None
    if thing is None:
        return (_item(look, None, where),)
    words = tuple(thing.split(" "))
    items = []
    for part in (named(each, before) for each in coordinates(words)):
        if not is_phrase(part) or low(part)[-1] in lex.PRONOUNS:
            return None
        items.append(_item(look, phrase(part), where))
    return tuple(items)


def _item(look: Look, thing: Phrase | None, where: Where) -> Item:
    target = look.on(thing if where == "region" and thing is not None else PICTURE)
    return Item("change", thing, target, look=look, where=where)
