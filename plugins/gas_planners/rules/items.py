"""What is read: items, the readings of clauses, and what "it", "them" and "the other one" stand for in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from gas.types import Action, Where
from gas_planners.rules import lexicon as lex
from gas_planners.rules.noun_phrase import Phrase, coordinates, head_index, is_phrase, phrase, split_determiner
from gas_planners.rules.qualities import are_qualities
from gas_planners.rules.tokens import Words, low

if TYPE_CHECKING:
    from gas_planners.rules.looks import Look

TOPIC: Literal["topic"] = "topic"
"""The action of an item that asks for nothing: it is what a later "it" stands for."""
PICTURE = Phrase(("picture",), countable=True)


@dataclass(frozen=True)
class Item:
    """One thing asked for. `place` is the preposition of an addition's anchor; `quality` says that only qualities
    change; `look` that it is a look that is asked for, of the source or as `where` says; `own` is the request in the
    user's words, where no other words say it; `keep` that the outline was asked to stay."""

    action: Action | Literal["topic"]
    source: Phrase | None = None
    target: Phrase | None = None
    anchor: Phrase | None = None
    place: str = ""
    quality: Words = ()
    look: Look | None = None
    where: Where = "region"
    own: str = ""
    keep: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Context:
    """What was read before a clause: all items, and the places of those that the last clause was about."""

    items: tuple[Item, ...] = ()
    last: tuple[int, ...] = ()

    @property
    def group(self) -> tuple[Item, ...]:
        """The items that the last clause was about: what "it" and "them" stand for."""
        return tuple(self.items[place] for place in self.last)


@dataclass(frozen=True)
class Reading:
    """What a clause means: its items, how doubtful it is, and the words that a next clause without a verb goes on with.

    `rewrites` are items before it that become others, by their place ("change the tent into a car and make it blue");
    `shares_place` says that it ends a list whose place holds for all of it ("a cup and a spoon on the table").
    """

    items: tuple[Item, ...]
    cost: float = 0.0
    carry: Words = ()
    rewrites: tuple[tuple[int, Item], ...] = ()
    shares_place: bool = False
    notes: tuple[str, ...] = field(default=())


def noted(reading: Reading | None, warnings: tuple[str, ...]) -> Reading | None:
    """The reading with warnings on its first item."""
    if reading is None or not warnings or not reading.items:
        return reading
    first = replace(reading.items[0], warnings=reading.items[0].warnings + warnings)
    return replace(reading, items=(first, *reading.items[1:]))


# --- what words stand for ---------------------------------------------------------------------------------------------

_SINGLE = frozenset({"it", "this", "that", "him", "her", "he", "she"})
_SEVERAL = frozenset({"them", "they", "these", "those", "both"})


def is_pronoun(words: Words) -> bool:
    """Whether the words stand for what was spoken of before, or for somebody who was not named."""
    lower = low(words)
    return len(lower) == 1 and (lower[0] in _SINGLE or lower[0] in _SEVERAL)


def meant(words: Words, context: Context) -> tuple[int, ...]:
    """The places of the items that a pronoun stands for; () where it stands for none."""
    if not is_pronoun(words):
        return ()
    return context.last if low(words)[0] in _SEVERAL else context.last[-1:]


def made_before(words: Words, context: Context) -> tuple[int, ...]:
    """The places of the items that a pronoun stands for and that can be rewritten; () for something only spoken of."""
    return tuple(place for place in meant(words, context) if context.items[place].action != TOPIC)


def not_the_new_one(words: Words, context: Context) -> tuple[str, ...]:
    """A note where "the bear" is looked for in the picture although a bush was to become one."""
    if low(words)[0] != "the" or not is_phrase(words):
        return ()
    found = phrase(words)
    there = any(item.source is not None and item.source.head == found.head for item in context.items)
    new = any(item.target is not None and item.target.head == found.head for item in context.items)
    return (
        (f"{found.definite!r} was read as one that is in the picture, not as the new one",) if new and not there else ()
    )


def is_thing(words: Words) -> bool:
    """Whether the words name a thing, or stand for one."""
    return is_phrase(words) or is_pronoun(words) or low(words) == ("everything",)


def things(words: Words, context: Context) -> list[Words] | None:
    """The phrases that are named: the members of a list, and what "the other one", "the left one" and "him" mean.

    None where they name nothing, or where it is not known what.
    """
    words = named(words, context)
    if is_pronoun(words) or not is_phrase(words):
        return None
    parts = [named(part, context) for part in coordinates(words)]
    return parts if all(map(_is_named, parts)) else None


def _is_named(words: Words) -> bool:
    """Whether a thing is named that one can point at: no "one", no style."""
    found = phrase(words)
    if low(words)[0] == "every" and low(found.words)[0] in lex.ORDINALS:  # "every second tile"
        return False
    whole = len(found.words) == 1 and found.head in lex.THE_PICTURE
    nowhere = all(word in lex.POSITIONS - {"background", "foreground"} for word in low(found.words))
    unnamed = low(words)[-1] in lex.ORDINALS | {"one", "ones", "others"} or found.head in lex.ABSTRACT
    return is_phrase(words) and not (whole or nowhere or unnamed)


def named(words: Words, context: Context) -> Words:
    """The words, or what they stand for: "it" of a topic, "the other one"; "him" of nobody named is "the man"."""
    lower = low(words)
    before = [context.items[place] for place in meant(words, context)]
    if before:
        source = before[-1].source if before[-1].action in {TOPIC, "change"} else before[-1].target
        return words if source is None or before[-1].action == "remove" else ("the", *source.words)
    if len(lower) == 1 and lower[0] in lex.SOMEBODY:
        return ("the", lex.SOMEBODY[lower[0]])
    earlier = next((item.source for item in reversed(context.items) if item.source is not None), None)
    if earlier is None or len(lower) < 2:
        return words
    noun = earlier.words[head_index(earlier.words)]
    _, rest = split_determiner(words)
    inner = low(rest)
    if lower[0] in lex.DEFINITE and lower[1] == "one":  # "the one on the left"
        return ("the", noun, *words[2:])
    if inner == ("others",) or (inner and inner[0] in lex.ORDINALS and inner[1:] in {(), ("one",), ("ones",)}):
        return ("the", "other" if inner == ("others",) else rest[0], noun)  # "the other one"
    if inner[-1:] in {("one",), ("ones",)} and len(rest) > 1 and lower[0] in lex.DEFINITE:  # "the small one"
        qualities = rest[:-1]
        return ("the", *qualities, noun) if are_qualities(qualities) or len(qualities) == 1 else words
    return words


def guessed(words: Words, context: Context) -> tuple[str, ...]:
    """A note where "him" and the like of nobody named was taken for somebody."""
    lower = low(words)
    if len(lower) != 1 or lower[0] not in lex.SOMEBODY or meant(words, context):
        return ()
    return (f"{words[0]!r} was read as 'the {lex.SOMEBODY[lower[0]]}'",)


def is_the_picture(words: Words, context: Context) -> bool:
    """Whether the words mean the whole picture: "the photo", "everything", "it" of nothing."""
    lower = low(words)
    while lower and (lower[0] in lex.DEFINITE or lower[0] in lex.WHOLE | {"all"}) and len(lower) > 1:
        lower = lower[1:]
    if len(lower) == 1 and lower[0] in {"it", "this", "that"}:
        return not [item for item in context.group if item.action != "remove"] or all(
            item.where == "picture" for item in context.group
        )
    return lower in {("everything",), ("all",), ("thing",)} or (len(lower) == 1 and lower[0] in lex.THE_PICTURE)


def rewritten(
    places: Sequence[int], context: Context, change: Callable[[Item], Item | None], carry: Words
) -> Reading | None:
    """The items at `places`, each changed once more; None where one of them cannot be."""
    new = [(place, change(context.items[place])) for place in places]
    rewrites = tuple((place, item) for place, item in new if item is not None)
    return Reading((), rewrites=rewrites, carry=carry) if rewrites and len(rewrites) == len(new) else None
