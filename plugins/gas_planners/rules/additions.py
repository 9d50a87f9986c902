"""Things that are put in and taken out: "add B to A", "give A B", "remove A from C"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from gas_planners.rules import lexicon as lex
from gas_planners.rules.changes import extended, is_position, qualified
from gas_planners.rules.items import (
    Context,
    Item,
    Reading,
    guessed,
    is_pronoun,
    is_the_picture,
    made_before,
    meant,
    named,
    rewritten,
    things,
)
from gas_planners.rules.noun_phrase import (
    Phrase,
    coordinates,
    how_many,
    is_participle,
    is_phrase,
    is_vague,
    phrase,
    split_determiner,
)
from gas_planners.rules.qualities import are_qualities
from gas_planners.rules.tokens import Words, low


def removal(rest: Words, context: Context, place: Words = ()) -> Reading | None:
    """remove A (from `place`), and lists of A."""
    anchor = None
    if place and is_position(place):
        rest = (*rest, "from", *place)  # "the second tree from the left"
    elif place and low(place)[-1] not in lex.PICTURE:
        where = named(place, context)
        if not is_phrase(where) or is_pronoun(where):
            return None
        anchor = phrase(where)
    hung = anchor is not None and not is_pronoun(rest) and is_the_picture(rest, context)  # "the picture from the wall"
    parts = [rest] if hung else things(rest, context)
    if parts is None or (is_pronoun(rest) and not meant(rest, context)):
        return None
    if is_pronoun(rest) and made_before(rest, context):
        return None  # "make the car blue and remove it"
    parts = [each for part in parts for each in _belongings(part)]
    if any(is_vague(part) for part in parts):
        return None
    items: list[Item] = []
    for part in parts:
        number, one = how_many(part)
        items += [Item("remove", source=phrase(one), anchor=anchor)] * number
    return Reading(tuple(items), carry=("remove",)) if items else None


def _belongings(words: Words) -> list[Words]:
    """ "the man's glasses and his hat" as two things that can be taken away; anything else as it is."""
    lower = low(words)
    for i in range(1, len(words) - 1):
        if lower[i] == "and" and lower[i + 1] in {"his", "her"}:
            first, second = words[:i], words[i + 1 :]
            return [first, second] if is_phrase(first) and is_phrase(second) else [words]
    return [words]


def addition(rest: Words, carry: Words, context: Context) -> Reading | None:
    """add B (to, on, next to … A): the anchor is a thing in the picture; "in a suit" and "on a branch" belong to B."""
    lower = low(rest)
    if not rest or lower[0] in {"to", "less"}:
        return None
    target, place, where = _placed(rest) if lower[-1] not in {"here", "there"} else (rest[:-1], (), rest[-1:])
    if not is_phrase(target) or low(target)[0] in lex.QUANTIFIERS | {"every", "each", "any"} or _no_thing(target):
        return None
    if is_participle(low(target)[-1]) and len(target) > 1 and where:  # "a dog lying on the floor"
        target = rest
    again = made_before(where, context) if where else ()
    last = context.items[again[-1]] if again else None
    beside = (last.source or last.anchor) if last is not None and place not in _TOUCHING else None
    if again and beside is None and all(is_new(context.items[i]) for i in again):
        bare = low(target)[0] not in lex.INDEFINITE and phrase(target).countable
        more = ("with", "a", *target) if bare else ("with", *target)
        return rewritten(again, context, lambda item: extended(item, more), carry)
    if where and (not place or is_position(where) or (is_pronoun(where) and not again)):
        shown = " ".join((*place, *where))
        note = f"where {shown!r} is has to be shown: give a box for {phrase(target).plain!r}"
        return _added(target, [None], "", carry, (note,))
    anchors = [beside] if beside is not None else _anchors(where, place, context) if where else [None]
    return _added(target, anchors, " ".join(place), carry) if anchors else None


def _added(
    target: Words, anchors: Sequence[Phrase | None], place: str, carry: Words, warnings: tuple[str, ...] = ()
) -> Reading:
    """An item for each new thing at each anchor."""
    items = [
        Item("add", target=phrase(part), anchor=each, place=place if each else "", warnings=warnings)
        for part in coordinates(target)
        for each in anchors
    ]
    return Reading(tuple(items), carry=carry)


def _anchors(where: Words, place: Words, context: Context) -> list[Phrase]:
    """The things that something is put at; [] where it is not known which."""
    lower = low(where)  # "the roof and on the trees" without the second "on"
    second = [i for i in range(1, len(lower)) if lower[i - 1] == "and" and lower[i] in lex.PREPOSITIONS]
    where = named(tuple(word for i, word in enumerate(where) if i not in second), context)
    if place == ("between",):
        return [phrase(where)] if is_phrase(where) else []
    return [phrase(part) for part in things(where, context) or ()]


_TOUCHING = {
    ("on",),
    ("to",),
    ("in",),
    ("into",),
    ("onto",),
    ("on", "to"),
    ("inside",),
    ("around",),
    ("on", "top", "of"),
}
"""Places of what becomes a part of a new thing: "put a saddle on it"."""


def _no_thing(words: Words) -> bool:
    """Whether the words name nothing that can be put somewhere: "a different colour", "contrast"."""
    head = phrase(words).head
    return head in lex.ABSTRACT | lex.SURFACES - {"paint"} | {"detail", "one", "makeover", "expression"}


def is_new(item: Item) -> bool:
    """Whether what the item is about is not in the picture yet."""
    return item.action == "add" or (item.action == "change" and not item.quality)


def _placed(rest: Words) -> tuple[Words, Words, Words]:
    """(new thing, place words, anchor words); the last two may be empty."""
    lower = low(rest)
    found: list[tuple[int, Words]] = []
    i = 1
    while i < len(rest) - 1:
        place = next((p for p in lex.PLACES if lower[i : i + len(p)] == p and i + len(p) < len(rest)), None)
        if place is not None:
            after = lower[i + len(place)]
            if after not in lex.INDEFINITE or place == ("to",):
                found.append((i, place))
            i += len(place) - 1
        i += 1
    if not found:
        return rest, (), ()
    to = [pair for pair in found if pair[1] == ("to",)]
    at, place = (to or found)[0]
    return rest[:at], place, rest[at + len(place) :]


def given(owner: Words, thing: Words, context: Context) -> Reading | None:
    """give A B, A should have B: B is added to A; "a yellow colour" changes it, "no leaves" takes them away."""
    lower = low(thing)
    if lower[:1] == ("no",) or lower[:2] == ("not", "any"):
        return removal(thing[1:] if lower[0] == "no" else thing[2:], context, owner)
    if (
        not owner
        or low(owner)[0] in lex.ACTS
        or not is_phrase(thing)
        or (lower[0] in {"any", "some"} and len(thing) < 2)
    ):
        return None
    rest = split_determiner(thing)[1]
    coat = ("coat", "of") in pairwise(low(rest))
    rest = rest[low(rest).index("of") + 1 :] if coat else rest  # "a fresh coat of white paint"
    if low(rest)[-1] in lex.SURFACES and are_qualities(rest[:-1]):
        return qualified(owner, rest[:-1], ("give",), context)
    if coat or _no_thing(thing):
        return None
    again = made_before(owner, context)
    if again and all(is_new(context.items[i]) for i in again):
        return rewritten(again, context, lambda item: extended(item, ("with", *thing)), ("give",))
    if is_the_picture(owner, context) and not is_pronoun(owner):
        return _added(thing, [None], "", ("give",))
    parts = things(owner, context)
    if parts is not None:
        return _added(thing, [phrase(part) for part in parts], "to", ("give",), guessed(owner, context))
    if low(owner) not in {("it",), ("them",), ("me",), ("us",)}:
        return None
    note = f"who {owner[0]!r} is has to be shown: give a box for {phrase(thing).plain!r}"
    return _added(thing, [None], "", ("give",), (note,))


def in_place_of_the_last(target: Words, context: Context) -> Reading | None:
    """remove the dog and put a cat in its place: a change of the dog."""
    if not context.last or context.group[-1].action != "remove" or not is_phrase(target):
        return None
    new = phrase(target)
    return rewritten(
        context.last[-1:], context, lambda item: replace(item, action="change", target=new, anchor=None), ("replace",)
    )
