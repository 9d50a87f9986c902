"""A request as sentences of words, and sentences as pieces between commas and conjunctions. Linear in the text's
length."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gas.plan.phrases import straight_quotes
from gas_planners.rules import lexicon as lex
from gas_planners.rules.noun_phrase import Words, low, starts_with

_TOKEN = re.compile(r"[-=]{0,3}>{1,2}|[→⇒⟶➔➜⟹]|\w+(?:['-]\w+)*'?|[,;.!?:\n&+()]|[—–]")
_ARROWS = re.compile(r"[-=]{0,3}>{1,2}|[→⇒⟶➔➜⟹]")
_JOINED = (  # longest first; each becomes one "and"
    ("as", "well", "as"),
    ("along", "with"),
    ("together", "with"),
    ("in", "addition", "to"),
)
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")  # zero width, direction, soft hyphen
_BREAKS = frozenset(";.!?\n")


@dataclass(frozen=True)
class Piece:
    """Words between two separators, with the separator before them ("", ",", "and", "then")."""

    separator: str
    words: Words


def sentences(text: str) -> list[Words]:
    """The words of each sentence. Quotation marks and brackets are dropped, arrows become "->", "&" becomes "and"."""
    tokens = _TOKEN.findall(straight_quotes(_UNSEEN.sub("", text)).replace("_", " ").replace('"', " "))
    found: list[list[str]] = [[]]
    for i, token in enumerate(tokens):
        if _ARROWS.fullmatch(token):
            found[-1].append("->")
        elif token in _BREAKS or (token == ")" and found[-1][-1:] and found[-1][-1].isdigit()):
            if token in ".)" and found[-1] and found[-1][-1].isdigit() and i + 1 < len(tokens):
                found[-1].pop()  # "1." and "2)" number the requests
            found.append([])
        elif token in "&+":
            found[-1].append("and")
        elif token in "—–:":
            found[-1].append(",")
        elif token not in "()":
            found[-1].append(token if token.endswith("s'") else token.rstrip("'"))
    return [without_picture(_joined(tuple(words))) for words in found if words]


def _joined(words: Words) -> Words:
    out: list[str] = []
    i = 0
    while i < len(words):
        for phrase in _JOINED:
            if starts_with(words[i : i + len(phrase)], phrase):
                out.append("and")
                i += len(phrase)
                break
        else:
            out.append("and" if words[i].casefold() == "plus" else words[i])
            i += 1
    return tuple(out)


def without_picture(words: Words) -> Words:
    """The words without "in the picture", "from this photo" and the like, which say nothing."""
    lower = low(words)
    out: list[str] = []
    i = 0
    while i < len(words):
        end = _picture_end(lower, i)
        if end is None:
            out.append(words[i])
            i += 1
        else:
            i = end
    start = next((k for k, word in enumerate(out) if word != ","), len(out))
    return tuple(out[start:])


def _picture_end(lower: Words, i: int) -> int | None:
    if lower[i] not in {"in", "from", "on", "of", "to", "into", "within"} or i + 2 > len(lower):
        return None
    j = i + 1
    if j < len(lower) and lower[j] in {"the", "this", "my", "that", "our"}:
        j += 1
    elif lower[i] != "in":
        return None
    if j >= len(lower) or lower[j] not in lex.PICTURE - {"frame", "drawing", "painting"}:
        return None
    after = lower[j + 1] if j + 1 < len(lower) else ","
    ends = (
        after in {",", "and", "then", "->", "so", "please"}
        or after in lex.PREPOSITIONS
        or after in lex.VERBS
        or after == "above"
    )
    if lower[i] in {"to", "into", "of"} and (i == 0 or lower[i - 1] in lex.VERBS):
        return None  # "turn it into a picture"
    return j + 1 if ends else None


def pieces(words: Words) -> list[Piece]:
    """The pieces of a sentence between ",", "and", "then", "but" and "while"; several of these together count as
    one."""
    found: list[Piece] = []
    current: list[str] = []
    separator = ""
    for word in words:
        lower = word.casefold()
        if lower in {",", "and", "then", "but", "while", "whereas"}:
            if current:
                found.append(Piece(separator, tuple(current)))
                current, separator = [], ""
            separator = _stronger(separator, lower) if found else ""
        else:
            current.append(word)
    if current:
        found.append(Piece(separator, tuple(current)))
    return found


def _stronger(first: str, second: str) -> str:
    order = ("", ",", "and", "then")
    second = "then" if second in {"while", "whereas", "but"} else second
    return max(first, second, key=order.index)


def merged(parts: list[Piece]) -> Words:
    """The words of neighbouring pieces with their separators between them."""
    out = list(parts[0].words)
    for part in parts[1:]:
        out += [part.separator, *part.words]
    return tuple(out)


def without_openers(words: Words) -> Words:
    """The words without "please", "could you", "first," and the like before them."""
    while words:
        lower = low(words)
        for opener in lex.OPENERS:
            if lower[: len(opener)] == opener:
                words = words[len(opener) :]
                break
        else:
            if (
                lower[0] in {"first", "next", "to"} and (len(words) == 1 or lower[1] in lex.VERBS or lower[1] == ",")
            ) or lower[0] == ",":
                words = words[1:]
            else:
                return words
    return words


def without_closers(words: Words) -> Words:
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
