"""Requests in words → what is to be changed, added and removed. No model, no backtracking without bound.

A sentence is cut at commas and conjunctions, and the cut is chosen that reads best as clauses: each clause opens with
a verb ("change the dog into a tiger"), goes on with the verb of the one before ("the grass into snow"), or has one of
a few forms without a command ("dog -> cat", "the car should be red", "no clouds").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from gas.errors import PlanUnreadable
from gas_planners.rules import lexicon as lex
from gas_planners.rules.clauses import read_clause
from gas_planners.rules.items import TOPIC, Item, Reading
from gas_planners.rules.noun_phrase import Phrase, Words, is_adjective, low
from gas_planners.rules.retouch_requests import spared
from gas_planners.rules.tokens import merged, pieces, sentences, without_closers, without_openers
from gas_planners.rules.word_order import plain_order, simplified

MAX_CHARACTERS = 4000
MAX_PIECES = 48
MAX_WORDS = 600
MAX_MERGED = 6
MAX_STATES = 4
EXAMPLES = 'write it like "change the dog into a cat", "make the car blue", "remove the lamp" or "add a hat to the man"'


_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


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
    control = _CONTROL.search(text)
    if control is not None:
        code = f"U+{ord(control[0]):04X}"
        raise PlanUnreadable(f"the request holds the control character {code}", "write it in plain text")
    state = _State(0.0)
    found = sentences(text)
    words = sum(len(sentence) for sentence in found)
    if words > MAX_WORDS:
        raise PlanUnreadable(
            f"the request has {words} words; the rules planner reads {MAX_WORDS}", "ask for less at once"
        )
    for sentence in found:
        state = _read_sentence(spared(simplified(sentence)), state)
    items = tuple(item for item in state.items if item.action != TOPIC)
    if not items:
        shown = " ".join(text.split())[:80]
        raise PlanUnreadable(f"nothing to change, add or remove was found in {shown!r}", EXAMPLES)
    return _without_ordinals(items)


def _without_ordinals(items: tuple[Item, ...]) -> list[Item]:
    """The items with "the first cat" and "the other cat" as "the cat" where both are spoken of: which of them is which
    is for the detector, and one phrase for both is what it needs. A lone "second car" stays."""
    bare = [_bare(item.source) for item in items]
    out = []
    for i, item in enumerate(items):
        both = bare[i] is not None and any(bare[i] == other for j, other in enumerate(bare) if j != i)
        if both and item.source is not None:
            target = item.target
            if item.quality and target is not None:
                target = replace(target, words=tuple(w for w in target.words if w.casefold() not in lex.ORDINALS))
            item = replace(item, source=replace(item.source, words=_bare_words(item.source)), target=target)
        out.append(item)
    return out


def _bare(phrase: Phrase | None) -> Words | None:
    return None if phrase is None else low(_bare_words(phrase))


def _bare_words(phrase: Phrase) -> Words:
    words = phrase.words
    return words[1:] if len(words) > 1 and words[0].casefold() in lex.ORDINALS else words


def _read_sentence(sentence: Words, start: _State) -> _State:
    parts = pieces(sentence)
    if len(parts) > MAX_PIECES:
        raise PlanUnreadable(
            f"a sentence with {len(parts)} parts; the rules planner reads {MAX_PIECES}", "ask for less at once"
        )
    best: list[dict[Words, _State]] = [{} for _ in range(len(parts) + 1)]
    best[0][start.carry] = _restarted(start)
    for i in range(len(parts)):
        for state in sorted(best[i].values(), key=lambda known: known.total)[:MAX_STATES]:
            for j in range(i + 1, min(i + MAX_MERGED, len(parts)) + 1):
                words = merged(parts[i:j])
                for reading in _readings(words, state):
                    cost = state.total + reading.cost - (1.0 if reading.items else 0.0)
                    earlier = state.items[: len(state.items) - reading.instead]
                    if reading.shares_place:
                        earlier = _placed_alike(earlier, reading.items[-1])
                    new = _State(
                        cost,
                        earlier + reading.items,
                        reading.carry or state.carry,
                        words,
                    )
                    known = best[j].get(new.carry)
                    if known is None or new.total < known.total:
                        best[j][new.carry] = new
    if not best[-1]:
        reached = max(i for i in range(len(parts)) if best[i])
        part = " ".join(merged(parts[reached:]))
        part = part if len(part) <= 80 else f"{part[:77]}..."
        raise PlanUnreadable(f"the rules planner cannot read {part!r}{_reason(low(parts[reached].words))}", EXAMPLES)
    return min(best[-1].values(), key=lambda state: state.total)


def _placed_alike(items: tuple[Item, ...], last: Item) -> tuple[Item, ...]:
    """The items where those at the end that have no place get that of `last`: "a cup, a plate and a spoon to the
    table"."""
    if last.anchor is None or last.action == "change":
        return items
    end = len(items)
    while end and (items[end - 1].action, items[end - 1].anchor, items[end - 1].warnings) == (last.action, None, ()):
        end -= 1
    return items[:end] + tuple(replace(item, anchor=last.anchor, place=last.place) for item in items[end:])


def _restarted(state: _State) -> _State:
    """The state as the start of another sentence."""
    return _State(0.0, state.items, state.carry, state.before)


def _reason(lower: Words) -> str:
    lower = low(without_openers(lower))
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
    words = without_openers(plain_order(without_openers(words)))
    words = without_closers(words)
    if not words or all(word in lex.LABELS for word in low(words)):
        yield Reading(())
        return
    own = read_clause(words, state.items)
    if own is not None:
        cost = own.cost
        if low(words)[0] in lex.POSSESSIVE:
            cost += _strangeness(words, state)
        if "to" in low(words) and _carried(state) in {"add", "remove", "give"} and low(words)[0] not in lex.VERBS:
            cost += 1.0  # "a spoon to the table" after "add a cup": no change of a spoon
        yield replace(own, cost=cost)
    if state.carry and low(words)[0] not in lex.VERBS:
        more = read_clause((*state.carry, *words), state.items)
        if more is not None and more.items:
            yield replace(more, cost=more.cost + 0.3 + _strangeness(words, state), carry=state.carry, shares_place=True)


def _carried(state: _State) -> str:
    """The kind of the verb that a clause without one would go on with."""
    return lex.VERBS.get(state.carry[0].casefold(), "") if state.carry else ""


def _strangeness(words: Words, state: _State) -> float:
    """How unlikely it is that a piece is a clause of its own: "a beard" after "add a man with a hat" is not."""
    lower, before = low(words), low(state.before)
    carried = _carried(state)
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
