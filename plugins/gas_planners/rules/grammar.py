"""Requests in words → what is to be changed, added and removed. No model, no backtracking without bound.

A sentence is cut at commas and conjunctions, and the cut is chosen that reads best as clauses: each clause opens with
a verb ("change the dog into a tiger"), goes on with the verb of the one before ("the grass into snow"), or has one of
a few forms without a command ("dog -> cat", "the car should be red", "no clouds"). What is not read is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from gas.errors import PlanUnreadable
from gas.plan.phrases import singular
from gas_planners.rules import lexicon as lex
from gas_planners.rules.clauses import read_clause
from gas_planners.rules.forms import KEEP_SHAPE
from gas_planners.rules.items import TOPIC, Context, Item, Reading
from gas_planners.rules.looks import spared
from gas_planners.rules.noun_phrase import Phrase
from gas_planners.rules.prompt_syntax import without_syntax
from gas_planners.rules.qualities import are_qualities
from gas_planners.rules.refusals import EXAMPLES, reason
from gas_planners.rules.tokens import (
    Piece,
    Text,
    Words,
    low,
    merged,
    pieces,
    read_text,
    without_closers,
    without_openers,
)

MAX_CHARACTERS = 4000
MAX_PIECES = 48
MAX_WORDS = 600
MAX_MERGED = 6
MAX_STATES = 4

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Request:
    """What was read: the items in the order asked, what to warn of, and the weights of single words."""

    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    weights: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class _State:
    """The best reading so far up to one piece."""

    total: float = 0.0
    items: tuple[Item, ...] = ()
    last: tuple[int, ...] = ()
    carry: Words = ()
    before: Words = ()
    notes: tuple[str, ...] = ()

    @property
    def carried(self) -> str:
        """The kind of the verb that a clause without one would go on with."""
        return lex.VERBS.get(self.carry[0].casefold(), "") if self.carry else ""


def read(text: str) -> list[Item]:
    """The items of a request in the order asked. PlanUnreadable names the part that cannot be read."""
    return list(read_request(text).items)


def read_request(text: str) -> Request:
    """What a request asks for. PlanUnreadable names the part that cannot be read, why, and how to write it."""
    if len(text) > MAX_CHARACTERS:
        raise PlanUnreadable(
            f"the request is {len(text)} characters long; the rules planner reads {MAX_CHARACTERS}",
            "ask for less at once",
        )
    control = _CONTROL.search(text)
    if control is not None:
        code = f"U+{ord(control[0]):04X}"
        raise PlanUnreadable(f"the request holds the control character {code}", "write it in plain text")
    prompt = without_syntax(text)
    found = read_text(prompt.text)
    words = sum(len(sentence) for sentence in found.sentences)
    if words > MAX_WORDS:
        raise PlanUnreadable(
            f"the request has {words} words; the rules planner reads {MAX_WORDS}", "ask for less at once"
        )
    state = _State()
    for sentence in found.sentences:
        if low(sentence) in _LISTING and sentence is not found.sentences[-1]:  # "Remove:", and a list below it
            state = replace(state, carry=sentence[:1])
            continue
        state = _read_sentence(spared(simplified(sentence)), state, found)
    items = tuple(item for item in state.items if item.action != TOPIC)
    if not items:
        shown = " ".join(text.split())[:80]
        raise PlanUnreadable(f"nothing to change, add or remove was found in {shown!r}", EXAMPLES)
    if KEEP_SHAPE in state.notes:
        items = tuple(replace(item, keep=True) for item in items)
    said = (note for note in state.notes if note != KEEP_SHAPE)
    notes = (*prompt.notes, *said, *((f"not read: {' '.join(found.unread)}",) if found.unread else ()))
    return Request(tuple(_without_ordinals(items)), notes, prompt.weights)


_LISTING = {(verb, *end) for verb in lex.VERBS for end in ((), (",",))}
_SIMPLER: dict[Words, Words] = {
    tuple(said.split()): tuple(plain.split())
    for said_so, plain in {
        "the following ,|only|just": "",
        "with no": "without",
        "one more": "another",
        "in place of|rather than": "instead of",
        "as well as|along with|together with|in addition to|plus": "and",
        "with the exception of|except for|but for|apart from|aside from|other than|save for|but not": "except",
        "keeping|preserving|maintaining|retaining": ", keep",
    }.items()
    for said in said_so.split("|")
}
"""Words that others say more plainly."""


def simplified(words: Words) -> Words:
    """The words of a sentence without the commas around ", which is red,", without the reason at its end, with "the
    larger of the two dogs" as "the larger dog" and "with no" as "without"."""
    lower = low(words)
    if "because" in lower[2:]:
        words = words[: lower.index("because", 2)]
    if lower[1:2] == (",",) and lower[0] in lex.VERBS:  # "remove: the lamp, the chair"
        words = (words[0], *words[2:])
    words = _of_two(_related(words))
    out: list[str] = []
    i = 0
    while i < len(words):
        old = next((old for old in _SIMPLER if low(words[i : i + len(old)]) == old), None)
        out += words[i : i + 1] if old is None else _SIMPLER[old]
        i += 1 if old is None else len(old)
    return tuple(out)


def _related(words: Words) -> Words:
    """ "the van, which is white, to black" without the commas."""
    lower = low(words)
    begins = [i for i in range(len(words) - 2) if lower[i] == "," and lower[i + 1] in {"which", "who"}]
    ends = [next((j for j in range(i + 1, len(words)) if lower[j] == ","), i) for i in begins]
    return tuple(word for i, word in enumerate(words) if i not in (*begins, *ends))


def _of_two(words: Words) -> Words:
    """ "the larger of the two dogs" as "the larger dog"."""
    lower = low(words)
    for i in range(2, len(words) - 3):
        two = lower[i : i + 2] == ("of", "the") and lower[i + 2] in lex.NUMBERS
        if two and lower[i - 2] == "the" and are_qualities((words[i - 1],)):
            return _of_two((*words[:i], singular(lower[i + 3]), *words[i + 4 :]))
    return words


# --- sentences --------------------------------------------------------------------------------------------------------


def _read_sentence(sentence: Words, start: _State, text: Text) -> _State:
    parts = pieces(sentence)
    if len(parts) > MAX_PIECES:
        raise PlanUnreadable(
            f"a sentence with {len(parts)} parts; the rules planner reads {MAX_PIECES}", "ask for less at once"
        )
    best: list[dict[Words, _State]] = [{} for _ in range(len(parts) + 1)]
    best[0][start.carry] = replace(start, total=0.0)
    for i in range(len(parts)):
        for state in sorted(best[i].values(), key=lambda known: known.total)[:MAX_STATES]:
            for j in range(i + 1, min(i + MAX_MERGED, len(parts)) + 1):
                words = merged(parts[i:j])
                for reading, carried in _readings(words, state, text):
                    new = _after(state, reading, words, carried=carried)
                    known = best[j].get(new.carry)
                    if known is None or new.total < known.total:
                        best[j][new.carry] = new
    if not best[-1]:
        raise _refusal(parts, max(i for i in range(len(parts)) if best[i]), text)
    return min(best[-1].values(), key=lambda state: state.total)


def _refusal(parts: list[Piece], reached: int, text: Text) -> PlanUnreadable:
    words = merged(parts[reached:])
    shown = text.as_typed(words)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    why, remedy = reason(words)
    return PlanUnreadable(f"the rules planner cannot read {shown!r}{why}", remedy)


def _after(state: _State, reading: Reading, words: Words, *, carried: bool) -> _State:
    """The state after a clause."""
    items = state.items
    for place, item in reading.rewrites:
        items = (*items[:place], item, *items[place + 1 :])
    if reading.shares_place and reading.items:
        items = _placed_alike(items, reading.items[-1])
    about = tuple(place for place, _ in reading.rewrites)
    about += tuple(range(len(items), len(items) + len(reading.items)))
    opens = not carried and low(without_openers(words) or words)[0] in lex.VERBS
    return _State(
        state.total + reading.cost - (1.0 if about else 0.0),
        items + reading.items,
        about or state.last if opens else (*state.last, *about),
        reading.carry or state.carry,
        words,
        (*state.notes, *reading.notes),
    )


def _placed_alike(items: tuple[Item, ...], last: Item) -> tuple[Item, ...]:
    """The items where those at the end that have no place get that of `last`: "a cup, a plate and a spoon to the
    table"."""
    if last.anchor is None or last.action == "change":
        return items
    end = len(items)
    while end and (items[end - 1].action, items[end - 1].anchor, items[end - 1].warnings) == (last.action, None, ()):
        end -= 1
    return items[:end] + tuple(replace(item, anchor=last.anchor, place=last.place) for item in items[end:])


def _readings(words: Words, state: _State, text: Text) -> Iterable[tuple[Reading, bool]]:
    """The readings of a clause, with its own words and as going on with the verb of the clause before; with each
    whether it goes on so."""
    typed = words
    words = without_closers(without_openers(words))
    if not words or all(word in lex.LABELS for word in low(words)):
        yield Reading(()), False
        return
    context = Context(state.items, state.last)
    own = read_clause(words, context)
    if own is not None:
        cost = own.cost
        if "to" in low(words) and state.carried in {"add", "remove", "give"} and low(words)[0] not in lex.VERBS:
            cost += 1.0  # "a spoon to the table" after "add a cup": no change of a spoon
        yield replace(own, cost=cost), False
    else:
        said = chatter(typed)
        if said is not None:
            shown = text.as_typed(typed)
            yield Reading((), cost=0.9, notes=() if said else (f"not read as a request: {shown!r}",)), False
    if state.carry and low(words)[0] not in lex.VERBS:
        more = read_clause((*state.carry, *words), context)
        if more is not None and (more.items or more.rewrites):
            cost = more.cost + 0.3 + _strangeness(words, state)
            yield replace(more, cost=cost, carry=state.carry, shares_place=True), True


def _strangeness(words: Words, state: _State) -> float:
    """How unlikely it is that a piece is a clause of its own: "a beard" after "add a man with a hat" is not."""
    lower, before = low(words), low(state.before)
    carried = state.carried
    if lower[0] in {"its", "his", "her", "their"} and (carried != "give" or any(w in lex.CONJUNCTIONS for w in lower)):
        return 2.0 if carried in {"add", "remove", "give"} or any(w in lex.CONJUNCTIONS for w in lower) else 0.0
    if carried not in {"add", "remove", "give"}:
        return 0.0
    held = {"with", "wearing", "holding", "of", "between"}
    attached = max((i for i, word in enumerate(before) if word in held), default=None)
    if attached is not None and attached + 1 < len(before) and not any(w in {"on", "in", "to", "next"} for w in lower):
        if before[attached] == "between":
            return 2.0
        if before[attached + 1] in lex.INDEFINITE and lower[0] in lex.INDEFINITE:
            return 2.0
    if before and lower[0] not in lex.DETERMINERS and frozenset((before[-1], lower[0])) in lex.PAIRS:
        return 2.0
    return 0.0


# --- what asks for nothing --------------------------------------------------------------------------------------------


def chatter(words: Words) -> bool | None:
    """Whether the words ask for nothing: True for a greeting or thanks, False for a remark ("my grandma loves lilies"),
    None where they may ask for something."""
    lower = low(words)
    signed = len(words) > 2 and words[-2] == "," and words[-1].istitle()  # "many thanks, Ana"
    polite = lex.GREETINGS | lex.PRAISE | lex.THE_PICTURE | {","}
    if all(word in polite for word in (lower[:-1] if signed else lower)) or lower in {("love", "it"), ("love", "this")}:
        return True
    if lower[0] in {"hi", "hey", "hello", "dear"} and len(lower) <= 3:  # "dear editor"
        return True
    lower = low(without_openers(words)) or lower
    if any(lower[: len(start)] == start for start in lex.UNSURE):
        return False
    orders = any(
        word in lex.VERBS.keys() | lex.GERUNDS.keys() | lex.OTHER_VERBS and lower[i + 1 : i + 2] in lex.ONE_DETERMINER
        for i, word in enumerate(lower)
        if i == 0 or lower[i - 1] not in lex.SPEAKERS
    )
    tells = lower[0] in lex.TELLERS | lex.DETERMINERS and any(word in lex.TELLING for word in lower[:6])
    tells = tells or (lower[0] in {"love", "like", "loving"} and lower[1:2] in lex.ONE_DETERMINER)
    asks = any(word in lex.ASKING for word in lower if word != "to") or "->" in lower
    return False if tells and not asks and not orders else None


# --- ordinals ---------------------------------------------------------------------------------------------------------


def _without_ordinals(items: tuple[Item, ...]) -> list[Item]:
    """The items with "the first cat" and "the other cat" as "the cat" where both are spoken of: which of them is which
    is for the detector, and one phrase for both is what it needs. A lone "second car" stays."""
    bare = [low(_bare(item.source)) if item.source is not None else None for item in items]
    out = []
    for i, item in enumerate(items):
        if item.source is not None and bare.count(bare[i]) > 1 and item.source.count is None:
            target = item.target
            if item.quality and target is not None:
                target = replace(target, words=tuple(w for w in target.words if w.casefold() not in lex.ORDINALS))
            item = replace(item, source=replace(item.source, words=_bare(item.source)), target=target)
        out.append(item)
    return out


def _bare(phrase: Phrase) -> Words:
    words = phrase.words
    return words[1:] if len(words) > 1 and words[0].casefold() in lex.ORDINALS else words
