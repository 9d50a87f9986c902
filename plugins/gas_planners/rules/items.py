"""From phrases to items: "A into B" with lists, numbers, qualities, colours, "it" and "the other one" worked out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gas.types import Where
from gas_planners.rules import lexicon as lex
from gas_planners.rules.noun_phrase import (
    Phrase,
    Words,
    are_qualities,
    coordinates,
    head_index,
    how_many,
    is_adjective,
    is_name,
    is_participle,
    is_phrase,
    is_plural,
    kinds,
    low,
    phrase,
    split_determiner,
    with_quality,
)

if TYPE_CHECKING:
    from gas_planners.rules.retouch_requests import Look

TOPIC = "topic"
"""The action of an item that asks for nothing: it is what a later "it" stands for."""


@dataclass(frozen=True)
class Item:
    """One thing asked for. `place` is the preposition of an addition's anchor; `quality` says that only qualities
    change; `look` that it is a look that is asked for, of the source or as `where` says."""

    action: str
    source: Phrase | None = None
    target: Phrase | None = None
    anchor: Phrase | None = None
    place: str = ""
    quality: Words = ()
    look: Look | None = None
    where: Where = "region"
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What a clause means: its items, how doubtful it is, and the words that a next clause without a verb goes on with.

    `instead` is how many of the items before it takes the place of ("remove the dog and put a cat in its place");
    `shares_place` says that it ends a list whose place holds for all of it ("a cup and a spoon on the table").
    """

    items: tuple[Item, ...]
    cost: float = 0.0
    carry: Words = ()
    instead: int = 0
    shares_place: bool = False


def changed(source: Words, target: Words, carry: Words, before: tuple[Item, ...], *, separator: str) -> Reading | None:
    """The items of "A into B": lists of A, pairs for "the two cats", qualities ("to green"), "a blue one"."""
    if not target or not source:
        return None
    note = guessed(source, before)
    source = named(source, before)
    whole = _colour_of(source)
    metal = len(target) == 1 and low(target)[0] in lex.SUBSTANCES and separator in {"to", "into", "with", "->"}
    metal = metal and whole is None and low(source)[-1] != "sky"
    if are_qualities(target) and not metal and separator not in {"with", "by", "for", "instead"}:
        return changed_qualities(source, target, carry)
    if whole is not None:
        return None if not are_qualities(target) else changed_qualities(source, target, carry)
    if separator == "" and low(source)[-1] == "sky" and _time_of_sky(target):
        target = ("a", _time_of_sky(target), "sky")  # "make the sky a night"
    shade = _shade(target)
    if shade:
        return changed_qualities(source, shade, carry)
    if not is_phrase(target) or low(target)[0] in lex.PEOPLE_PRONOUNS or _is_direction(target):
        return None
    _, rest = split_determiner(target)
    if low(rest)[-1:] in {("one",), ("ones",)} and are_qualities(rest[:-1]):
        return changed_qualities(source, rest[:-1], carry)
    items: list[Item] = []
    parts, targets = coordinates(source), coordinates(target)
    if len(targets) > 1 and len(parts) == 1:
        parts = coordinates(source, loose=True) if len(coordinates(source, loose=True)) == len(targets) else parts
    if len(parts) == len(targets) > 1:  # "the dog and the cat into a tiger and a lion": each into its own
        pairs = [(old, new) for old, new in zip(parts, targets, strict=True)]
        return Reading(tuple(Item("change", _balanced(old, new), phrase(new)) for old, new in pairs), carry=carry)
    for part in parts:
        if not is_phrase(part):
            return None
        number, one = how_many(part)
        if number > 1:
            items += _several(number, one, target)
            continue
        items.append(Item("change", _balanced(one, target), phrase(target)))
    whole_picture = low(split_determiner(source)[1])[-1:]
    if whole_picture and whole_picture[0] in lex.PICTURE - {"painting", "drawing", "frame"}:
        note += ("this asks for the whole picture: it has no region of its own",)
    return noted(Reading(tuple(items), carry=carry or (), cost=0.2 if separator == "" and not carry else 0.0), note)


def _time_of_sky(target: Words) -> str:
    """ "night" of "a night", "clear" of "a clear day"; empty for anything else."""
    rest = low(split_determiner(target)[1])
    known = rest[:1] and rest[0] in lex.SKY_TIMES and rest[1:] in {(), ("day",), ("night",)}
    return lex.SKY_TIMES[rest[0]] if known else ""


def _shade(target: Words) -> Words:
    """The colour in "a deep red" and "a darker shade of blue"; empty for anything else, "an orange" for one."""
    determiner, rest = split_determiner(target)
    lower = low(rest)
    for word in ("shade", "tone", "hue", "tint"):
        if word in lower and lower[lower.index(word) + 1 : lower.index(word) + 2] == ("of",):
            rest = (*rest[: lower.index(word)], *rest[lower.index(word) + 2 :])
    colours = are_qualities(rest) and low(rest)[-1] in lex.COLOURS and low(rest)[-1] not in lex.SUBSTANCES
    return rest if determiner in {"a", "an"} and colours else ()


def guessed(words: Words, before: tuple[Item, ...]) -> tuple[str, ...]:
    """A note where "him" and the like of nobody named was taken for somebody."""
    lower = low(words)
    if len(lower) != 1 or lower[0] not in lex.SOMEBODY or named(words, before) != ("the", lex.SOMEBODY[lower[0]]):
        return ()
    return (f"{words[0]!r} was read as 'the {lex.SOMEBODY[lower[0]]}'",)


def _balanced(source: Words, target: Words) -> Phrase:
    """The source phrase, with an article when the target has one: two prompts should differ in what is asked for
    alone."""
    found, new = phrase(source), phrase(target)
    head = found.head
    bare = split_determiner(source)[0] == ""
    if (
        bare
        and new.countable
        and not is_plural(found.words[head_index(found.words)].casefold())
        and head not in lex.MASS
    ):
        return replace(found, countable=True)
    return found


def _several(number: int, source: Words, target: Words) -> list[Item]:
    """ "the two cats" into "a dog and a tiger" (one each) or into "tigers" (each into one)."""
    old = phrase(source)
    each = coordinates(target)
    if len(each) == number:
        return [Item("change", old, phrase(part)) for part in each]
    _, rest = split_determiner(target)
    if rest and rest[0].casefold() in lex.NUMBERS and len(rest) > 1:
        rest = rest[1:]
    at = head_index(rest)
    if is_plural(rest[at].casefold()):
        _, rest = how_many(("both", *rest))
        target = rest
    return [Item("change", old, phrase(target))] * number


def changed_qualities(source: Words, qualities: Words, carry: Words) -> Reading | None:
    """The items of a change of qualities, one for each thing in a list."""
    whole = _colour_of(source)
    source = source if whole is None else whole
    items: list[Item] = []
    for part in coordinates(source):
        if not is_phrase(part):
            return None
        number, one = how_many(part)
        old = phrase(one)
        new = Phrase(with_quality(_without_clause(old.words, qualities), _stripped(qualities)), old.countable)
        items += [Item("change", old, new, quality=low(qualities))] * number
    return Reading(tuple(items), carry=carry or ("make",))


def _without_clause(words: Words, qualities: Words) -> Words:
    """The words without "which is red" when the colour is what changes."""
    lower = low(words)
    for i, word in enumerate(lower):
        if i and word in lex.RELATIVES and lower[i + 1 : i + 2] and lower[i + 1] in {"is", "are"}:
            told = words[i + 2 :]
            if are_qualities(told) and kinds(told) & kinds(qualities):
                return words[:i]
    return words


def _stripped(qualities: Words) -> Words:
    while len(qualities) > 1 and low(qualities)[0] in {"all", "completely", "totally", "fully", "and", ","}:
        qualities = qualities[1:]
    return qualities


def changed_from(source: Words, old: Words, new: Words, carry: Words) -> Reading | None:
    """change (the colour of) A from red to green; turn A from one thing into another."""
    whole = _colour_of(source) or source
    times = lex.SKY_TIMES
    if low(source)[-1:] == ("sky",) and low(old)[-1] in times and low(new)[-1] in times:
        old, new = (times[low(old)[-1]],), (times[low(new)[-1]],)
    if are_qualities(old) and are_qualities(new):
        determiner, rest = split_determiner(whole)
        described = (determiner or "the", *with_quality(rest, old))
        return changed_qualities(described, new, carry)
    if is_phrase(old) and is_phrase(new) and (may_be_quality(low(old)[-1]) or is_adjective(old[-1])):
        return None
    return changed(old, new, carry, (), separator="to")


def become(source: Words, target: Words, carry: Words, before: tuple[Item, ...]) -> Reading | None:
    """A becomes B, where B may be qualities only ("red", "frozen", "made of ice")."""
    source = named(source, before)
    if not target or not is_phrase(source):
        return None
    if are_qualities(target):
        return changed_qualities(source, target, carry)
    if low(target)[0] in {"made", "covered", "full"} and len(target) > 2:
        return changed(source, (*source, *target), carry, before, separator="")
    if is_phrase(target):
        reading = changed(source, target, carry, before, separator="")
        if low(target)[0] in lex.DETERMINERS or is_plural(low(target)[-1]) or low(target)[-1] in lex.MASS | lex.ANIMALS:
            return reading
        if len(target) == 1 and may_be_quality(low(target)[0]):
            return noted(changed_qualities(source, target, carry), (f"{target[0]!r} was read as a quality",), cost=0.5)
        if len(target) == 1 and not is_name(target):
            return noted(reading, (f"{target[0]!r} was read as a thing",), cost=0.5)
        return reading
    return None


def weather(rest: Words) -> Reading | None:
    """(make) it snow, it night, it a sunset sky; the weather to rain. None for anything else."""
    lower = low(rest)
    if not lower:
        return None
    if lower[0] in {"it", "everything"}:
        tail = rest[1:]
    elif lower[:1] in {("the",), ("this",)} and lower[1:2] and lower[1] in {"picture", "photo", "image", "scene"}:
        tail = rest[2:]
        if not tail or low(tail)[-1] not in {*lex.SKY_TIMES, *lex.WEATHER}:
            return None
    elif lower[:2] in {("the", "weather"), ("the", "time")}:
        tail = rest[2:]
        tail = tail[2:] if low(tail)[:2] == ("of", "day") else tail
    else:
        return None
    while tail and low(tail)[0] in {"to", "into", "be", "look", "like", "it", "it's", "is", "start", "a", "an", "at"}:
        tail = tail[1:]
    if not tail:
        return None
    word = low(tail)[-1]
    first = low(tail)[0]
    if len(tail) == 1 and first in lex.WEATHER:
        return Reading((Item("add", target=Phrase((lex.WEATHER[first],))),), carry=("make",))
    sky = Phrase(("sky",), countable=True)
    if len(tail) == 1 and first in lex.SKY_TIMES:
        return Reading((Item("change", sky, Phrase((lex.SKY_TIMES[first], "sky"), countable=True)),), carry=("make",))
    if word == "sky" and is_phrase(tail):
        return Reading((Item("change", sky, Phrase(tail, countable=True)),), carry=("make",))
    if len(tail) == 2 and first in lex.SKY_TIMES and word in {"day", "weather", "night", "time"}:
        return Reading((Item("change", sky, Phrase((lex.SKY_TIMES[first], "sky"), countable=True)),), carry=("make",))
    return None


def find_separator(words: Words, *names: str) -> int | None:
    """Where the first of `names` stands that parts two phrases; earlier names go before later ones."""
    lower = low(words)
    for name in names:
        places = [i for i in range(1, len(lower) - 1) if lower[i] == name]
        for i in places:
            if len(places) == 1 and name == "into":
                return i
            before = lower[i - 1]
            if name == "to" and (
                before in {"next", "close", "due", "connected", "attached", "belonging", "in"} or is_participle(before)
            ):
                continue
            if (
                name == "to"
                and lower[i + 1 : i + 3] in {("the", "left"), ("the", "right")}
                and lower[i + 3 : i + 4] == ("of",)
            ):
                continue
            if name in {"into", "in"} and is_participle(before):
                continue
            return i
    return None


def after_separator(words: Words, at: int) -> Words:
    after = words[at + 1 :]
    if words[at].casefold() == "to" and low(after)[:1] == ("be",):
        after = after[1:]
    if low(after)[:3] in {("the", "colour"), ("the", "color")} and len(after) > 2:
        after = after[2:]
    return after


def named(words: Words, before: tuple[Item, ...]) -> Words:
    """The words, or what "it" and "the other one" stand for. "him" of nobody named is "the man"."""
    lower = low(words)
    if lower in {("it",), ("them",), ("him",), ("her",), ("this",), ("that",)} and before:
        last = before[-1]
        stands_for = last.target if last.action == "change" else last.target or last.source
        return ("the", *stands_for.words) if stands_for is not None and last.action != "remove" else words
    if len(lower) == 1 and lower[0] in lex.SOMEBODY:
        return ("the", lex.SOMEBODY[lower[0]])
    _, rest = split_determiner(words)
    rest_lower = low(rest)
    if before and before[-1].source is not None and len(lower) > 1:  # "the one on the left", "the bigger one"
        noun = before[-1].source.words[head_index(before[-1].source.words)]
        if lower[0] in lex.DEFINITE and lower[1] == "one":
            return ("the", noun, *words[2:])
        if rest_lower[-1:] == ("one",) and are_qualities(rest[:-1]):
            return ("the", *rest[:-1], noun)
    if (
        before
        and rest_lower
        and rest_lower[0] in lex.ORDINALS
        and (len(rest) == 1 or rest_lower[1:] in {("one",), ("ones",)})
    ):
        earlier = before[-1].source or before[-1].target
        return ("the", *earlier.words) if earlier is not None else words
    return words


def _colour_of(source: Words) -> Words | None:
    """A of "the colour of A", "A's colour", "the A colour"; None when no colour is spoken of."""
    _, rest = split_determiner(source)
    lower = low(rest)
    if (
        lower[:1]
        and lower[0] in {"colour", "color", "colours", "colors", "material"}
        and lower[1:2] == ("of",)
        and len(rest) > 2
    ):
        return rest[2:]
    if len(lower) > 1 and lower[-1] in {"colour", "color", "material"}:
        owner = source[:-1]
        last = owner[-1]
        for ending in ("'s", "'"):
            if last.casefold().endswith(ending):
                return (*owner[:-1], last[: -len(ending)])
        return owner
    return None


def _is_direction(words: Words) -> bool:
    return is_position(words) or (
        low(words)[-1:] in {("camera",), ("viewer",), ("degrees",), ("size",)} and len(words) <= 3
    )


def is_position(words: Words) -> bool:
    return all(word in lex.POSITIONS or word in lex.DETERMINERS or word in {"of", "side"} for word in low(words))


def may_be_quality(word: str) -> bool:
    return len(word) > 4 and word.endswith(lex.ADJECTIVE_ENDINGS) and not is_plural(word)


def noted(reading: Reading | None, warnings: tuple[str, ...], cost: float = 0.0) -> Reading | None:
    """The reading with warnings on its first item."""
    if reading is None or not warnings or not reading.items:
        return reading
    first = replace(reading.items[0], warnings=reading.items[0].warnings + warnings)
    return replace(reading, items=(first, *reading.items[1:]), cost=reading.cost + cost)
