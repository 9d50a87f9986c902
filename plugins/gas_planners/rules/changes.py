"""From phrases to items: "A into B" with lists, numbers, qualities and colours, also of what was read before."""

from __future__ import annotations

from dataclasses import replace

from gas_planners.rules import lexicon as lex
from gas_planners.rules.items import (
    Context,
    Item,
    Reading,
    guessed,
    is_pronoun,
    made_before,
    not_the_new_one,
    noted,
    rewritten,
    things,
)
from gas_planners.rules.noun_phrase import (
    Phrase,
    coordinates,
    head_index,
    how_many,
    is_name,
    is_phrase,
    is_plural,
    is_vague,
    phrase,
    split_determiner,
    with_quality,
)
from gas_planners.rules.qualities import are_colours, are_qualities, is_adjective, is_shade, kinds, without_degree
from gas_planners.rules.tokens import Words, is_literal, low

REFUSED_QUALITIES = frozenset({"size", "build"})
"""Classes that cannot be asked for: an edit in place makes nothing larger or smaller."""


def changed(source: Words, target: Words, carry: Words, context: Context, *, by: str = "") -> Reading | None:
    """The items of "A into B". `by` is the word between the two, or "" for none."""
    whole = colour_of(source)
    owner = whole or source
    colour = whole is not None or (by == "to" and carry == ("change",) and low(target)[-1] in lex.COLOURS)
    wanted = _as_qualities(target, by, owner, of_colour=colour)
    if wanted is not None and by in {"with", "for"} and low(target)[-1] == "one" and is_phrase(source):
        target, wanted = ("a", *wanted, *_noun(phrase(source).words)), None
    if wanted is not None:
        return qualified(owner, wanted, carry, context)
    if whole is not None or not is_phrase(target) or is_direction(target) or _is_no_thing(target):
        return None
    again = made_before(source, context) if is_pronoun(source) else ()
    if again:
        return rewritten(again, context, lambda item: _into_another(item, phrase(target)), carry)
    note = guessed(source, context)
    parts = _sources(source, target, context)
    if parts is None:
        return None
    targets = coordinates(target)
    if len(parts) == len(targets) > 1:  # "the dog and the cat into a tiger and a lion": each into its own
        items = [Item("change", _balanced(old, new), phrase(new)) for old, new in zip(parts, targets, strict=True)]
    else:
        items = [item for part in parts for item in _several(part, target)]
    if not items or any(_only_size(item) for item in items):
        return None
    return noted(Reading(tuple(items), carry=carry, cost=0.2 if not by and not carry else 0.0), note)


def _sources(source: Words, target: Words, context: Context) -> list[Words] | None:
    parts = things(source, context)
    if parts is not None and len(parts) == 1 and len(coordinates(target)) > 1:
        loose = coordinates(parts[0], loose=True)
        parts = loose if len(loose) == len(coordinates(target)) else parts
    if parts is None or any(is_vague(part) for part in parts):
        return None
    return parts


def _as_qualities(target: Words, by: str, source: Words, *, of_colour: bool) -> Words | None:
    """The qualities that a target asks for: "green", "a deep red", "a blue one"; None where it is a thing."""
    if are_qualities(target):
        lower = low(target)
        substance = (
            len(target) == 1 and lower[0] in lex.SUBSTANCES and by and not of_colour and low(source)[-1] != "sky"
        )
        return None if substance or by == "instead" else target
    determiner, rest = split_determiner(target)
    lower = low(rest)
    if lower[-1:] in {("one",), ("ones",)} and len(rest) > 1:
        return rest[:-1] if are_qualities(rest[:-1]) or len(rest) == 2 else None
    for word in ("shade", "tone", "hue", "tint"):
        if word in lower and lower[lower.index(word) + 1 : lower.index(word) + 2] == ("of",):
            rest = (*rest[: lower.index(word)], *rest[lower.index(word) + 2 :])
    if len(rest) > 1 and low(rest)[-1] in {"colour", "color", "shade", "tone"}:
        rest = rest[:-1]
    colour = are_qualities(rest) and low(rest)[-1] in lex.COLOURS and low(rest)[-1] not in lex.SUBSTANCES
    return rest if determiner in {"a", "an"} and colour else None


def _is_no_thing(target: Words) -> bool:
    """Whether nothing can become what is wanted: "the colour of the other one", "half its size"."""
    lower = low(target)
    abstract = lex.ABSTRACT | {"colour", "color", "degree", "time"}
    acts = lower[0] in lex.ACTS and len(lower) > 1  # "the sign to say hello"
    return acts or phrase(target).head in abstract or lower[-1] in {"degrees", "size"} or lower[0] in {"half", "most"}


def _noun(words: Words) -> Words:
    """The noun without its qualities: of the ugly kitchen chair that becomes a leather one, "kitchen chair"."""
    head = head_index(words)
    first = next(i for i, word in enumerate(words) if not is_adjective(word) or i == head)
    return words[first : head + 1]


def _only_size(item: Item) -> bool:
    """Whether a thing would only become a larger or smaller one."""
    if item.source is None or item.target is None or item.source.head != item.target.head:
        return False
    changing = set(low(item.source.words)) ^ set(low(item.target.words))
    return (
        bool(changing) and kinds(tuple(changing)) <= REFUSED_QUALITIES and all(is_adjective(word) for word in changing)
    )


def _balanced(source: Words, target: Words) -> Phrase:
    """The source phrase, with an article when the target has one: two prompts should differ in what is asked for
    alone."""
    found, new = phrase(source), phrase(target)
    noun = found.words[head_index(found.words)].casefold()
    bare = split_determiner(source)[0] == "" and not any(is_literal(w) for w in found.words)
    bare = bare and not (found.words[0][:1].isupper() and any(w.endswith("'s") for w in found.words))  # Bean's car
    single = not is_plural(noun) and found.head not in lex.MASS
    return replace(found, countable=True) if bare and new.countable and single and found.count is None else found


def _several(part: Words, target: Words) -> list[Item]:
    """The items of one source phrase: "the two cats" into "a dog and a tiger" (one each) or into "tigers" (each into
    one)."""
    number, one = how_many(part)
    if number == 1:
        return [Item("change", _balanced(one, target), phrase(target))]
    old, each = phrase(one), coordinates(target)
    if len(each) == number:
        return [Item("change", old, phrase(new)) for new in each]
    _, rest = split_determiner(target)
    rest = rest[1:] if len(rest) > 1 and low(rest)[0] in lex.NUMBERS else rest
    if is_plural(rest[head_index(rest)].casefold()):
        _, rest = how_many(("both", *rest))
        target = rest
    return [Item("change", old, phrase(target))] * number


def _into_another(item: Item, target: Phrase) -> Item | None:
    """The item with another target: "make the boat red, then turn it into a canoe" is a red canoe."""
    if item.action == "remove" or item.where != "region":
        return None
    target = Phrase(with_quality(target.words, item.quality), target.countable) if item.quality else target
    return replace(item, target=target, quality=(), look=None)


# --- qualities --------------------------------------------------------------------------------------------------------


def qualified(
    source: Words, qualities: Words, carry: Words, context: Context, *, strict: bool = False
) -> Reading | None:
    """The items of a change of qualities, one for each thing in a list.

    `strict`: no word stands between the things and the qualities, so that a list must be plain ("make the chair ? and
    the table red" is none).
    """
    if kinds(qualities) & REFUSED_QUALITIES:
        return None
    if strict and is_adjective(low(source)[-1]) and not is_adjective(low(qualities)[0]) and len(qualities) > 1:
        return None  # "the evening sky blue" is no evening that is sky blue
    first = low(qualities)[0]
    doubtful = first in lex.NOUNS_TOO | lex.AFTER_SHAPES or not (is_adjective(first) or is_shade(low(qualities), 0))
    if strict and doubtful and not is_pronoun(source) and not is_plain(source):
        return None  # "the fence wrought iron" may be no wrought fence of iron, "the bag polka dotted" no bag polka
    carry = carry or ("make",)
    wanted = without_degree(qualities)
    again = made_before(source, context)
    if again:
        return rewritten(again, context, lambda item: _once_more(item, wanted), carry)
    whole = colour_of(source)
    parts = things(source if whole is None else whole, context)
    if parts is None or any(is_vague(part) for part in parts) or (strict and not all(map(is_plain, parts[:-1]))):
        return None
    items: list[Item] = []
    for part in parts:
        number, one = how_many(part)
        old = phrase(one)
        if "length" in kinds(wanted) and old.head not in lex.HAIRY:
            return None
        new = Phrase(with_quality(_without_clause(_of_itself(old.words), wanted), wanted), old.countable)
        items += [Item("change", old, new, quality=low(wanted))] * number
    note = (*guessed(source, context), *not_the_new_one(source, context))
    if strict and kinds(wanted) == {"colour"} and len(parts) == 1 and not is_plain(parts[0]):
        owner, word = parts[0][-2:]
        if len(parts[0]) == 3 and owner.isalpha() and owner.casefold() not in lex.ORDINALS | lex.POSITIONS:
            note += (f"{f'{owner} {word}'!r} was read as one thing, not {word!r} as a shade",)
    return noted(Reading(tuple(items), carry=carry), note)


def _of_itself(words: Words) -> Words:
    """The words without "other": the other car becomes a green car."""
    return words[1:] if low(words)[0] == "other" and len(words) > 1 else words


def _once_more(item: Item, qualities: Words) -> Item | None:
    """The item whose new thing has the qualities too."""
    if item.target is None or item.action == "remove" or item.where != "region":
        return None
    target = replace(item.target, words=with_quality(item.target.words, qualities))
    note: tuple[str, ...] = ()
    if item.action == "add" and item.anchor is not None:
        note = (f"{' '.join(qualities)!r} was read as said of the {item.target.plain}, not of the {item.anchor.plain}",)
    quality = (*item.quality, *low(qualities)) if item.quality else ()
    return replace(item, target=target, quality=quality, warnings=(*item.warnings, *note))


def is_plain(words: Words) -> bool:
    """Whether a phrase surely ends with its own noun: no word stands before that which may be the noun itself."""
    rest = low(split_determiner(words)[1])
    head = head_index(rest)
    return all(
        is_adjective(word) or is_shade(rest, i) or word.endswith(("'s", "s'")) or word in lex.BEFORE_NOUNS
        for i, word in enumerate(rest[:head])
    )


def _without_clause(words: Words, qualities: Words) -> Words:
    """The words without "which is red" and "in red" when the colour is what changes."""
    lower = low(words)
    for i, word in enumerate(lower):
        said = (
            2 if word in lex.RELATIVES and lower[i + 1 : i + 2] and lower[i + 1] in {"is", "are"} else int(word == "in")
        )
        told = words[i + said :]
        if i and said and are_qualities(told) and kinds(told) & kinds(qualities):
            return words[:i]
    return words


def colour_of(source: Words) -> Words | None:
    """A of "the colour of A", "A's colour", "the A colour"; None when no colour is spoken of."""
    _, rest = split_determiner(source)
    lower = low(rest)
    names = {"colour", "color", "colours", "colors", "material"}
    if lower[:1] and lower[0] in names and lower[1:2] == ("of",) and len(rest) > 2:
        return rest[2:]
    if len(lower) > 1 and lower[-1] in names:
        owner = source[:-1]
        last = owner[-1]
        for ending in ("'s", "'"):
            if last.casefold().endswith(ending):
                return (*owner[:-1], last[: -len(ending)])
        return owner
    return None


def changed_from(source: Words, old: Words, new: Words, carry: Words, context: Context) -> Reading | None:
    """change (the colour of) A from red to green; turn A from one thing into another."""
    whole = colour_of(source) or source
    new = _as_qualities(new, "", whole, of_colour=True) or new  # "to a deep red"
    if are_qualities(old) and are_qualities(new):
        parts = things(whole, context)
        if parts is None or len(parts) != 1:
            return None
        determiner, rest = split_determiner(parts[0])
        source = (determiner or "the", *with_quality(rest, old))
        if kinds(old) <= kinds(new):
            return qualified(source, new, carry, context)
        items = (Item("change", phrase(source), phrase((source[0], *with_quality(rest, new))), quality=low(new)),)
        return Reading(items, carry=carry)  # from hot to iced: what was so is so no more
    modifiers = (
        len(old) == len(new) == 1 and old[0].islower() and new[0].islower() and is_phrase(old) and is_phrase(new)
    )
    if modifiers and is_phrase(source) and is_phrase(("the", old[0], source[-1])):  # the soup from tomato to pumpkin
        determiner, rest = split_determiner(source)
        was, will = (phrase((determiner or "the", *with_quality(rest, one))) for one in (old, new))
        return Reading((Item("change", was, will),), carry=carry)
    if is_phrase(source) and phrase(source).head in lex.TEXTS and is_phrase((*source, *old)):
        return changed((*source, *old), new, carry, context, by="to")  # change the text from SALE to SOLD
    return None


# --- becoming ---------------------------------------------------------------------------------------------------------

_STATES = frozenset({"made", "covered", "full", "surrounded", "filled", "decorated", "wrapped", "dressed"})


def become(source: Words, target: Words, carry: Words, context: Context, *, strict: bool = False) -> Reading | None:
    """A becomes B, where B may be qualities ("red", "frozen") or what it is made of; None for a word that is neither a
    known quality nor, by its article or number, a thing."""
    lower = low(target)
    if not target:
        return None
    if are_qualities(target) or is_colour_of(source, target):
        return qualified(source, target, carry, context, strict=strict)
    if lower == ("on", "fire"):
        return qualified(source, ("burning",), carry, context, strict=strict)
    if len(lower) == 1 and lower[0] in lex.DOING:
        return qualified(source, (lex.DOING[lower[0]],), carry, context, strict=strict)
    if lower[:1] == ("in",) and are_qualities(target[1:]) and kinds(target[1:]) & {"colour", "material", "surface"}:
        return qualified(source, target[1:], carry, context, strict=strict)
    dressed = lower[:1] == ("in",) and phrase(target[1:]).head in lex.CLOTHING if len(target) > 1 else False
    if (lower[0] in _STATES and len(target) > 2) or dressed:
        return _with_more(source, target, carry, context)
    if not is_phrase(target):
        return None
    animals = lower[-1] in lex.ANIMALS and is_phrase(source) and phrase(source).head in lex.ANIMALS
    thing = lower[0] in lex.DETERMINERS or is_plural(lower[-1]) or lower[-1] in lex.MASS or is_name(target) or animals
    return changed(source, target, carry, context) if thing else None


def is_colour_of(source: Words, target: Words) -> bool:
    """Whether a thing can only get the colour that is named: snow that becomes sand does not."""
    grounds = lex.MASS | lex.GROUNDS
    both = low(target)[-1] in grounds and is_phrase(source) and phrase(source).head in grounds
    return are_colours(target) and not both


def _with_more(source: Words, more: Words, carry: Words, context: Context) -> Reading | None:
    """A with words after it: "a cake made of ice", "a man in a suit"."""
    again = made_before(source, context)
    if again:
        return rewritten(again, context, lambda item: extended(item, more), carry)
    parts = things(source, context)
    if parts is None:
        return None
    items = []
    for part in parts:
        old = phrase(part)
        new = replace(old, words=(*old.words, *more), count=None)
        if not is_phrase(new.words):
            return None
        items.append(Item("change", old, new))
    return noted(Reading(tuple(items), carry=carry), guessed(source, context))


def extended(item: Item, more: Words) -> Item | None:
    """The item whose new thing has words after it: "a dog" and ("with", "a", "hat")."""
    if item.target is None or item.action == "remove" or item.where != "region":
        return None
    thing = item.target
    if more[0] == "with" and "with" in thing.words:
        more = ("and", *more[1:])
    target = replace(thing, words=(*thing.words, *more), count=None)
    return replace(item, target=target, quality=())


def is_direction(words: Words) -> bool:
    """Whether the words say where something is, rather than what: "the left", "the camera"."""
    return is_position(words) or (low(words)[-1:] in {("camera",), ("viewer",), ("degrees",)} and len(words) <= 3)


def is_position(words: Words) -> bool:
    """Whether the words are a place in the picture and no thing in it."""
    return all(word in lex.POSITIONS or word in lex.DETERMINERS or word in {"of", "side"} for word in low(words))
