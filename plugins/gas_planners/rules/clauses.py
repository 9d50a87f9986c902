"""One clause: a command, a wish, a negation, an arrow, or a statement of how it should be."""

from __future__ import annotations

from dataclasses import replace

from gas_planners.rules import lexicon as lex
from gas_planners.rules.commands import addition, command, done, given, made, removal
from gas_planners.rules.items import (
    TOPIC,
    Item,
    Reading,
    after_separator,
    become,
    changed,
    changed_qualities,
    find_separator,
    noted,
    weather,
)
from gas_planners.rules.noun_phrase import (
    Words,
    are_qualities,
    is_phrase,
    low,
    phrase,
    quality_start,
    split_determiner,
    with_quality,
)
from gas_planners.rules.retouch_requests import read_look
from gas_planners.rules.tokens import without_openers


def read_clause(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """The meaning of one clause without openers, or None. `before` are the items read so far, for "it"."""
    lower = low(words)
    words = (lex.GERUNDS[lower[0]], *words[1:]) if lower[0] in lex.GERUNDS else words
    for form in (read_look, _question, _negative, _instead, _wish, _arrow, command, _statement):
        reading = form(words, before)
        if reading is not None:
            return reading
    return None


def _question(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """could the cow be a horse? what if the man had a hat? could we have a lamp here?"""
    lower = low(words)
    if lower[:2] == ("what", "if") or lower[:2] == ("how", "about"):
        rest = words[2:]
        if not rest:
            return None
        swapped = _instead(rest, before)
        if swapped is not None:
            return swapped
        if low(rest)[:2] in {("there", "was"), ("there", "were"), ("there", "is"), ("there", "are"), ("we", "had")}:
            return addition(rest[2:], ("add",))
        for i, word in enumerate(low(rest)):
            if i and word in lex.SUPPOSED:
                return _must(rest[:i], (lex.SUPPOSED[word], *rest[i + 1 :]), before)
        return read_clause(rest[1:], before) if low(rest)[:1] in {("we",), ("you",)} and len(rest) > 1 else None
    if lower[0] in {"could", "can", "should", "would", "may", "might", "shall", "let"} and len(words) > 3:
        if lower[1] in {"we", "i", "you"} and lower[2] == "have":
            return addition(words[3:], ("add",))
        if lower[1] in lex.DEFINITE and lower[0] != "let":
            for i, word in enumerate(lower):
                if i > 2 and word in {"be", "become", "have", "wear", "look", "hold", "turn", "disappear"}:
                    return _must(words[1:i], words[i:], before)
    return None


def _negative(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """no A, I don't want A, there should be no A; "don't change the rest" asks for nothing."""
    lower = low(words)
    if lower[:1] in {("no",), ("without",)} and len(words) > 1:
        rest = words[1:]
        rest = rest[1:] if low(rest)[:1] == ("more",) else rest
        return removal(rest, lower[:1])
    for start in (("there", "should", "be", "no"), ("there", "must", "be", "no"), ("let", "there", "be", "no")):
        if lower[: len(start)] == start:
            return removal(words[len(start) :], ("remove",))
    for i, word in enumerate(lower[:3]):
        negated = word in {"don't", "dont", "doesn't"} or (word == "not" and i and lower[i - 1] == "do")
        if negated:
            rest = words[i + 1 :]
            if low(rest)[:1] == ("like",) and is_phrase(rest[1:]):
                return _topic(rest[1:])
            if rest[:1] and low(rest)[0] in {"want", "need", "show", "include", "have"}:
                rest = rest[3:] if low(rest)[1:3] == ("to", "see") else rest[1:]
                return removal(rest, ("remove",))
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
            if i and are_qualities(second):
                return _not_so(read_clause(first, before), second)
            if i == 0:
                if "," not in second:
                    return None
                comma = second.index(",")
                source, target = second[:comma], _thing_wanted(second[comma + 1 :])
            else:
                source, target = second, _thing_wanted(first)
            return changed(source, target, (), before, separator="instead")
    return None


def _topic(words: Words) -> Reading:
    """Nothing asked for, but something to be spoken of ("it")."""
    return Reading((Item(TOPIC, source=phrase(words)),), cost=1.0)


def _not_so(reading: Reading | None, old: Words) -> Reading | None:
    """The reading of "make the dress yellow" when "instead of red" stands after it: it is a red dress now."""
    if reading is None or not all(item.quality and item.source for item in reading.items):
        return None
    items = [
        replace(item, source=replace(item.source, words=with_quality(item.source.words, old)))
        for item in reading.items
        if item.source
    ]
    return replace(reading, items=tuple(items))


def _thing_wanted(words: Words) -> Words:
    """ "a cat" of "I want to see a cat" and of "put a cat"."""
    words = without_openers(words)
    wish = _after_wish(words)
    words = words if wish is None else wish
    if words and words[0].casefold() in lex.VERBS and lex.VERBS[words[0].casefold()] in {"add", "let", "give"}:
        words = words[1:]
    return words[1:] if words[:1] == (",",) else words


def _after_wish(words: Words) -> Words | None:
    """The words after "I want", "I'd like", "my boss wants"; None where nobody wishes."""
    lower = low(words)
    for i, word in enumerate(lower[:4]):
        wisher = lower[0] in lex.NOT_IN_PHRASES or lower[0] in {"i'd", "we'd", "he'd", "she'd"}
        someone = lower[0] in lex.DETERMINERS and word != "like" and is_phrase(words[:i])
        if word in lex.WISHES and i and (wisher or someone):
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
        return read_clause(rest[2:], before) if len(rest) > 2 else None
    if lower[0] == "to":
        return read_clause(rest[1:], before) if len(rest) > 1 else None
    reading = done(rest, before)
    if reading is not None:
        return reading
    if lower[-1] in lex.GONE:
        end = -3 if lower[-3:-1] == ("to", "be") else -2 if lower[-2] in {"to", "be"} else -1
        return removal(rest[:end], ("remove",))
    for i, word in enumerate(lower):
        if i and word == "to" and lower[i + 1 : i + 2] and lower[i + 1] in lex.BECOME | {"look"}:
            tail = rest[i + 2 :]
            tail = tail[1:] if low(tail)[:1] in {("like",), ("into",)} else tail
            return become(rest[:i], tail, (), before)
        if i and word == "to" and lower[i + 1 : i + 2] and lower[i + 1] in {"wear", "have", "hold", "carry"}:
            return given(rest[:i], rest[i + 2 :], (), before)
    if lower[0] in {"it", "everything"}:
        return weather(rest)
    if lower[0] in lex.DEFINITE and quality_start(rest) is not None:
        return made(rest, ("make",), before)
    whose = words[: len(words) - len(rest) - 1]
    if low(words)[len(whose)] == "needs" and is_phrase(whose) and lower[0] in lex.INDEFINITE:
        return given(whose, rest, (), before)
    return addition(rest, ("add",))


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
    return changed(source, words[at + 1 :], (), before, separator="->")


def _statement(words: Words, before: tuple[Item, ...]) -> Reading | None:
    """A should be B, A must go, there should be B, A becomes B; A into B and A to B without any verb."""
    lower = low(words)
    if lower[0] in {"there", "there's"}:
        if lower[1:3] in {("should", "be"), ("must", "be"), ("could", "be")}:
            return addition(words[3:], ("add",))
        rest = words[1:] if lower[0] == "there's" else words[2:] if lower[1:2] in {("is",), ("are",)} else ()
        return _topic(rest) if is_phrase(rest) else None
    for i, word in enumerate(lower[:12]):
        if i and word in {"is", "are"} and is_phrase(words[:i]) and not any(w in lex.RELATIVES for w in lower[:i]):
            told = words[i + 1 :]
            _, subject = split_determiner(words[:i])
            return _topic(("the", *with_quality(subject, told)) if are_qualities(told) else words[:i])
    for i, word in enumerate(lower):
        if not i:
            continue
        must = word in lex.MODALS or (
            word in {"has", "have", "needs", "need", "ought"} and lower[i + 1 : i + 2] == ("to",)
        )
        if must:
            tail = words[i + 1 :]
            tail = tail[1:] if low(tail)[:1] == ("to",) else tail
            return _must(words[:i], tail, before)
        if word in {"becomes", "become"} and i + 1 < len(words):
            return become(words[:i], words[i + 1 :], (), before)
    if lower[0] in lex.VERBS or lower[0] in lex.OTHER_VERBS:
        return None
    at = find_separator(words, "into", "to")
    if at is None:
        return _coloured(words)
    if not _stands_alone(words[:at]):
        return None
    return changed(words[:at], after_separator(words, at), (), before, separator=words[at].casefold())


def _coloured(words: Words) -> Reading | None:
    """the left car blue; "the blue car" says nothing."""
    start = quality_start(words)
    if start is None or not all(word in lex.COLOURS | lex.SHADES for word in low(words[start:])):
        return None
    return noted(changed_qualities(words[:start], words[start:], ("make",)), (), cost=0.5)


def _stands_alone(words: Words) -> bool:
    """Whether a source without any verb is believable: a few words, no verb among the first of them."""
    return len(words) <= 8 and not any(
        word in lex.VERBS or word in lex.OTHER_VERBS or word in lex.WISHES for word in low(words)[:1]
    )


def _must(subject: Words, tail: Words, before: tuple[Item, ...]) -> Reading | None:
    lower = low(tail)
    if not lower:
        return None
    if (
        lower[0] in {"look", "be", "have"}
        and lower[1:2]
        and lower[1] in {"better", "good", "nice", "great", "cool", "nicer"}
    ):
        rest = tail[2:]
        if low(rest)[:1] == ("with",):
            return given(subject, rest[1:], (), before)
        return become(subject, rest[1:] if low(rest)[:1] in {("in",), ("as",)} else rest, (), before)
    if lower[0] in lex.GONE or lower[:2] in {("be", word) for word in lex.GONE}:
        return removal(subject, ("remove",))
    found = weather((*subject, *(tail[1:] if lower[0] == "be" else tail)))
    if found is not None:
        return found
    if (
        lower[0] == "be"
        and len(lower) > 1
        and lower[1] in lex.PARTICIPLES
        and not (lower[1] == "made" and lower[2:3] == ("of",))
    ):
        rest = tail[2:]
        if rest or lex.PARTICIPLES[lower[1]] in {"remove", "delete", "erase", "hide"}:
            return read_clause((lex.PARTICIPLES[lower[1]], *subject, *rest), before)
    if lower[0] in {"be", "become", "look"}:
        rest = tail[1:]
        rest = rest[1:] if low(rest)[:1] == ("like",) else rest
        return become(subject, rest, (), before)
    if lower[0] in {"turn", "change"} and lower[1:2] and lower[1] in {"into", "to"}:
        return become(subject, tail[2:], (), before)
    if lower[0] in {"have", "wear", "hold", "carry"}:
        return given(subject, tail[1:], (), before)
    return None
