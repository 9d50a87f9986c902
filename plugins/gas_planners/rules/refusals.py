"""Why a part of a request was not read, and how to say it instead."""

from __future__ import annotations

import difflib

from gas_planners.rules import lexicon as lex
from gas_planners.rules.changes import REFUSED_QUALITIES
from gas_planners.rules.noun_phrase import is_phrase
from gas_planners.rules.qualities import classes
from gas_planners.rules.tokens import SYMBOL, Words, low, without_openers

EXAMPLES = 'write it like "change the dog into a cat", "make the car blue", "remove the lamp" or "add a hat to the man"'
ENDS = {(), ("and",), (",",), ("please",)}
_KEEP_PLACE = "things keep their size and their place"


def reason(words: Words) -> tuple[str, str]:
    """(why the words cannot be read, in brackets or "", what to write instead)."""
    lower = low(without_openers(words))
    for explain in (_symbols, _size_or_place, _negation, _alternative, _vague, _quality, _verb):
        found = explain(lower)
        if found is not None:
            return f" ({found[0]})", found[1] or EXAMPLES
    return "", EXAMPLES


def _symbols(lower: Words) -> tuple[str, str] | None:
    symbol = next((word[1:] for word in lower if word.startswith(SYMBOL)), None)
    if symbol is None:
        return None
    if symbol[0].isdigit():
        return f"{symbol!r}: amounts are not read, and {_KEEP_PLACE}", ""
    return f"{symbol!r} is no word", "write in words what it stands for"


def _size_or_place(lower: Words) -> tuple[str, str] | None:
    verb = lower[0] if lower else ""
    words = (verb, *lower[-1:]) if lex.VERBS.get(verb) in {"make", "let"} else (verb,)
    moving = next((word for word in words if word in lex.SIZING | lex.MOVING), None)
    if moving is not None:
        return f"{moving!r} is none of change, add and remove: {_KEEP_PLACE}", ""
    sizes = [i for i, word in enumerate(lower) if classes(word) & REFUSED_QUALITIES]
    told = [i for i in sizes if lower[i + 1 : i + 2] in ENDS or len(sizes) > 1]
    if told and (verb in lex.VERBS or "should" in lower):
        said = f"{lower[told[-1]]!r}: {_KEEP_PLACE}"
        return said, "crop or scale the picture elsewhere, or name what should be there instead"
    if lex.VERBS.get(verb) == "add" and len(lower) > 2 and lower[1] in lex.DEFINITE:
        return f"nothing can be moved: {_KEEP_PLACE}", f'to have another one write "{verb} a …"'
    return None


def _negation(lower: Words) -> tuple[str, str] | None:
    word = next((word for word in lower if word in lex.NEGATIONS), None)
    if word is None:
        return None
    return f"{word!r} is not read there", 'say what should be there instead, or take it away: "remove the hat"'


def _alternative(lower: Words) -> tuple[str, str] | None:
    word = next((word for word in lower if word == "or" or ("/" in word and not word[0].isdigit())), None)
    return None if word is None else (f"{word!r} leaves it open which one", "name one of them")


def _vague(lower: Words) -> tuple[str, str] | None:
    for i, word in enumerate(lower):
        if word in lex.VAGUE_ALONE or (word in lex.VAGUE and lower[i + 1 : i + 2] == ("of",)):
            return f"{word!r} leaves it open which ones", 'write "all the …", "two of the …" or name them'
    word = next((word for word in lower if word in {"different", "same", "else"}), "")
    return (f"{word!r} leaves it open what it becomes", "name it") if word else None


def _verb(lower: Words) -> tuple[str, str] | None:
    verb = lower[0] if lower else ""
    if verb in lex.OTHER_VERBS and verb not in lex.VERBS:
        return f"{verb!r} is none of change, add and remove", ""
    if verb not in lex.VERBS:
        near = difflib.get_close_matches(verb, lex.VERBS, n=1, cutoff=0.75) if len(verb) > 3 else []
        follows = len(lower) > 1 and lower[1] in lex.DETERMINERS
        return (f"did you mean {near[0]!r}?", "") if near and follows else None
    if lower[1:2] and lower[1] in lex.PRONOUNS:
        return f"name what {lower[1]!r} is", ""
    if lex.VERBS[verb] in {"into", "swap", "make", "paint"} and (len(lower) == 1 or is_phrase(lower[1:])):
        return ("into what?" if len(lower) > 1 else "what, and into what?"), ""
    return ("what?", "") if len(lower) == 1 else None


def _quality(lower: Words) -> tuple[str, str] | None:
    """make the chair blorp."""
    if lower and (lex.VERBS.get(lower[0]) in {"make", "paint", "let"} or lower[0] == "turn"):
        for end in range(len(lower), 2, -1):
            thing, word = lower[1 : end - 1], lower[end - 1]
            if not classes(word) and word not in lex.CLOSED and is_phrase(thing) and thing[0] in lex.DETERMINERS:
                written = f'"change {" ".join(thing)} into a {word} {thing[-1]}"'
                return f"{word!r} is not a quality that is known here", f"say what it becomes: {written}"
    return None
