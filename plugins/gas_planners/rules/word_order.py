"""Other orders of words brought into the usual one: "on the table put a vase", "make blue the car", "the dog, make it
a cat"."""

from __future__ import annotations

from gas_planners.rules import lexicon as lex
from gas_planners.rules.noun_phrase import Words, are_qualities, is_phrase, low

_SMALL_AMOUNTS = frozenset({"few", "some", "many", "several", "most", "couple", "lot", "lots", "number"})


def plain_order(words: Words) -> Words:
    """The words of a clause with the command first; as they are when they are so already, or when nothing fits."""
    for reorder in (_polite, _fronted, _topic, _quality_first):
        words = reorder(words)
    return words


def simplified(words: Words) -> Words:
    """The words of a sentence without the commas around ", which is red,", and with "the larger of the two dogs" as
    "the larger dog", "a few of the apples" as "the apples"."""
    out: list[str] = []
    lower = low(words)
    i = 0
    closing = False
    while i < len(words):
        word = lower[i]
        if word == "," and i + 2 < len(words) and lower[i + 1] in {"which", "who"}:
            closing = True
        elif word == "," and closing:
            closing = False
        elif word in _SMALL_AMOUNTS and lower[i + 1 : i + 3] in {("of", "the"), ("of", "these"), ("of", "those")}:
            if out and out[-1].casefold() == "a":
                out.pop()
            i += 1  # "of"; the article stays
        elif word == "of" and lower[i + 1 : i + 2] == ("the",) and lower[i + 2 : i + 3] and lower[i + 2] in lex.NUMBERS:
            if out and len(out) > 1 and out[-2].casefold() == "the" and are_qualities((out[-1],)):
                i += 2
                if i + 1 < len(words):
                    out.append(singular_like(words[i + 1]))
                    i += 1
            else:
                out.append(words[i])
        else:
            out.append(words[i])
        i += 1
    return tuple(out)


def singular_like(word: str) -> str:
    """The singular of a noun, in capitals if it is."""
    from gas.plan.phrases import singular

    one = singular(word.casefold())
    return one.upper() if word.isupper() else one


def _polite(words: Words) -> Words:
    """What comes after "I'd be grateful if you could"."""
    lower = low(words)
    for i in range(min(len(lower) - 2, 10)):
        if lower[i] == "if" and lower[i + 1] in {"you", "we"} and lower[i + 2] in {"could", "would", "can"}:
            return words[i + 3 :] or words
    return words


def _fronted(words: Words) -> Words:
    """on the table (,) put a vase; with a cat replace the dog."""
    lower = low(words)
    if not lower or lower[0] not in lex.PREPOSITIONS - {"without", "instead", "like"}:
        return words
    for i in range(2, len(lower) - 1):
        if lower[i] in lex.VERBS and (lower[i + 1] in lex.DETERMINERS or lower[i - 1] not in lex.DETERMINERS):
            front = words[:i]
            front = front[:-1] if front[-1] == "," else front
            noun = next((k for k in range(1, len(front)) if is_phrase(front[k:])), None)
            if noun is not None and noun <= 3:
                return (*words[i:], *front)
    return words


def _topic(words: Words) -> Words:
    """the dog, make it a tiger."""
    lower = low(words)
    if "," not in words:
        return words
    at = words.index(",")
    head, tail = words[:at], words[at + 1 :]
    if is_phrase(head) and tail and low(tail)[0] in lex.VERBS and lower[0] not in lex.VERBS:
        for i, word in enumerate(low(tail)):
            if i and word in {"it", "them"}:
                return (*tail[:i], *head, *tail[i + 1 :])
    return words


def _quality_first(words: Words) -> Words:
    """make blue the car, colour in red the door."""
    lower = low(words)
    if not lower or lex.VERBS.get(lower[0]) not in {"paint", "make"}:
        return words
    begin = 2 if lower[1:2] == ("in",) else 1
    for i in range(begin + 1, len(words)):
        if lower[i] in lex.DEFINITE and are_qualities(words[begin:i]):
            return (words[0], *words[i:], *words[begin:i])
    return words
