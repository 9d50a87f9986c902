"""Words for qualities, and runs of them: "red", "dark blue", "a bit older", "black and white"."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

from gas_planners.rules import lexicon as lex
from gas_planners.rules.tokens import Words, low

_LINKS = frozenset({"and", ",", "but"})


@lru_cache(maxsize=4096)
def is_adjective(word: str) -> bool:
    """Whether a word is known as a quality, or as more or most of one ("darker", "tallest")."""
    lower = word.casefold()
    return lower in lex.ADJECTIVES or lower.endswith(lex.QUALITY_ENDINGS) or _positive(lower) in lex.ADJECTIVES


def is_pure_adjective(word: str) -> bool:
    """Whether a word is a quality and names no thing: no phrase ends with it."""
    lower = word.casefold()
    return is_adjective(lower) and lower not in lex.NOUNS_TOO and lower not in lex.POSITIONS


def _positive(word: str) -> str:
    """ "dark" of "darker", "big" of "biggest", "shiny" of "shinier"; the word itself where there is no such."""
    for ending in ("er", "est"):
        if word.endswith(ending) and word not in lex.MASS:  # "litter" is not more lit
            stem = word[: -len(ending)]
            for candidate in (stem, f"{stem}e", stem[:-1] if stem[-1:] == stem[-2:-1] else stem, f"{stem[:-1]}y"):
                if candidate in lex.ADJECTIVES and len(candidate) > 1:
                    return candidate
    return word


def classes(word: str) -> frozenset[str]:
    """The classes of a quality (lower case): "colour", "size", "age", "material" and so on; empty for other words."""
    known = word in lex.COLOURS or word in lex.CLASSES_OF
    word = word if known else _positive(word)
    if word in lex.COLOURS or word.endswith(("-coloured", "-colored")):
        return frozenset({"colour"})
    return lex.CLASSES_OF.get(word, frozenset({"looks"}) if word.endswith(lex.QUALITY_ENDINGS) else frozenset())


def kinds(qualities: Words) -> set[str]:
    """What classes of quality there are among the words."""
    return {name for word in low(qualities) for name in classes(word)}


def is_degree(word: str) -> bool:
    """Whether a word says how much of the quality after it: "very", "slightly", "brightly"."""
    return word in lex.DEGREES or (word.endswith("ly") and word not in lex.LY_NOUNS and word not in lex.LY_QUALITIES)


def is_shade(lower: Words, i: int) -> bool:
    """Whether the word at `i` says which of the colour after it is meant: "dark", "sage" before "green"."""
    return lower[i] in lex.SHADES or (i + 1 < len(lower) and lower[i] in lex.SHADES_OF.get(lower[i + 1], ()))


_BITS = {("a", "bit"), ("a", "little"), ("a", "lot"), ("a", "tad")}


def are_qualities(words: Words) -> bool:
    """Whether all of the words are qualities: "dark blue", "black and white", "a bit older"."""
    lower = low(words[2:] if low(words[:2]) in _BITS else words)
    if not lower or not is_adjective(lower[-1]) or lower[0] in _LINKS or (lower[0] == "so" and len(lower) > 1):
        return False
    linked = any(a in _LINKS and b in _LINKS for a, b in pairwise(lower) if (a, b) != (",", "and"))
    return not linked and all(
        w in _LINKS or is_adjective(w) or is_shade(lower, i) or is_degree(w) for i, w in enumerate(lower[:-1])
    )


def are_colours(words: Words) -> bool:
    """Whether the words are a colour as one paints with: "mint", "dark blue", "black and white"."""
    lower = low(words)
    if not lower or lower[-1] not in lex.PAINT_COLOURS:
        return False
    return all(
        w in lex.PAINT_COLOURS or is_shade(lower, i) or w in _LINKS or is_adjective(w) or is_degree(w)
        for i, w in enumerate(lower)
    )


def without_degree(words: Words) -> Words:
    """Qualities without "completely" and the like, which a picture cannot show: "all white" is "white"."""
    while len(words) > 1 and low(words)[0] in {"all", "completely", "totally", "fully", "and", ",", "really", "so"}:
        words = words[1:]
    return words[2:] if low(words[:2]) in _BITS else words
