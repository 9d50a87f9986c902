"""Requests about the scene as a whole: the weather and the time of day, and what the whole picture is to look like."""

from __future__ import annotations

from collections.abc import Mapping

from gas_planners.rules import lexicon as lex
from gas_planners.rules.items import PICTURE, Context, Item, Reading
from gas_planners.rules.noun_phrase import Phrase, is_phrase, phrase
from gas_planners.rules.qualities import are_qualities, kinds
from gas_planners.rules.rewriting import Clause, Form
from gas_planners.rules.tokens import Words, low

_SKY = Phrase(("sky",), countable=True)
_BETWEEN = lex.word_set("to into be look like it is start a an at should must")


def weather(words: Words, context: Context) -> Reading | None:
    """(make) it snow, it night, it a sunset sky; the weather to rain. None for anything else."""
    lower = low(words)
    if lex.VERBS.get(lower[0]) in {"make", "let", "into", "give"}:
        words, lower = words[1:], lower[1:]
    tail = _after_subject(words, lower) if lower else ()
    while tail and low(tail)[0] in _BETWEEN:
        tail = tail[1:]
    if not tail:
        return None
    first, last = low(tail)[0], low(tail)[-1]
    if len(tail) == 1 and first in lex.WEATHER and "like" not in lower:  # "look like rain" is about the picture
        return Reading((Item("add", target=Phrase((lex.WEATHER[first],))),), carry=("make",))
    named = len(tail) == 1 or (len(tail) == 2 and last in {"day", "weather", "night", "time"})
    if first in lex.SKY_TIMES and named:
        new = Phrase((lex.SKY_TIMES[first], "sky"), countable=True)
    elif last == "sky" and is_phrase(tail):
        new = Phrase(tail, countable=True)
    else:
        return None
    return Reading((Item("change", _SKY, new),), carry=("make",))


def _after_subject(words: Words, lower: Words) -> Words:
    """What comes after "it", "the picture", "the weather"; () where none of them begins."""
    if lower[0] in {"it", "everything"}:
        return words[1:]
    if lower[:2] in {("the", "weather"), ("the", "time")}:
        return words[4:] if lower[2:4] == ("of", "day") else words[2:]
    if lower[0] in {"the", "this"} and lower[1:2] and lower[1] in {"picture", "photo", "image", "scene"}:
        return words[2:] if lower[-1] in lex.SKY_TIMES or lower[-1] in lex.WEATHER else ()
    return ()


# --- the whole picture ------------------------------------------------------------------------------------------------


def _whole(c: Clause, *target: str) -> Reading:
    """A subtask about the whole picture, in the user's own words."""
    item = Item("change", None, Phrase(target, countable=True), where="picture", own=" ".join(c.own))
    return Reading((item,))


def _style_of(c: Clause, words: Words) -> Reading | None:
    return _whole(c, *PICTURE.words, "in", "the", "style", "of", *words)


def _style(c: Clause, words: Words) -> Reading | None:
    return _whole(c, *PICTURE.words, "in", *_with_article(words), "style") if len(words) <= 5 else None


def _bare_style(c: Clause, words: Words) -> Reading | None:
    """anime style."""
    return _style(c, words) if len(words) <= 3 and not set(low(words)) & (lex.CLOSED | lex.VERBS.keys()) else None


def _with_article(words: Words) -> Words:
    if low(words)[0] in lex.DETERMINERS:
        return words
    return tuple(phrase(("the", *words, "style")).text.split(" ")[:-1])


def _with_look(c: Clause, words: Words) -> Reading | None:
    words = words[1:] if low(words)[0] in lex.INDEFINITE and len(words) > 1 else words
    fits = len(words) <= 4 and is_phrase((*words, "look"))
    return _whole(c, *PICTURE.words, "with", *_with_article(words), "look") if fits else None


def _like(c: Clause, *words: Words | str) -> Reading:
    """make it look as if it had snowed."""
    parts = [part for word in words for part in ((word,) if isinstance(word, str) else word)]
    return _whole(c, *PICTURE.words, *parts)


def _scene(c: Clause, words: Words) -> Reading:
    """ "winter" as "a winter scene", "a watercolour" as it is."""
    bare = words[1:] if low(words)[0] in {"a", "an", "the"} and len(words) > 1 else words
    time = low(bare)[-1] in lex.TIMES and len(bare) <= 3 and not set(low(bare)) & lex.CLOSED
    found = phrase(("the", *bare, "scene") if time else words)
    item = Item("change", None, found, where="picture", own=" ".join(c.own))
    return Reading((item,))


def _becomes(c: Clause, words: Words) -> Reading | None:
    return _scene(c, words) if is_phrase(words) and not are_qualities(words) else None


def _becomes_it(c: Clause, words: Words) -> Reading | None:
    """turn this into a watercolour; "turn it into a castle" is about something that has no name."""
    medium = is_phrase(words) and phrase(words).head in lex.MEDIA
    return _becomes(c, words) if medium else None


def _picture(c: Clause, qualities: Words) -> Reading | None:
    """make the picture dreamy."""
    vague = low(qualities)[-1] in {"nice", "nicer", "prettier", "cooler"}
    return None if vague or kinds(qualities) & {"size", "shape", "length"} else _whole(c, *qualities, *PICTURE.words)


def _picture_it(c: Clause, qualities: Words) -> Reading | None:
    """make it wintry; "make it red" is about something that has no name."""
    mood = kinds(qualities) <= {"looks", "sky", "tone"} or all(word in lex.PERIODS for word in low(qualities))
    return _picture(c, qualities) if mood else None


def _weather(c: Clause, words: Words) -> Reading | None:
    return weather(("it", *words), c.context)


FORMS: Mapping[str, Form] = {
    "style-of": _style_of, "style": _style, "bare-style": _bare_style, "with-look": _with_look, "like": _like,
    "scene": _scene, "becomes": _becomes, "becomes-it": _becomes_it, "picture": _picture, "picture-it": _picture_it,
    "weather": _weather,
}  # fmt: skip
