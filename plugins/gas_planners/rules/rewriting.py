"""Clauses by rules: a pattern and what it says in other words, until one of a few plain forms is reached.

A rule stands on a line, `pattern => words` or `pattern => @form arguments`. In a pattern a word stands for itself,
`a|b` for one of several, `[a|b]` for one of them or nothing, `<a|b>` for one of them that is called W, `{kind}` for a
verb of that kind (or of one of several), called V, and a capital for a place:

* A a thing or a pronoun, D one that is there already ("the dog", "it"), N a new one ("a dog"), B any phrase;
* Q qualities, C a colour, P a preposition of place, T and U times of day, seasons and weather;
* S the whole picture by name, I "it" where it means the picture; X, Y any words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from gas_planners.rules import lexicon as lex
from gas_planners.rules.items import Context, Reading, is_pronoun, is_the_picture, is_thing
from gas_planners.rules.noun_phrase import MAX_WORDS, is_phrase
from gas_planners.rules.qualities import are_colours, are_qualities
from gas_planners.rules.tokens import Words, low

MAX_DEPTH = 6
MAX_KEPT = 4096


@dataclass(frozen=True)
class Clause:
    """What a form is told besides its arguments: what was read before, the verb that a next clause without one goes on
    with, the clause in the user's words, and what reads another clause."""

    context: Context
    verb: str
    own: Words
    read: Callable[[Words, Context], Reading | None]

    def carry(self, otherwise: str = "") -> Words:
        """The verb to go on with, or another where there is none."""
        return (self.verb,) if self.verb else (otherwise,) if otherwise else ()


Form = Callable[..., Reading | None]
"""Reads a plain clause: called with the Clause, the words in the places, and plain arguments."""


@dataclass(frozen=True)
class Rule:
    """A pattern, and the words that it is rewritten to; or, with a form, the form's arguments."""

    pattern: tuple[str, ...]
    result: tuple[str, ...]
    form: Form | None = None


class Rules:
    """Rules in their order: the first that fits and gives a reading is taken."""

    def __init__(self, text: str, forms: Mapping[str, Form]) -> None:
        self._rules: list[tuple[set[str], Rule]] = []
        for line in text.splitlines():
            pattern, arrow, result = line.partition("=>")
            if arrow:
                words = tuple(result.split())
                form = forms[words[0][1:]] if words[0].startswith("@") else None
                rule = Rule(tuple(pattern.split()), words[1:] if form else words, form)
                self._rules.append((_firsts(rule.pattern), rule))
        self._by_first: dict[str, list[Rule]] = {}

    def _beginning(self, word: str) -> list[Rule]:
        """The rules for clauses that begin with a word."""
        if word not in self._by_first:
            if len(self._by_first) > MAX_KEPT:
                self._by_first.clear()
            self._by_first[word] = [rule for firsts, rule in self._rules if word in firsts or "" in firsts]
        return self._by_first[word]

    def read(self, words: Words, context: Context, verb: str = "", own: Words = (), depth: int = 0) -> Reading | None:
        """The reading of a clause; None where no rule gives one."""
        if not words or depth > MAX_DEPTH:
            return None
        lower = low(words)
        verb = verb or (lower[0] if lower[0] in lex.VERBS else "")
        own = own or words
        for rule in self._beginning(lower[0]):
            for found in _fitting(rule.pattern, words, lower, 0, context):
                slots = {"V": words[:1], **found}
                if rule.form is None:
                    new = tuple(word for part in rule.result for word in slots.get(part, (part,)))
                    reading = self.read(new, context, verb, own, depth + 1)
                else:
                    arguments = [slots.get(part, part) for part in rule.result]
                    reading = rule.form(Clause(context, verb, own, self.read), *arguments)
                if reading is not None:
                    return reading
        return None


def _firsts(pattern: tuple[str, ...]) -> set[str]:
    """The words that a pattern may begin with; "" where it may be any."""
    first = pattern[0]
    if first.startswith("["):
        return set(first[1:-1].split("|")) | _firsts(pattern[1:])
    if first.startswith("{"):
        return {verb for verb, kind in lex.VERBS.items() if kind in _alternatives(first)}
    return {""} if first in _FITS else _alternatives(first)


def _is_new(words: Words) -> bool:
    return is_phrase(words) and low(words)[0] in lex.INDEFINITE - {"every", "each", "any"}


def _is_there(words: Words) -> bool:
    return is_pronoun(words) or (is_phrase(words) and low(words)[0] in lex.DEFINITE | lex.QUANTIFIERS)


def _is_time(words: Words) -> bool:
    lower = low(words[1:] if low(words)[0] in {"a", "an", "the"} else words)
    return 0 < len(lower) <= 3 and lower[-1] in lex.TIMES and not set(lower) & lex.CLOSED


_FITS: Mapping[str, Callable[[Words, Context], bool]] = {
    "A": lambda words, _: is_thing(words),
    "D": lambda words, _: _is_there(words),
    "N": lambda words, _: _is_new(words),
    "B": lambda words, _: is_phrase(words),
    "Q": lambda words, _: are_qualities(words),
    "C": lambda words, _: are_colours(words),
    "P": lambda words, _: low(words) in lex.PLACES,
    "T": lambda words, _: _is_time(words),
    "U": lambda words, _: _is_time(words),
    "S": lambda words, context: not is_pronoun(words) and is_the_picture(words, context),
    "I": lambda words, context: is_pronoun(words) and is_the_picture(words, context),
    "X": lambda words, _: bool(words),
    "Y": lambda words, _: bool(words),
}


def _fitting(
    pattern: tuple[str, ...], words: Words, lower: Words, at: int, context: Context
) -> Iterator[dict[str, Words]]:
    """What may stand in the places of the pattern's rest, for the words from `at` on; the first place takes as few
    words as it can."""
    if not pattern:
        if at == len(words):
            yield {}
        return
    part, rest = pattern[0], pattern[1:]
    if part in _FITS:
        for end in _ends(part, rest, lower, at):
            if _FITS[part](words[at:end], context):
                for slots in _fitting(rest, words, lower, end, context):
                    yield {part: words[at:end], **slots}
        return
    if at < len(words) and _is_word(part, lower[at]):
        name = {"{": "V", "<": "W"}.get(part[0])
        for slots in _fitting(rest, words, lower, at + 1, context):
            yield {name: (_plain(lower[at]) if name == "W" else words[at : at + 1]), **slots} if name else slots
    if part[0] == "[":
        yield from _fitting(rest, words, lower, at, context)


def _is_word(part: str, word: str) -> bool:
    return (lex.VERBS.get(word) if part[0] == "{" else word) in _alternatives(part)


@cache
def _alternatives(part: str) -> set[str]:
    return set((part[1:-1] if part[0] in "[<{" else part).split("|"))


def _plain(word: str) -> Words:
    """The form of a verb that a rule goes on with: "wear" of "wore", "replace" of "replaced", "sitting" of "sit"."""
    return (lex.IN_THE_PAST.get(word) or lex.PARTICIPLES.get(word) or lex.POSES.get(word) or word,)


def _ends(part: str, rest: tuple[str, ...], lower: Words, at: int) -> list[int]:
    """Where the words of a place may end: at the words that the pattern goes on with, else anywhere."""
    if not rest:
        return [len(lower)] if at < len(lower) else []
    last = min(len(lower), at + (5 if part == "P" else MAX_WORDS))
    following = rest[0]
    if following in _FITS or following[0] in "[{":
        return list(range(at + 1, last + 1))[:: -1 if part == "P" else 1]
    wanted = _alternatives(following)
    return [i for i in range(at + 1, last + 1) if i < len(lower) and lower[i] in wanted]
