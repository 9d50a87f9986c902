"""Phrases compared as people mean them: without case, articles, quotes, and where it helps without plurals."""

from __future__ import annotations

import re

_QUOTES = str.maketrans("‘’‛´`“”„«»", "'''''\"\"\"\"\"")
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_ARTICLES = frozenset({"a", "an", "the", "some"})


def straight_quotes(text: str) -> str:
    """`text` with curly and angle quotes as ' and "."""
    return text.translate(_QUOTES)


def normalise_phrase(phrase: str) -> str:
    """`phrase` as it is compared: lower case, straight quotes, single spaces, no leading article, no outer punctuation.

    "The  red Car." and "a red car" are both "red car". Plurals stay; see `singular`.
    """
    words = straight_quotes(phrase).casefold().strip(" \t\r\n.,;:!?\"'").split()
    while words and words[0] in _ARTICLES:
        words.pop(0)
    return " ".join(words)


def singular(word: str) -> str:
    """`word` (lower case) without the plural ending: "cars" → "car", "wolves" → "wolf", "people" → "person"."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")) or word in _SAME_IN_PLURAL:
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "sses", "xes", "zes", "oes")) and word not in _KEEPS_E:
        return word[:-2]
    return word[:-1]


def words(text: str) -> list[str]:
    """The words of `text`, lower case, without punctuation and possessive endings."""
    found = _WORD.findall(straight_quotes(text).casefold())
    return [word.removesuffix("'s").removesuffix("'") for word in found]


def content_words(text: str) -> list[str]:
    """The words that carry meaning, in the singular; "autumn-coloured" gives its parts too."""
    found = []
    for word in words(text):
        parts = (word, *word.split("-")) if "-" in word else (word,)
        found += [singular(part) for part in parts if part not in _SMALL_WORDS]
    return found


def main_noun(phrase: str) -> str | None:
    """The last word, in the singular, before the first preposition or clause: "dog" of "a brown dog with a hat".

    None where the phrase has no such word.
    """
    last = None
    for word in words(phrase):
        if word in _END_OF_NOUN and last is not None:
            break
        if word not in _SMALL_WORDS:
            last = singular(word)
    return last


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_IRREGULAR = dict(
    pair.split(":")
    for pair in _set(
        "people:person men:man women:woman children:child feet:foot teeth:tooth mice:mouse geese:goose oxen:ox"
        " wolves:wolf leaves:leaf knives:knife loaves:loaf shelves:shelf scarves:scarf wives:wife halves:half"
        " calves:calf elves:elf thieves:thief hooves:hoof cacti:cactus snowmen:snowman firemen:fireman"
        " policemen:policeman gentlemen:gentleman cookies:cookie movies:movie pixies:pixie gas:gas lens:lens"
    )
)
_SAME_IN_PLURAL = _set("series species glasses sunglasses trousers jeans pants shorts stairs")
_KEEPS_E = _set("axes shoes horseshoes canoes toes aches headaches gazes mazes mustaches moustaches")
_PREPOSITIONS = _set(
    "of in on at to by for with from into onto under over above below near beside behind between next is are which who"
    " that and or"
)
_END_OF_NOUN = _PREPOSITIONS | _set("wearing holding standing sitting parked made covered")
_SMALL_WORDS = _PREPOSITIONS | _set(
    "a an the some any this these those my our your his her its their but was were be been being it one ones"
)
