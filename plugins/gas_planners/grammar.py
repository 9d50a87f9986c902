"""Requests in words → what is to be changed, added and removed. No model, no backtracking without bound.

A sentence is cut at commas and conjunctions, and the cut is chosen that reads best as clauses: each clause opens with a verb
("change the dog into a tiger"), goes on with the verb of the one before ("the grass into snow"), or has one of a few forms
without a command ("dog -> cat", "the car should be red", "no clouds").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from gas.errors import PlanUnreadable
from gas_planners import lexicon as lex
from gas_planners.noun_phrase import (
    Phrase,
    Words,
    are_qualities,
    coordinates,
    head_index,
    how_many,
    is_adjective,
    is_phrase,
    is_plural,
    low,
    phrase,
    quality_start,
    split_determiner,
    starts_with,
    with_quality,
)
from gas_planners.tokens import merged, pieces, sentences

MAX_CHARACTERS = 4000
MAX_PIECES = 80
MAX_MERGED = 6
EXAMPLES = 'write it like "change the dog into a cat", "make the car blue", "remove the lamp" or "add a hat to the man"'


@dataclass(frozen=True)
class Item:
    """One thing asked for. `place` is the preposition of an addition's anchor; `quality` says that only qualities change."""

    action: str
    source: Phrase | None = None
    target: Phrase | None = None
    anchor: Phrase | None = None
    place: str = ""
    quality: Words = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What a clause means: its items, how doubtful it is, and the words that a next clause without a verb goes on with.

    `instead` is how many of the items before it takes the place of ("remove the dog and put a cat in its place").
    """

    items: tuple[Item, ...]
    cost: float = 0.0
    carry: Words = ()
    instead: int = 0


@dataclass
class _State:
    """The best reading so far up to one piece."""

    total: float
    items: tuple[Item, ...] = ()
    carry: Words = ()
    before: Words = field(default=())


def read(text: str) -> list[Item]:
    """The items of a request in the order asked. PlanUnreadable names the part that cannot be read."""
    if len(text) > MAX_CHARACTERS:
        raise PlanUnreadable(
            f"the request is {len(text)} characters long; the rules planner reads {MAX_CHARACTERS}",
            "ask for less at once",
        )
    state = _State(0.0)
    for sentence in sentences(text):
        state = _read_sentence(sentence, state)
    if not state.items:
        shown = " ".join(text.split())[:80]
        raise PlanUnreadable(f"nothing to change, add or remove was found in {shown!r}", EXAMPLES)
    return list(state.items)


def _read_sentence(sentence: Words, start: _State) -> _State:
    parts = pieces(sentence)
    if len(parts) > MAX_PIECES:
        raise PlanUnreadable(
            f"a sentence with {len(parts)} parts; the rules planner reads {MAX_PIECES}", "ask for less at once"
        )
    best: list[dict[Words, _State]] = [{} for _ in range(len(parts) + 1)]
    best[0][start.carry] = replace_total(start)
    for i in range(len(parts)):
        for state in best[i].values():
            for j in range(i + 1, min(i + MAX_MERGED, len(parts)) + 1):
                words = merged(parts[i:j])
                for reading in _readings(words, state):
                    cost = state.total + reading.cost - (1.0 if reading.items else 0.0)
                    new = _State(cost, state.items[: len(state.items) - reading.instead] + reading.items, reading.carry or state.carry, words)
                    known = best[j].get(new.carry)
                    if known is None or new.total < known.total:
                        best[j][new.carry] = new
    if not best[-1]:
        reached = max(i for i in range(len(parts)) if best[i])
        part = " ".join(merged(parts[reached:]))
        part = part if len(part) <= 80 else f"{part[:77]}..."
        raise PlanUnreadable(f"the rules planner cannot read {part!r}{_reason(low(parts[reached].words))}", EXAMPLES)
    return min(best[-1].values(), key=lambda state: state.total)


def replace_total(state: _State) -> _State:
    """The state as the start of another sentence."""
    return _State(0.0, state.items, state.carry, state.before)


def _reason(lower: Words) -> str:
    lower = low(_without_openers(lower))
    if lower and lower[0] in lex.OTHER_VERBS and lower[0] not in lex.VERBS:
        return f" ({lower[0]!r} is none of change, add and remove)"
    if lower and lower[0] in lex.VERBS:
        kind = lex.VERBS[lower[0]]
        if any(word in lex.PRONOUNS for word in lower[1:2]):
            return f" (name what {lower[1]!r} is)"
        if kind in {"into", "swap", "make", "paint"}:
            return " (into what?)" if len(lower) > 1 else " (what, and into what?)"
        if len(lower) == 1:
            return " (what?)"
    return ""


def _readings(words: Words, state: _State) -> Iterable[Reading]:
    """The readings of a clause: with its own words, and as going on with the verb of the clause before."""
    words = _without_openers(words)
    words = _without_closers(words)
    if not words or all(word in lex.LABELS for word in low(words)):
        yield Reading(())
        return
    own = _read_clause(words, state.items)
    if own is not None:
        yield own
    if state.carry and low(words)[0] not in lex.VERBS:
        more = _read_clause((*state.carry, *words), state.items)
        if more is not None and more.items:
            yield replace(more, cost=more.cost + 0.3 + _strangeness(words, state), carry=state.carry)


def _strangeness(words: Words, state: _State) -> float:
    """How unlikely it is that a piece is a clause of its own: "a beard" after "add a man with a hat" is not."""
    lower, before = low(words), low(state.before)
    carried = lex.VERBS.get(state.carry[0].casefold(), "") if state.carry else ""
    if lower[0] in {"its", "his", "her", "their"} and any(word in lex.CONJUNCTIONS for word in lower):
        return 2.0
    if carried not in {"add", "remove", "give"}:
        return 0.0
    if lower[0] in {"its", "his", "her", "their"} and carried != "give":
        return 2.0
    if carried == "add" and lower[0] in lex.DEFINITE:
        return 2.0
    attached = max(
        (i for i, word in enumerate(before) if word in {"with", "wearing", "holding", "of", "between"}), default=None
    )
    if attached is not None and attached + 1 < len(before) and not any(w in {"on", "in", "to", "next"} for w in lower):
        if before[attached] == "between":
            return 2.0
        if before[attached + 1] in lex.INDEFINITE and lower[0] in lex.INDEFINITE:
            return 2.0
    if before and is_adjective(before[-1]):
        return 2.0
    if before and lower[0] not in lex.DETERMINERS and frozenset((before[-1], lower[0])) in lex.PAIRS:
        return 2.0
    return 0.0


def _without_openers(words: Words) -> Words:
    """The words without "please", "could you", "first," and the like before them."""
    while words:
        lower = low(words)
        for opener in lex.OPENERS:
            if lower[: len(opener)] == opener:
                words = words[len(opener) :]
                break
        else:
            if lower[0] == "first" and (len(words) == 1 or lower[1] in lex.VERBS or lower[1] == ","):
                words = words[1:]
            elif lower[0] == ",":
                words = words[1:]
            else:
                return words
    return words


def _without_closers(words: Words) -> Words:
    while words:
        lower = low(words)
        for closer in lex.CLOSERS:
            if lower[-len(closer) :] == closer and not (
                len(words) > len(closer) and lower[-len(closer) - 1] in {"the", "a"}
            ):
                words = words[: -len(closer)]
                break
        else:
            return words[:-1] if lower[-1] == "," else words
    return words


# --- clauses ----------------------------------------------------------------------------------------------------------


def _read_clause(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """The meaning of one clause without openers, or None. `before` are the items read so far, for "it"."""
    lower = low(words)
    words = (lex.GERUNDS[lower[0]], *words[1:]) if lower[0] in lex.GERUNDS else words
    for form in (_negative, _instead, _wish, _arrow, _command, _statement):
        reading = form(words, before)
        if reading is not None:
            return reading
    return None


def _command(words: Words, before: tuple[Item, ...]) -> Reading | None:
    verb = words[0].casefold()
    if verb == "without":
        return _removal(words[1:], ("without",))
    kind = lex.VERBS.get(verb)
    if kind is None:
        return None
    return _COMMANDS[kind](words, before)


def _into(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """change, turn, transform … A into/to B; the colour of A to B; A from C to D; turn A blue."""
    rest, carry = words[1:], words[:1]
    if rest and rest[0].casefold() == "out" and carry[0].casefold() == "edit":
        return _removal(rest[1:], ("remove",))
    in_its_place = _weather(rest)
    if in_its_place is not None:
        return in_its_place
    at = _separator(
        rest, "into", "to", *(("with", "for", "by") if carry[0].casefold() in {"change", "alter", "switch"} else ())
    )
    if at is None:
        return _make_plain(rest, carry, before)
    source, target = rest[:at], _after_separator(rest, at)
    lower = low(source)
    if "from" in lower and rest[at].casefold() in {"to", "into"}:
        begin = lower.index("from")
        old = source[begin + 1 :]
        if old and is_phrase(_named(source[:begin], before)):
            return _from_to(_named(source[:begin], before), old, target, carry)
    return _changed(source, target, carry, before, separator=rest[at].casefold())


def _swap(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """replace A with B, swap A for B, substitute B for A, exchange A and B."""
    rest, carry = words[1:], words[:1]
    if rest and rest[0].casefold() == "out":
        rest = rest[1:]
    verb = carry[0].casefold()
    at = (
        _separator(rest, "with", "by", "for", "to", "into", "against")
        if verb != "substitute"
        else _separator(rest, "for", "with", "by")
    )
    if at is None:
        both = coordinates(rest)
        if verb in {"swap", "exchange", "switch"} and len(both) == 2:
            a, b = phrase(both[0]), phrase(both[1])
            note = f"read as an exchange: {a.plain} and {b.plain} take each other's place"
            return Reading((Item("change", a, b, warnings=(note,)), Item("change", b, a)), carry=carry)
        return None
    warnings: tuple[str, ...] = ()
    separator = rest[at].casefold()
    if separator in {"with", "by"}:
        at, warnings = _which_with(rest, at)
    source, target = rest[:at], _after_separator(rest, at)
    if verb == "substitute" and separator == "for" and target:
        colloquial = source[:1] and source[0].casefold() in lex.DEFINITE and target[0].casefold() in lex.INDEFINITE
        if not colloquial:
            source, target = target, source
            carry = ()
    return _noted(_changed(source, target, carry, before, separator=separator), warnings)


def _which_with(rest: Words, at: int) -> tuple[int, tuple[str, ...]]:
    """Which of several "with" parts old from new: "replace the man with a hat with a robot", "… with a car with big wheels"."""
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
            return _addition(rest, carry)
        return None
    return _with_qualities(_named(source, before), colour, carry)


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
    weather = _weather(rest)
    if weather is not None:
        return weather
    lower = low(rest)
    for i, word in enumerate(lower):
        if i and word in {"look", "appear", "seem", "be", "become", "resemble"}:
            tail = rest[i + 1 :]
            if tail[:1] and tail[0].casefold() in {"like", "as"}:
                tail = tail[1:]
                if len(tail) > 2 and tail[0].casefold() in {"it", "they"} and tail[1].casefold() in {"is", "are"}:
                    tail = tail[2:]
            if tail[:1] and tail[0].casefold() == "gone":
                return _removal(rest[:i], ("remove",))
            return _become(rest[:i], tail, carry, before)
        if i and word in lex.GONE and (i + 1 == len(lower) or lower[i + 1] in {"away", "from"}):
            return _removal(rest[:i], ("remove",))
        if i and word in {"wear", "have", "hold", "carry"}:
            return _given(rest[:i], rest[i + 1 :], ("give",), before)
        if i and word == "out" and lower[i + 1 : i + 2] == ("of",) or i and word == "from" and lower[i - 1] == "made":
            return _become(rest[:i], ("made", "of", *rest[i + 2 :]), carry, before)
    if lower[:4] in {("the", "colour", "of", "the"), ("the", "color", "of", "the")}:
        rest = rest[3:]
    at = _separator(rest, "into")
    if at is not None:
        return _changed(rest[:at], _after_separator(rest, at), carry, before, separator="into")
    return _make_plain(rest, carry, before)


def _make_plain(rest: Words, carry: Words, before: tuple[Item, ...]) -> Reading | None:
    """make/turn A B without a word between: the plate a wooden board, the house blue, the grass snow."""
    lower = low(rest)
    for i in range(1, len(rest)):
        if (
            lower[i] in lex.DETERMINERS
            and lower[i - 1] not in lex.PREPOSITIONS | lex.CONJUNCTIONS | lex.DETERMINERS | lex.QUANTIFIERS
        ):
            source, target = _named(rest[:i], before), rest[i:]
            if is_phrase(source) and is_phrase(target) and source[0].casefold() in lex.DETERMINERS | lex.QUANTIFIERS:
                return _changed(source, target, carry, before, separator="")
    start = quality_start(rest)
    if start is None and lower and lower[0] in {"it", "them"} and are_qualities(rest[1:]):
        start = 1
    if start is not None:
        return _with_qualities(_named(rest[:start], before), rest[start:], carry)
    bare = _bare_target(rest)
    if bare is not None:
        return _changed(rest[:bare], rest[bare:], carry, before, separator="")
    if len(rest) > 2 and lower[0] in lex.DETERMINERS and _may_be_quality(lower[-1]) and is_phrase(rest[:-1]):
        if not is_adjective(lower[-2]):
            return _noted(
                _with_qualities(rest[:-1], rest[-1:], carry), (f"{rest[-1]!r} was read as a quality",), cost=0.5
            )
    return None


def _bare_target(rest: Words) -> int | None:
    """Where a target without article begins: a material or a plural after a phrase that is complete ("the grass snow")."""
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


def _may_be_quality(word: str) -> bool:
    return len(word) > 4 and word.endswith(lex.ADJECTIVE_ENDINGS) and not is_plural(word)


def _let(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """let/have A become B, let there be B, let it snow."""
    rest = words[1:]
    lower = low(rest)
    if lower[:2] == ("there", "be"):
        return _addition(rest[2:], ("add",))
    return _make(("make", *rest), before) if rest else None


def _get(words: Words, before: tuple[Item, ...]) -> Reading | None:
    if starts_with(words, ("get", "rid", "of")):
        return _removal(words[3:], ("remove",))
    return None


def _take(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """take away A, take A away, take A off B, cut out A, clear away A, edit out A."""
    rest = words[1:]
    lower = low(rest)
    if lower[:1] and lower[0] in {"away", "out", "off", "up"}:
        rest = rest[1:]
        if low(rest)[:1] == ("of",):
            return None
        return _removal(rest, ("remove",))
    if lower[-1:] and lower[-1] in {"away", "out", "off"}:
        return _removal(rest[:-1], ("remove",))
    for i, word in enumerate(lower):
        if i and word in {"off", "away", "out"}:
            after = rest[i + 1 :]
            if after[:1] and after[0].casefold() in {"from", "of"}:
                after = after[1:]
            return _removal((*rest[:i], *(("from", *after) if after else ())), ("remove",))
    return None


def _remove(words: Words, before: tuple[Item, ...]) -> Reading | None:
    return _removal(words[1:], ("remove",))


def _removal(rest: Words, carry: Words) -> Reading | None:
    """remove A (from B), and lists of A."""
    lower = low(rest)
    anchor = None
    at = next((i for i, word in enumerate(lower) if i and word in {"from", "off"}), None)
    if at is not None:
        place = rest[at + 1 :]
        if place[:1] and place[0].casefold() == "of":
            place = place[1:]
        if is_phrase(place) and is_phrase(rest[:at]):
            rest = rest[:at]
            if not _is_position(place) and place[-1].casefold() not in lex.PICTURE:
                anchor = phrase(place)
    items: list[Item] = []
    for part in coordinates(rest):
        if not is_phrase(part):
            return None
        number, one = how_many(part)
        items += [Item("remove", source=phrase(one), anchor=anchor)] * number
    return Reading(tuple(items), carry=carry) if items else None


def _is_position(words: Words) -> bool:
    return all(word in lex.POSITIONS or word in lex.DETERMINERS or word in {"of", "side"} for word in low(words))


def _add(words: Words, before: tuple[Item, ...]) -> Reading | None:
    rest = words[1:]
    lower = low(rest)
    if lower[:2] == ("back", "in") or not rest:
        return None
    return _addition(rest, words[:1] if words[0].casefold() in {"add", "put", "place"} else ("add",))


def _addition(rest: Words, carry: Words) -> Reading | None:
    """add B (to/on/next to A): the anchor is a thing in the picture; "in a suit" and "on a branch" belong to B."""
    if low(rest)[:1] == ("to",) or not rest:
        return None
    warnings: tuple[str, ...] = ()
    target, place, where = _placed(rest)
    if not is_phrase(target):
        return None
    if carry[0].casefold() in {"put", "place"} and target[0].casefold() in {"the", "this", "that"}:
        warnings = (f"{' '.join(target)!r} was read as a new thing: nothing can be moved",)
    anchors: list[Phrase | None] = [None]
    if where and (_is_position(where) or where[0].casefold() in lex.PRONOUNS | lex.PEOPLE_PRONOUNS | {"me", "you"}):
        warnings += (
            f"where {' '.join((*place, *where))!r} is has to be shown: give a box for {phrase(target).plain!r}",
        )
    elif where:
        if not is_phrase(where):
            return None
        anchors = [phrase(part) for part in coordinates(where)] if place != ("between",) else [phrase(where)]
    items = [
        Item("add", target=phrase(part), anchor=anchor, place=" ".join(place) if anchor else "", warnings=warnings)
        for part in coordinates(target)
        for anchor in anchors
    ]
    return Reading(tuple(items), carry=carry)


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
        sky = _weather(rest)
        if sky is not None:
            return sky
    at = _separator(rest, "to")
    if at is not None and is_phrase(rest[:at]) and is_phrase(rest[at + 1 :]):
        return _addition(rest, ("add",))
    for i in range(1, len(rest)):
        starts = lower[i] in lex.INDEFINITE or lower[i] in lex.NUMBERS
        owner = i == 1 and lower[0] in lex.PEOPLE_PRONOUNS | {"it", "them"}
        if starts and (owner or lower[i - 1] not in lex.PREPOSITIONS | lex.CONJUNCTIONS | lex.DETERMINERS):
            return _given(rest[:i], rest[i:], carry, before)
    for i in range(len(rest) - 1, 0, -1):  # "give the man glasses"
        bare = rest[i:]
        if (is_plural(lower[-1]) or lower[-1] in lex.MASS) and all(is_adjective(word) for word in bare[:-1]):
            owner = rest[:i]
            if (is_phrase(owner) and not is_adjective(owner[-1]) and owner[0].casefold() in lex.DETERMINERS) or low(
                owner
            ) in {("her",), ("him",), ("it",)}:
                return _given(owner, bare, carry, before)
    return None


def _given(owner: Words, thing: Words, carry: Words, before: tuple[Item, ...]) -> Reading | None:
    if not owner or not is_phrase(thing):
        return None
    _, rest = split_determiner(thing)
    if rest[-1].casefold() in {"colour", "color", "shade", "tone", "paint"} and are_qualities(rest[:-1]):
        return _with_qualities(_named(owner, before), rest[:-1], carry)
    warnings: tuple[str, ...] = ()
    anchors: list[Phrase | None] = []
    named = _named(owner, before)
    if len(owner) == 1 and low(owner)[0] in lex.PEOPLE_PRONOUNS | {"it", "them", "me", "us"} and named == owner:
        anchors = [None]
        warnings = (f"who {owner[0]!r} is has to be shown: give a box for {phrase(thing).plain!r}",)
    elif is_phrase(named):
        anchors = [phrase(part) for part in coordinates(named)]
    else:
        return None
    items = tuple(
        Item("add", target=phrase(part), anchor=a, place="to" if a else "", warnings=warnings)
        for part in coordinates(thing)
        for a in anchors
    )
    return Reading(items, carry=carry)


def _fill(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """fill A with B adds B to A."""
    at = _separator(words[1:], "with")
    if at is None:
        return None
    place, thing = words[1 : at + 1], words[at + 2 :]
    if not is_phrase(place) or not is_phrase(thing):
        return None
    return Reading((Item("add", target=phrase(thing), anchor=phrase(place), place="in"),), carry=words[:1])


def _cover(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """cover A with B: A becomes A covered with B."""
    rest = words[1:]
    at = _separator(rest, "with", "in", "by")
    if at is None:
        return None
    source, cover = _named(rest[:at], before), rest[at + 1 :]
    if not is_phrase(source) or not is_phrase(cover):
        return None
    return _changed(
        source, (*source, "covered", rest[at].casefold(), *cover), words[:1], before, separator="", weak=True
    )


def _keep(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """keep B, leave B as it is: nothing to do, since nothing outside the regions changes."""
    rest = low(words[1:])
    if words[0].casefold() == "leave" and not any(
        word in {"as", "alone", "unchanged", "untouched", "same", "is", "intact"} for word in rest
    ):
        return None
    return Reading(()) if rest else None


def _wear(words: Words, before: tuple[Item, ...]) -> Reading | None:
    return None


_COMMANDS: dict[str, Callable[[Words, tuple[Item, ...]], Reading | None]] = {
    "into": _into, "swap": _swap, "paint": _paint, "make": _make, "let": _let, "get": _get, "take": _take, "remove": _remove,
    "add": _add, "give": _give, "fill": _fill, "cover": _cover, "keep": _keep, "wear": _wear,
}  # fmt: skip


# --- forms without a command ------------------------------------------------------------------------------------------


def _negative(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """no A, I don't want A, there should be no A; "don't change the rest" asks for nothing."""
    lower = low(words)
    if lower[:1] in {("no",), ("without",)} and len(words) > 1:
        rest = words[1:]
        rest = rest[1:] if low(rest)[:1] == ("more",) else rest
        return _removal(rest, lower[:1])
    for start in (("there", "should", "be", "no"), ("there", "must", "be", "no"), ("let", "there", "be", "no")):
        if lower[: len(start)] == start:
            return _removal(words[len(start) :], ("remove",))
    for i, word in enumerate(lower[:3]):
        negated = word in {"don't", "dont", "doesn't"} or (word == "not" and i and lower[i - 1] == "do")
        if negated:
            rest = words[i + 1 :]
            if rest[:1] and low(rest)[0] in {"want", "need", "like", "show", "include", "have"}:
                rest = rest[3:] if low(rest)[1:3] == ("to", "see") else rest[1:]
                return _removal(rest, ("remove",))
            if rest[:1] and low(rest)[0] in {"change", "touch", "alter", "modify", "edit", "affect"}:
                return Reading(())
            return None
    if lower[:1] in {("nothing",), ("everything",)} and "else" in lower[:2]:
        return Reading(())
    return None


def _instead(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """instead of A, (show) B; (put) B instead of A; (put) B in place of A; remove A and put B in its place."""
    lower = low(words)
    own_place = lower[-3:-2] == ("in",) and lower[-2] in lex.POSSESSIVE and lower[-1] in {"place", "stead"}
    if before and before[-1].action == "remove" and (own_place or lower[-1:] in {("instead",), ("there",)}):
        target = _thing_wanted(words[: -3 if own_place else -1])
        gone = before[-1].source
        if gone is not None and is_phrase(target):
            return Reading((Item("change", gone, phrase(target)),), instead=1)
    for marker in (("instead", "of"), ("in", "place", "of"), ("rather", "than")):
        for i in range(len(lower) - len(marker)):
            if lower[i : i + len(marker)] != marker:
                continue
            first, second = words[:i], words[i + len(marker) :]
            if i == 0:
                if "," not in second:
                    return None
                comma = second.index(",")
                source, target = second[:comma], _thing_wanted(second[comma + 1 :])
            else:
                source, target = second, _thing_wanted(first)
            return _changed(source, target, (), before, separator="instead", weak=False)
    return None


def _thing_wanted(words: Words) -> Words:
    """ "a cat" of "I want to see a cat" and of "put a cat"."""
    words = _without_openers(words)
    wish = _after_wish(words)
    words = words if wish is None else wish
    if words and words[0].casefold() in lex.VERBS and lex.VERBS[words[0].casefold()] in {"add", "let", "give"}:
        words = words[1:]
    return words[1:] if words[:1] == (",",) else words


def _after_wish(words: Words) -> Words | None:
    """The words after "I want", "I'd like", "my boss wants"; None where nobody wishes."""
    lower = low(words)
    for i, word in enumerate(lower[:4]):
        if (
            word in lex.WISHES
            and i
            and (lower[0] in lex.NOT_IN_PHRASES or lower[0] in {"i'd", "we'd", "he'd", "she'd"} or is_phrase(words[:i]))
        ):
            rest = words[i + 1 :]
            return rest[2:] if low(rest)[:2] == ("to", "see") else rest[2:] if low(rest)[:2] == ("to", "have") else rest
    return None


def _wish(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """I want A to be B, I want A gone, I want B on A, my boss wants A to be red."""
    rest = _after_wish(words)
    if not rest:
        return None
    lower = low(rest)
    if lower[0] == "you" and lower[1:2] == ("to",):
        return _read_clause(rest[2:], before) if len(rest) > 2 else None
    if lower[0] == "to":
        return _read_clause(rest[1:], before) if len(rest) > 1 else None
    if lower[-1] in lex.GONE:
        end = -3 if lower[-3:-1] == ("to", "be") else -2 if lower[-2] in {"to", "be"} else -1
        return _removal(rest[:end], ("remove",))
    for i, word in enumerate(lower):
        if i and word == "to" and lower[i + 1 : i + 2] and lower[i + 1] in lex.BECOME | {"look"}:
            tail = rest[i + 2 :]
            tail = tail[1:] if low(tail)[:1] in {("like",), ("into",)} else tail
            return _become(rest[:i], tail, (), before)
        if i and word == "to" and lower[i + 1 : i + 2] and lower[i + 1] in {"wear", "have", "hold", "carry"}:
            return _given(rest[:i], rest[i + 2 :], (), before)
    if lower[0] in {"it", "everything"}:
        return _weather(rest)
    if lower[0] in lex.DEFINITE and quality_start(rest) is not None:
        return _make_plain(rest, ("make",), before)
    return _addition(rest, ("add",)) if rest else None


def _arrow(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """A -> B."""
    if words.count("->") != 1:
        return None
    at = words.index("->")
    source = words[:at]
    if source and source[0].casefold() in lex.VERBS and lex.VERBS[source[0].casefold()] in {"into", "swap", "make"}:
        source = source[1:]
    if (
        low(source)[:1]
        and low(source)[0] in lex.OTHER_VERBS | lex.VERBS.keys()
        and len(source) > 1
        and low(source)[1] in lex.DETERMINERS
    ):
        return None
    return _changed(source, words[at + 1 :], (), before, separator="->")


def _statement(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """A should be B, A must go, there should be B, A becomes B; A into B and A to B without any verb."""
    lower = low(words)
    if lower[0] == "there":
        for start in (
            ("there", "should", "be"),
            ("there", "must", "be"),
            ("there", "is"),
            ("there", "are"),
            ("there", "could", "be"),
        ):
            if lower[: len(start)] == start and len(words) > len(start):
                return _addition(words[len(start) :], ("add",))
        return None
    for i, word in enumerate(lower):
        if not i:
            continue
        must = word in lex.MODALS or (
            word in {"has", "have", "needs", "need", "ought"} and lower[i + 1 : i + 2] == ("to",)
        )
        if must:
            tail = rest = words[i + 1 :]
            tail = tail[1:] if low(tail)[:1] == ("to",) else tail
            return _must(words[:i], tail, before)
        if word in {"becomes", "become"} and i + 1 < len(words):
            return _become(words[:i], words[i + 1 :], (), before)
    if lower[0] in lex.VERBS or lower[0] in lex.OTHER_VERBS:
        return None
    at = _separator(words, "into", "to")
    if at is None or not _stands_alone(words[:at]):
        return None
    return _changed(words[:at], _after_separator(words, at), (), before, separator=words[at].casefold())


def _stands_alone(words: Words) -> bool:
    """Whether a source without any verb is believable: a few words, no verb among the first of them."""
    return len(words) <= 8 and not any(
        word in lex.VERBS or word in lex.OTHER_VERBS or word in lex.WISHES for word in low(words)[:1]
    )


def _must(subject: Words, tail: Words, before: tuple[Item, ...]) -> Reading | None:
    lower = low(tail)
    if not lower:
        return None
    if lower[0] in lex.GONE or lower[:2] in {("be", word) for word in lex.GONE}:
        return _removal(subject, ("remove",))
    weather = _weather((*subject, *(tail[1:] if lower[0] == "be" else tail)))
    if weather is not None:
        return weather
    if (
        lower[0] == "be"
        and len(lower) > 1
        and lower[1] in lex.PARTICIPLES
        and not (lower[1] == "made" and lower[2:3] == ("of",))
    ):
        rest = tail[2:]
        if rest or lex.PARTICIPLES[lower[1]] in {"remove", "delete", "erase", "hide"}:
            return _read_clause((lex.PARTICIPLES[lower[1]], *subject, *rest), before)
    if lower[0] in {"be", "become", "look"}:
        rest = tail[1:]
        rest = rest[1:] if low(rest)[:1] == ("like",) else rest
        return _become(subject, rest, (), before)
    if lower[0] in {"turn", "change"} and lower[1:2] and lower[1] in {"into", "to"}:
        return _become(subject, tail[2:], (), before)
    if lower[0] in {"have", "wear", "hold", "carry"}:
        return _given(subject, tail[1:], (), before)
    return None


def _weather(rest: Words) -> Reading | None:
    """(make) it snow, it night, it a sunset sky; the weather to rain. None for anything else."""
    lower = low(rest)
    if not lower:
        return None
    if lower[0] in {"it", "everything"}:
        tail = rest[1:]
    elif lower[:2] in {("the", "weather"), ("the", "time")}:
        tail = rest[2:]
        tail = tail[2:] if low(tail)[:2] == ("of", "day") else tail
    else:
        return None
    while tail and low(tail)[0] in {"to", "into", "be", "look", "like", "it's", "is", "start", "a", "an", "at"}:
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


# --- from words to items ----------------------------------------------------------------------------------------------


def _separator(words: Words, *names: str) -> int | None:
    """Where the first of `names` stands that parts two phrases; earlier names go before later ones."""
    lower = low(words)
    for name in names:
        places = [i for i in range(1, len(lower) - 1) if lower[i] == name]
        for i in places:
            if len(places) == 1 and name == "into":
                return i
            before = lower[i - 1]
            if name == "to" and (
                before in {"next", "close", "due", "connected", "attached", "belonging", "in"} or before.endswith("ing")
            ):
                continue
            if (
                name == "to"
                and lower[i + 1 : i + 3] in {("the", "left"), ("the", "right")}
                and lower[i + 3 : i + 4] == ("of",)
            ):
                continue
            if name in {"into", "in"} and before.endswith("ing") and len(before) > 5:
                continue
            return i
    return None


def _after_separator(words: Words, at: int) -> Words:
    after = words[at + 1 :]
    if words[at].casefold() == "to" and low(after)[:1] == ("be",):
        after = after[1:]
    if low(after)[:3] in {("the", "colour"), ("the", "color")} and len(after) > 2:
        after = after[2:]
    return after


def _named(words: Words, before: tuple[Item, ...]) -> Words:
    """The words, or what "it" and "the other one" stand for."""
    lower = low(words)
    if lower in {("it",), ("them",), ("him",), ("her",), ("this",), ("that",)} and before:
        last = before[-1]
        stands_for = last.target if last.action == "change" else last.target or last.source
        return ("the", *stands_for.words) if stands_for is not None and last.action != "remove" else words
    _, rest = split_determiner(words)
    rest_lower = low(rest)
    if (
        before
        and rest_lower
        and rest_lower[0] in lex.ORDINALS
        and (len(rest) == 1 or rest_lower[1:] in {("one",), ("ones",)})
    ):
        earlier = before[-1].source or before[-1].target
        return ("the", *earlier.words) if earlier is not None else words
    return words


def _become(source: Words, target: Words, carry: Words, before: tuple[Item, ...]) -> Reading | None:
    """A becomes B, where B may be qualities only ("red", "frozen", "made of ice")."""
    source = _named(source, before)
    if not target or not is_phrase(source):
        return None
    if are_qualities(target):
        return _with_qualities(source, target, carry)
    if low(target)[0] in {"made", "covered", "full"} and len(target) > 2:
        return _changed(source, (*source, *target), carry, before, separator="", weak=True)
    if is_phrase(target):
        reading = _changed(source, target, carry, before, separator="")
        if low(target)[0] in lex.DETERMINERS or is_plural(low(target)[-1]) or low(target)[-1] in lex.MASS | lex.ANIMALS:
            return reading
        if len(target) == 1 and _may_be_quality(low(target)[0]):
            return _noted(_with_qualities(source, target, carry), (f"{target[0]!r} was read as a quality",), cost=0.5)
        return reading
    return None


def _colour_of(source: Words) -> Words | None:
    """A of "the colour of A", "A's colour", "the A colour"; None when no colour is spoken of."""
    _, rest = split_determiner(source)
    lower = low(rest)
    if lower[:2] in {("colour", "of"), ("color", "of"), ("colours", "of"), ("colors", "of")} and len(rest) > 2:
        return rest[2:]
    if len(lower) > 1 and lower[-1] in {"colour", "color"}:
        owner = source[:-1]
        last = owner[-1]
        for ending in ("'s", "'"):
            if last.casefold().endswith(ending):
                return (*owner[:-1], last[: -len(ending)])
        return owner
    return None


def _from_to(source: Words, old: Words, new: Words, carry: Words) -> Reading | None:
    """change (the colour of) A from red to green; turn A from one thing into another."""
    whole = _colour_of(source) or source
    if are_qualities(old) and are_qualities(new):
        determiner, rest = split_determiner(whole)
        described = (determiner or "the", *with_quality(rest, old))
        return _with_qualities(described, new, carry)
    if is_phrase(old) and is_phrase(new) and (_may_be_quality(low(old)[-1]) or is_adjective(old[-1])):
        return None
    return _changed(old, new, carry, (), separator="to")


def _with_qualities(source: Words, qualities: Words, carry: Words) -> Reading | None:
    """The items of a change of qualities, one for each thing in a list."""
    whole = _colour_of(source)
    source = source if whole is None else whole
    items: list[Item] = []
    for part in coordinates(source):
        if not is_phrase(part):
            return None
        number, one = how_many(part)
        old = phrase(one)
        new = Phrase(with_quality(old.words, _stripped(qualities)), old.countable)
        items += [Item("change", old, new, quality=low(qualities))] * number
    return Reading(tuple(items), carry=carry or ("make",))


def _stripped(qualities: Words) -> Words:
    while len(qualities) > 1 and low(qualities)[0] in {"all", "completely", "totally", "fully", "and", ","}:
        qualities = qualities[1:]
    return qualities


def _changed(
    source: Words, target: Words, carry: Words, before: tuple[Item, ...], *, separator: str, weak: bool = False
) -> Reading | None:
    """The items of "A into B": lists of A, pairs for "the two cats", qualities ("to green"), "a blue one"."""
    source = _named(source, before)
    whole = _colour_of(source)
    if not target or not source:
        return None
    metal = len(target) == 1 and low(target)[0] in lex.SUBSTANCES and separator in {"to", "into", "with", "->"}
    metal = metal and whole is None and low(source)[-1] != "sky"
    if are_qualities(target) and not metal and separator not in {"with", "by", "for", "instead"}:
        return _with_qualities(source, target, carry)
    if whole is not None:
        return None if not are_qualities(target) else _with_qualities(source, target, carry)
    if not is_phrase(target) or low(target)[0] in lex.PEOPLE_PRONOUNS or _is_direction(target):
        return None
    determiner, rest = split_determiner(target)
    if low(rest)[-1:] in {("one",), ("ones",)} and are_qualities(rest[:-1]):
        return _with_qualities(source, rest[:-1], carry)
    items: list[Item] = []
    for part in coordinates(source):
        if not is_phrase(part):
            return None
        number, one = how_many(part)
        if number > 1:
            items += _several(number, one, target)
            continue
        items.append(Item("change", _balanced(one, target), phrase(target)))
    return Reading(tuple(items), carry=carry or (), cost=0.2 if separator == "" and not carry else 0.0)


def _balanced(source: Words, target: Words) -> Phrase:
    """The source phrase, with an article when the target has one: two prompts should differ in what is asked for alone."""
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
    determiner, rest = split_determiner(target)
    if rest and rest[0].casefold() in lex.NUMBERS and len(rest) > 1:
        rest = rest[1:]
    at = head_index(rest)
    if is_plural(rest[at].casefold()):
        _, rest = how_many(("both", *rest))
        target = rest
    return [Item("change", old, phrase(target))] * number


def _is_direction(words: Words) -> bool:
    return (
        _is_position(words)
        or low(words)[-1:] in {("camera",), ("viewer",), ("degrees",), ("size",)}
        and len(words) <= 3
    )


def _noted(reading: Reading | None, warnings: tuple[str, ...], cost: float = 0.0) -> Reading | None:
    """The reading with warnings on its first item."""
    if reading is None or not warnings or not reading.items:
        return reading
    first = replace(reading.items[0], warnings=reading.items[0].warnings + warnings)
    return replace(reading, items=(first, *reading.items[1:]), cost=reading.cost + cost)
