"""Words that are one slip of the finger away from a known one: they are taken as typed, and a warning says so.

Only slips that hardly ever turn one English word into another are looked for: two letters exchanged, and a letter
doubled or not. With other slips "swing" would be "sewing" and "knight" a "night".
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from functools import cache

from gas_planners.rules import lexicon as lex

_SHORTEST = 5


def warnings_of_spelling(words: Iterable[str]) -> list[str]:
    """A warning for each of `words` that is in no list and one such slip from a word that is."""
    found = []
    for word in dict.fromkeys(word.strip(string.punctuation) for word in words):
        if (meant := _meant(word)) is not None:
            found.append(f"{word!r} was taken as typed; if {meant!r} is meant, write that")
    return found


def _meant(word: str) -> str | None:
    if not (word.isalpha() and word.islower()) or len(word) < _SHORTEST or word in _known():
        return None
    return next((one for one in _slips(word) if one in _known() and len(one) >= _SHORTEST), None)


def _slips(word: str) -> Iterator[str]:
    for i in range(len(word) - 1):
        yield word[:i] + word[i + 1] + word[i] + word[i + 2 :]
        if word[i] == word[i + 1]:
            yield word[:i] + word[i + 1 :]
    for i in range(len(word)):
        yield word[:i] + word[i] + word[i:]


@cache
def _known() -> frozenset[str]:
    """Every single word of the lexicon."""
    words: set[str] = set()
    for value in vars(lex).values():
        if isinstance(value, frozenset | set | dict):
            words |= {word for one in value if isinstance(one, str) for word in one.split()}
    return frozenset(words)
