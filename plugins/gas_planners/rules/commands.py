"""Clauses that open with a verb: change, replace, paint, make, remove, add, give and the like."""

from __future__ import annotations

from collections.abc import Callable

from gas_planners.rules import lexicon as lex
from gas_planners.rules.items import (
    Item,
    Reading,
    after_separator,
    become,
    changed,
    changed_from,
    changed_qualities,
    find_separator,
    guessed,
    is_position,
    may_be_quality,
    named,
    noted,
    weather,
)
from gas_planners.rules.noun_phrase import (
    Phrase,
    Words,
    are_qualities,
    coordinates,
    how_many,
    is_adjective,
    is_participle,
    is_phrase,
    is_plural,
    low,
    phrase,
    quality_start,
    split_determiner,
    starts_with,
)


def command(words: Words, before: tuple[Item, ...]) -> Reading | None:
    verb = words[0].casefold()
    if verb == "without":
        return removal(words[1:], ("without",))
    kind = lex.VERBS.get(verb)
    if kind is None:
        return None
    return _COMMANDS[kind](words, before)


def _into(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """change, turn, transform … A into/to B; the colour of A to B; A from C to D; turn A blue."""
    rest, carry = words[1:], words[:1]
    if rest and rest[0].casefold() == "out" and carry[0].casefold() == "edit":
        return removal(rest[1:], ("remove",))
    in_its_place = weather(rest)
    if in_its_place is not None:
        return in_its_place
    at = find_separator(
        rest, "into", "to", *(("with", "for", "by") if carry[0].casefold() in {"change", "alter", "switch"} else ())
    )
    if at is None:
        return made(rest, carry, before)
    source, target = rest[:at], after_separator(rest, at)
    lower = low(source)
    if "from" in lower and rest[at].casefold() in {"to", "into"}:
        begin = lower.index("from")
        old = source[begin + 1 :]
        if old and is_phrase(named(source[:begin], before)):
            return changed_from(named(source[:begin], before), old, target, carry)
    return changed(source, target, carry, before, separator=rest[at].casefold())


def _swap(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """replace A with B, swap A for B, substitute B for A, exchange A and B."""
    rest, carry = words[1:], words[:1]
    if rest and rest[0].casefold() == "out":
        rest = rest[1:]
    verb = carry[0].casefold()
    at = (
        find_separator(rest, "with", "by", "for", "to", "into", "against")
        if verb != "substitute"
        else find_separator(rest, "for", "with", "by")
    )
    if at is None:
        both = coordinates(rest)
        if verb in {"swap", "exchange", "switch"} and len(both) == 2:
            a, b = phrase(both[0]), phrase(both[1])
            if a.head in {"position", "place", "location"}:
                return None
            note = f"read as an exchange: {a.plain} and {b.plain} take each other's place"
            return Reading((Item("change", a, b, warnings=(note,)), Item("change", b, a)), carry=carry)
        return None
    warnings: tuple[str, ...] = ()
    separator = rest[at].casefold()
    if separator in {"with", "by"}:
        at, warnings = _which_with(rest, at)
    source, target = rest[:at], after_separator(rest, at)
    if verb == "substitute" and separator == "for" and target:
        colloquial = source[:1] and source[0].casefold() in lex.DEFINITE and target[0].casefold() in lex.INDEFINITE
        if not colloquial:
            source, target = target, source
            carry = ()
    return noted(changed(source, target, carry, before, separator=separator), warnings)


def _which_with(rest: Words, at: int) -> tuple[int, tuple[str, ...]]:
    """Which of several "with" parts old from new: "replace the man with a hat with a robot", "… with a car with big
    wheels"."""
    lower = low(rest)
    others = [i for i in range(at + 1, len(lower)) if lower[i] == lower[at]]
    if not others:
        return at, ()
    first = split_determiner(rest[at + 1 : others[0]])[1]
    worn = bool(first) and phrase(first).head in {_one(part) for part in lex.PARTS}
    chosen = others[0] if worn else at
    read_as = f"{' '.join(rest[:chosen])} | {' '.join(rest[chosen + 1 :])}"
    return chosen, (f"{lower[at]!r} stands there twice; read as {read_as!r}",)


def _one(word: str) -> str:
    return phrase((word,)).head


def _paint(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """paint, colour, dye … A (in) blue; paint A on B adds."""
    rest, carry = words[1:], words[:1]
    source, colour = _painted(rest)
    if source is None:
        if rest[:1] and rest[0].casefold() in lex.INDEFINITE:
            return addition(rest, carry)
        return None
    return changed_qualities(named(source, before), colour, carry)


def _painted(rest: Words) -> tuple[Words | None, Words]:
    lower = low(rest)
    end = len(rest) - 1 if lower[-1:] in {("colour",), ("color",)} else len(rest)
    begin = end
    while begin > 1 and (
        lower[begin - 1] in lex.PAINT_COLOURS
        or (begin < end and (lower[begin - 1] in lex.SHADES or lower[begin - 1] in {"and", ",", "or"}))
    ):
        begin -= 1
    while begin < end and lower[begin] in {"and", ",", "or"}:
        begin += 1
    colour = rest[begin:end]
    if not colour:
        start = quality_start(rest)
        return (rest[:start], rest[start:]) if start is not None and is_phrase(rest[:start]) else (None, ())
    source = rest[:begin]
    while source and source[-1].casefold() in {"in", "to", "with", "into", "a", "the", "as", "colour", "color", "->"}:
        source = source[:-1]
    if not source or not split_determiner(source)[1]:
        return None, ()
    if begin == len(source) and not is_phrase(source):  # "the light blue": the shade is the noun
        return None, ()
    return source, colour


def _make(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """make A into B, make A (a) B, make A blue, make A look like B, make A disappear, make it snow."""
    rest, carry = words[1:], words[:1]
    found = weather(rest)
    if found is not None:
        return found
    lower = low(rest)
    for i, word in enumerate(lower):
        if i and word in {"look", "appear", "seem", "be", "become", "resemble"}:
            tail = rest[i + 1 :]
            if tail[:1] and tail[0].casefold() in {"like", "as"}:
                tail = tail[1:]
                if len(tail) > 2 and tail[0].casefold() in {"it", "they"} and tail[1].casefold() in {"is", "are"}:
                    tail = tail[2:]
                tail = tail[1:] if low(tail)[:1] in {("it's",), ("they're",)} else tail
            if tail[:1] and tail[0].casefold() == "gone":
                return removal(rest[:i], ("remove",))
            return become(rest[:i], tail, carry, before)
        if i and word in lex.GONE and (i + 1 == len(lower) or lower[i + 1] in {"away", "from"}):
            return removal(rest[:i], ("remove",))
        if i and word in {"wear", "have", "hold", "carry"}:
            return given(rest[:i], rest[i + 1 :], ("give",), before)
        if i and word in {"out", "made"} and lower[i + 1 : i + 2] in {("of",), ("from",), ("out",)}:
            material = rest[i + 3 :] if lower[i + 1 : i + 3] == ("out", "of") else rest[i + 2 :]
            reading = become(rest[:i], ("made", "of", *material), carry, before)
            if reading is not None:
                return reading
    if lower[:4] in {("the", "colour", "of", "the"), ("the", "color", "of", "the")}:
        rest = rest[3:]
    at = find_separator(rest, "into")
    if at is not None:
        return changed(rest[:at], after_separator(rest, at), carry, before, separator="into")
    return made(rest, carry, before)


def made(rest: Words, carry: Words, before: tuple[Item, ...]) -> Reading | None:
    """make/turn A B without a word between: the plate a wooden board, the house blue, the grass snow."""
    lower = low(rest)
    for i in range(1, len(rest)):
        if (
            lower[i] in lex.DETERMINERS
            and lower[i - 1] not in lex.PREPOSITIONS | lex.CONJUNCTIONS | lex.DETERMINERS | lex.QUANTIFIERS
        ):
            source, target = named(rest[:i], before), rest[i:]
            if is_phrase(source) and is_phrase(target) and source[0].casefold() in lex.DETERMINERS | lex.QUANTIFIERS:
                return changed(source, target, carry, before, separator="")
    start = quality_start(rest)
    if start is None and lower and lower[0] in {"it", "them"} and are_qualities(rest[1:]):
        start = 1
    if start is not None:
        return changed_qualities(named(rest[:start], before), rest[start:], carry)
    bare = _bare_target(rest)
    if bare is not None:
        return changed(rest[:bare], rest[bare:], carry, before, separator="")
    guess = len(rest) > 2 and lower[0] in lex.DETERMINERS and may_be_quality(lower[-1])
    if guess and is_phrase(rest[:-1]) and not is_adjective(lower[-2]):
        note = (f"{rest[-1]!r} was read as a quality",)
        return noted(changed_qualities(rest[:-1], rest[-1:], carry), note, cost=0.5)
    return None


def _bare_target(rest: Words) -> int | None:
    """Where a target without article begins: a material or a plural after a phrase that is complete ("the grass
    snow")."""
    lower = low(rest)
    if len(rest) < 3 or lower[0] not in lex.DETERMINERS | lex.QUANTIFIERS:
        return None
    for i in range(2, len(rest)):
        target, source = lower[i:], lower[:i]
        if not is_phrase(rest[:i]) or is_adjective(source[-1]) or len(target) > 2:
            continue
        if len(target) == 2 and not is_adjective(target[0]):
            continue
        if target[-1] in lex.MASS and source[-1] in lex.MASS | lex.GROUNDS:
            return i
        if is_plural(target[-1]) and is_plural(source[-1]):
            return i
        if target[-1] in lex.ANIMALS and source[-1] in lex.ANIMALS:
            return i
    return None


def _let(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """let/have A become B, let there be B, let it snow."""
    rest = words[1:]
    lower = low(rest)
    if lower[:2] == ("there", "be"):
        return addition(rest[2:], ("add",))
    if words[0].casefold() == "have" and lower[:1] and lower[0] in lex.INDEFINITE - {"every", "each"}:
        return addition(rest, ("add",))
    return (done(rest, before) or _make(("make", *rest), before)) if rest else None


def done(rest: Words, before: tuple[Item, ...]) -> Reading | None:
    """have/want A replaced by B: the command that the participle stands for."""
    for i, word in enumerate(low(rest)):
        if i and word in lex.PARTICIPLES and is_phrase(rest[:i]):
            reading = command((lex.PARTICIPLES[word], *rest[:i], *rest[i + 1 :]), before)
            if reading is not None:
                return reading
    return None


def _get(words: Words, before: tuple[Item, ...]) -> Reading | None:
    if starts_with(words, ("get", "rid", "of")):
        return removal(words[3:], ("remove",))
    return done(words[1:], before) or _take(words, before)


def _take(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """take away A, take A away, take A off B, cut out A, clear away A, edit out A."""
    rest = words[1:]
    lower = low(rest)
    if words[0].casefold() == "throw" and "in" in (lower[:1] + lower[-1:]):
        return _add(words, before)
    if lower[:1] and lower[0] in {"away", "out", "off", "up"}:
        rest = rest[1:]
        if low(rest)[:1] == ("of",):
            return None
        return removal(rest, ("remove",))
    if lower[-1:] and lower[-1] in {"away", "out", "off"}:
        return removal(rest[:-1], ("remove",))
    for i, word in enumerate(lower):
        if i and word in {"off", "away", "out"}:
            after = rest[i + 1 :]
            if after[:1] and after[0].casefold() in {"from", "of"}:
                after = after[1:]
            return removal((*rest[:i], *(("from", *after) if after else ())), ("remove",))
    return None


def _remove(words: Words, before: tuple[Item, ...]) -> Reading | None:
    return removal(words[1:], ("remove",), before)


def removal(rest: Words, carry: Words, before: tuple[Item, ...] = ()) -> Reading | None:
    """remove A (from B), and lists of A."""
    lower = low(rest)
    anchor = None
    at = next((i for i, word in enumerate(lower) if i and word in {"from", "off"}), None)
    if at is not None and not is_position(rest[at + 1 :]):
        place = rest[at + 1 :]
        if place[:1] and place[0].casefold() == "of":
            place = place[1:]
        if is_phrase(place) and is_phrase(rest[:at]):
            rest = rest[:at]
            if place[-1].casefold() not in lex.PICTURE:
                anchor = phrase(place)
    items: list[Item] = []
    for part in (named(each, before) for each in coordinates(rest)):
        if not is_phrase(part):
            return None
        number, one = how_many(part)
        items += [Item("remove", source=phrase(one), anchor=anchor)] * number
    return Reading(tuple(items), carry=carry) if items else None


def _add(words: Words, before: tuple[Item, ...]) -> Reading | None:
    rest = words[1:]
    lower = low(rest)
    if words[0].casefold() in {"bring", "throw"}:
        rest = rest[1:] if lower[:1] == ("in",) else rest[:-1] if lower[-1:] == ("in",) else rest
        lower = low(rest)
    if not rest:
        return None
    if lower[-2:] == ("on", "fire") and lower[0] in lex.DEFINITE:
        return become(rest[:-2], ("burning",), words[:1], before)
    known = words[0].casefold() in {"put", "place", "hang", "stick", "set", "lay", "position", "attach", "draw"}
    reading = addition(rest, words[:1] if known or words[0].casefold() == "add" else ("add",))
    if known and lower[0] in {"the", "this", "that"}:
        return noted(reading, (f"{' '.join(rest)!r} was read as a new thing: nothing can be moved",), cost=0.5)
    return reading


def addition(rest: Words, carry: Words, before: tuple[Item, ...] = ()) -> Reading | None:
    """add B (to/on/next to A): the anchor is a thing in the picture; "in a suit" and "on a branch" belong to B."""
    if low(rest)[:1] == ("to",) or not rest:
        return None
    warnings: tuple[str, ...] = ()
    target, place, where = _placed(rest)
    if not is_phrase(target):
        return None
    if is_participle(low(target)[-1]) and len(target) > 1 and where:  # "a dog lying on the floor"
        target = rest
    anchors: list[Phrase | None] = [None]
    if where and (is_position(where) or low(where) in {(word,) for word in lex.PRONOUNS | {"me", "you"}}):
        warnings += (
            f"where {' '.join((*place, *where))!r} is has to be shown: give a box for {phrase(target).plain!r}",
        )
    elif where:
        where = _one_place(named(where, before))
        if not is_phrase(where):
            return None
        anchors = [phrase(part) for part in coordinates(where)] if place != ("between",) else [phrase(where)]
    items = [
        Item("add", target=phrase(part), anchor=anchor, place=" ".join(place) if anchor else "", warnings=warnings)
        for part in coordinates(target)
        for anchor in anchors
    ]
    return Reading(tuple(items), carry=carry)


def _one_place(where: Words) -> Words:
    """ "the roof and on the trees" without the second "on"."""
    lower = low(where)
    second = [i for i in range(1, len(lower)) if lower[i - 1] == "and" and lower[i] in lex.PREPOSITIONS]
    return tuple(word for i, word in enumerate(where) if i not in second)


def _placed(rest: Words) -> tuple[Words, Words, Words]:
    """(new thing, place words, anchor words); the last two may be empty."""
    lower = low(rest)
    found: list[tuple[int, Words]] = []
    i = 1
    while i < len(rest) - 1:
        for place in lex.PLACES:
            if lower[i : i + len(place)] == place and i + len(place) < len(rest):
                found.append((i, place))
                i += len(place) - 1
                break
        i += 1
    found = [
        (i, place) for i, place in found if rest[i + len(place)].casefold() not in lex.INDEFINITE or place == ("to",)
    ]
    if not found:
        return rest, (), ()
    to = [pair for pair in found if pair[1] == ("to",)]
    at, place = (to or found)[0]
    return rest[:at], place, rest[at + len(place) :]


def _give(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """give A B, give B to A, give A a bright yellow colour."""
    rest, carry = words[1:], words[:1]
    lower = low(rest)
    if lower[:1] == ("it",):
        sky = weather(rest)
        if sky is not None:
            return sky
    at = find_separator(rest, "to")
    if at is not None and is_phrase(rest[:at]) and is_phrase(rest[at + 1 :]):
        return addition(rest, ("add",))
    for i in range(1, len(rest)):
        starts = lower[i] in lex.INDEFINITE or lower[i] in lex.NUMBERS
        after_pronoun = i == 1 and lower[0] in lex.PEOPLE_PRONOUNS | {"it", "them"}
        if starts and (after_pronoun or lower[i - 1] not in lex.PREPOSITIONS | lex.CONJUNCTIONS | lex.DETERMINERS):
            return given(rest[:i], rest[i:], carry, before)
    for i in range(len(rest) - 1, 0, -1):  # "give the man glasses"
        bare = rest[i:]
        if (is_plural(lower[-1]) or lower[-1] in lex.MASS) and all(is_adjective(word) for word in bare[:-1]):
            owner = rest[:i]
            somebody = low(owner) in {("her",), ("him",), ("it",)}
            complete = is_phrase(owner) and not is_adjective(owner[-1]) and low(owner)[0] in lex.DETERMINERS
            if somebody or complete:
                return given(owner, bare, carry, before)
    return None


def given(owner: Words, thing: Words, carry: Words, before: tuple[Item, ...]) -> Reading | None:
    if not owner or not is_phrase(thing):
        return None
    _, rest = split_determiner(thing)
    if rest[-1].casefold() in {"colour", "color", "shade", "tone", "paint"} and are_qualities(rest[:-1]):
        return changed_qualities(named(owner, before), rest[:-1], carry)
    anchors: list[Phrase | None] = []
    owners = named(owner, before)
    warnings = guessed(owner, before)
    if len(owner) == 1 and low(owner)[0] in {"it", "them", "me", "us"} and owners == owner:
        anchors = [None]
        warnings = (f"who {owner[0]!r} is has to be shown: give a box for {phrase(thing).plain!r}",)
    elif is_phrase(owners):
        anchors = [phrase(part) for part in coordinates(owners)]
    else:
        return None
    items = tuple(
        Item("add", target=phrase(part), anchor=a, place="to" if a else "", warnings=warnings)
        for part in coordinates(thing)
        for a in anchors
    )
    return Reading(items, carry=carry)


def _fill(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """fill A with B, decorate A with B, dress A in B: B is added to A."""
    verb = words[0].casefold()
    at = find_separator(words[1:], "with", *(("in",) if verb == "dress" else ()))
    if at is None:
        return None
    place, thing = named(words[1 : at + 1], before), words[at + 2 :]
    if not is_phrase(place) or not is_phrase(thing):
        return None
    where = {"fill": "in", "surround": "around"}.get(verb, "to")
    items = tuple(Item("add", target=phrase(part), anchor=phrase(place), place=where) for part in coordinates(thing))
    return Reading(items, carry=words[:1])


def _cover(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """cover A with B: A becomes A covered with B."""
    rest = words[1:]
    at = find_separator(rest, "with", "in", "by")
    if at is None:
        return None
    source, cover = named(rest[:at], before), rest[at + 1 :]
    if not is_phrase(source) or not is_phrase(cover):
        return None
    return changed(source, (*source, "covered", rest[at].casefold(), *cover), words[:1], before, separator="")


def _keep(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """keep B, leave B as it is: nothing to do, since nothing outside the regions changes."""
    rest = low(words[1:])
    if words[0].casefold() == "leave" and not any(
        word in {"as", "alone", "unchanged", "untouched", "same", "is", "intact"} for word in rest
    ):
        return None
    return Reading(()) if rest else None


_COMMANDS: dict[str, Callable[[Words, tuple[Item, ...]], Reading | None]] = {
    "into": _into, "swap": _swap, "paint": _paint, "make": _make, "let": _let, "get": _get, "take": _take,
    "remove": _remove,
    "add": _add, "give": _give, "fill": _fill, "cover": _cover, "keep": _keep,
}  # fmt: skip
