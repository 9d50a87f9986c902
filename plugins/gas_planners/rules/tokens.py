"""A request as sentences of words, and sentences as pieces between commas and conjunctions. Linear in the text's
length."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gas_planners.rules import lexicon as lex

Words = tuple[str, ...]


class Word(str):
    """A word as it was typed, with where it begins and ends in the request."""

    __slots__ = ("end", "start")
    start: int
    end: int

    @classmethod
    def at(cls, text: str, start: int, end: int) -> Word:
        """The word `text`, which stands from `start` to `end`."""
        word = cls(text)
        word.start, word.end = start, end
        return word


_ARROW = r"[-=]{0,3}>{1,2}|[→⇒⟶➔➜⟹]"
_QUOTED = r"(?<!\w)[\"“„«»”]([^\"“”„«»\n]{1,120})[\"”“»«]|(?<!\w)['‘‛](\S(?:[^\n]{0,118}?\S)?)['’](?!\w)"
_ABBREVIATION = r"(?:[A-Za-z]\.){2,}|\b(?:Mr|Mrs|Ms|Dr|St|Prof|Jr|Sr|Mt|No|Nr|vs|approx)\.(?=\s*\S)"
_AMOUNT = r"\d+(?:[.,]\d+)?\s?(?:%|°|×|(?:x|px|percent|pixels?|degrees?|times|cm|inch|inches)\b)"
_WORD = r"\w+(?:['’/-]\w+)*['’]?"
_MARK = r"[,;.!?:\n&+()]|[—–]"
_TOKEN = re.compile(
    rf"(?P<arrow>{_ARROW})|(?P<quoted>{_QUOTED})|(?P<abbreviation>{_ABBREVIATION})|(?P<smile>[:;=]-?[)(DPp]+(?!\w)|<3)"
    rf"|(?P<amount>{_AMOUNT})|(?P<word>{_WORD})|(?P<mark>{_MARK})|(?P<symbol>[^\w\s,;.!?:&+()]+)",
    re.IGNORECASE,
)
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe0f\ufeff]")  # zero width, direction
_SHORT = {
    "teh": "the", "hte": "the", "adn": "and", "nad": "and", "u": "you", "ur": "your", "pls": "please", "plz": "please",
    "wanna": "want to", "gonna": "going to", "gimme": "give me", "cuz": "because", "w/o": "without", "im": "i am",
    "can't": "can not", "cannot": "can not", "won't": "will not", "wont": "will not", "lets": "let's",
    **{f"{one}'s": f"{one} is" for one in ("it", "that", "there", "here", "he", "she", "what", "where", "how")},
    **{f"{one}nt": f"{one} not" for one in ("do", "does", "did", "is", "are", "should", "would", "could", "must")},
}  # fmt: skip
"""Short and wrong spellings that stand for other words."""
_ENDINGS = {"n't": "not", "'d": "would", "'ll": "will", "'ve": "have", "'re": "are", "'m": "am"}
_BREAKS = frozenset(";.!?\n")
_LITERAL = '"'
SYMBOL = "\x00"
"""Begins a token that is no word: an emoji, an amount such as "20%"."""


@dataclass(frozen=True)
class Text:
    """A request cut into sentences. `unread` are the emoji around them, which ask for nothing."""

    typed: str
    sentences: tuple[Words, ...]
    unread: tuple[str, ...] = ()

    def as_typed(self, words: Sequence[str]) -> str:
        """The words as they stand in the request, with quotation marks and all, on one line."""
        places = [word for word in words if isinstance(word, Word)]
        shown = self.typed[places[0].start : places[-1].end] if places else " ".join(words)
        return " ".join(shown.split())


def low(words: Words) -> Words:
    """The words in lower case."""
    return tuple(word.casefold() for word in words)


def is_literal(word: str) -> bool:
    """Whether a word is a quotation that is kept as it is."""
    return word.startswith(_LITERAL)


def read_text(request: str) -> Text:
    """The sentences of a request. Arrows become "->", "&" becomes "and"; what is quoted is one word where it would
    otherwise be read as part of the sentence."""
    typed = _UNSEEN.sub("", request).replace("_", " ")
    found: list[list[str]] = [[]]
    matches = list(_TOKEN.finditer(typed))
    for i, match in enumerate(matches):
        kind, token = str(match.lastgroup), match[0]

        def put(text: str, match: re.Match[str] = match) -> None:
            found[-1].append(Word.at(text, match.start(), match.end()))

        if kind == "arrow":
            put("->")
        elif kind == "quoted":
            found[-1] += _quoted(match)
        elif kind in {"smile", "amount"} or (kind == "symbol" and token != "-" and not _is_bullet(token, found[-1])):
            put(SYMBOL + token)
        elif token in _BREAKS or (token == ")" and found[-1][-1:] and _is_number(found[-1])):
            if token in ".)" and _is_number(found[-1]) and i + 1 < len(matches):
                found[-1].pop()  # "1." and "2)" number the requests
            found.append([])
        elif token in "&+":
            put("and")
        elif token in ",—–:" or (token == "-" and found[-1]):
            put(",")
        elif kind == "abbreviation":
            put(token)
        elif kind == "word":
            for word in _written_out(token.replace("’", "'")):
                put(word)
    unread: list[str] = []
    sentences = [without_picture(_without_symbols(words, unread)) for words in found]
    return Text(typed, tuple(sentence for sentence in sentences if sentence), tuple(unread))


def _written_out(word: str) -> list[str]:
    """ "do", "not" for "don't"; the word itself where it is not short for others."""
    short = _SHORT.get(word.casefold())
    if short is not None:
        return short.split(" ")
    for ending, full in _ENDINGS.items():
        if word.casefold().endswith(ending) and len(word) > len(ending):
            return [word[: -len(ending)], full]
    return [word if word.endswith("s'") else word.rstrip("'")]


def _is_number(words: list[str]) -> bool:
    """Whether a sentence so far ends with the number of the next one."""
    return bool(words) and words[-1].isdigit() and (len(words) == 1 or words[-2] not in lex.DETERMINERS)


def _is_bullet(token: str, words: list[str]) -> bool:
    return not words and token in {"-", "*", "•", "·", "–", "#"}


def _quoted(match: re.Match[str]) -> list[str]:
    """What stands in quotation marks: its words where they name a thing plainly ("the dog"), else one literal word."""
    group = next(i for i in range(2, 10) if match.re.groups >= i and match[i] is not None and match[i] != match[0])
    inner, offset = match[group], match.start(group)
    words = [
        Word.at(part[0].replace("’", "'"), offset + part.start(), offset + part.end())
        for part in re.finditer(rf"{_ABBREVIATION}|{_WORD}", inner)
    ]
    lower = low(tuple(words))
    plain = lower[1:] if lower[:1] and lower[0] in {"a", "an", "the"} else lower
    free = plain and not any(
        w in lex.CLOSED or (w in lex.ADJECTIVES and plain is lower) or w in lex.VERBS or w in lex.GONE or "'" in w
        for w in plain
    )
    if free and not re.search(r"[^\w\s'’-]", re.sub(_ABBREVIATION, "", inner)):
        return list(words)
    return [Word.at(f'"{" ".join(inner.split())}"', match.start(), match.end())]


def _without_symbols(words: list[str], unread: list[str]) -> Words:
    """The words without the emoji and smileys at either end or beside a comma, which go to `unread`."""
    out: list[str] = []
    for i, word in enumerate(words):
        decoration = word.startswith(SYMBOL) and not any(c.isalnum() or c == "%" for c in word)
        before = [w for w in words[:i] if w != "," and not w.startswith(SYMBOL)]
        rest = next((w for w in words[i + 1 :] if not w.startswith(SYMBOL)), ",")
        stands_for_a_word = bool(before) and before[-1].casefold() in lex.CLOSED
        if decoration and not stands_for_a_word and (rest.casefold() in lex.CLOSED or not before):
            unread.append(word[1:])
        else:
            out.append(word)
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
    if j >= len(lower) or lower[j] not in lex.THE_PICTURE:
        return None
    if lower[i] in {"to", "into", "of", "in"} and (i == 0 or lower[i - 1] in lex.VERBS) and lower[i] != "in":
        return None  # "turn it into a picture"
    if lower[i] in {"of", "in", "on", "from"} and i and _asks_for_a_look(lower[:i]):
        return None  # "the contrast of the photo"
    after = lower[j + 1] if j + 1 < len(lower) else ","
    before_clause = {",", "and", "then", "->", "so", "please", "above", "but"} | lex.PREPOSITIONS
    return j + 1 if after in before_clause or after in lex.VERBS else None


def _asks_for_a_look(before: Words) -> bool:
    return before[-1] in {
        "contrast", "saturation", "brightness", "colours", "colors", "colour", "color", "exposure", "warmth",
        "sharpness", "temperature", "vibrance", "rest",
    }  # fmt: skip


# --- pieces -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """Words between two separators, with the separator before them ("", ",", "and", "then")."""

    separator: str
    words: Words


_SEPARATORS = {",": ",", "and": "and", "then": "then", "but": "then", "while": "then", "whereas": "then"}


def pieces(words: Words) -> list[Piece]:
    """The pieces of a sentence between ",", "and", "then", "but" and "while"; several of these together count as
    one."""
    order = ("", ",", "and", "then")
    found: list[Piece] = []
    current: list[str] = []
    separator = ""
    for i, word in enumerate(words):
        lower = word.casefold()
        so = (
            lower == "so"
            and i
            and low(words[i + 1 : i + 2]) in {("please",), ("can",), ("could",), ("make",), ("change",)}
        )
        if lower in _SEPARATORS or so:
            if current:
                found.append(Piece(separator, tuple(current)))
                current, separator = [], ""
            separator = max(separator, _SEPARATORS.get(lower, "then"), key=order.index) if found else ""
        else:
            current.append(word)
    if current:
        found.append(Piece(separator, tuple(current)))
    return found


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
        opener = next((o for o in lex.OPENERS if lower[: len(o)] == o), None)
        if opener is not None:
            words = words[len(opener) :]
        elif lower[0] == "," or (
            lower[0] in {"first", "next", "to"} and (len(words) == 1 or lower[1] in lex.VERBS or lower[1] == ",")
        ):
            words = words[1:]
        else:
            break
    return words


def without_closers(words: Words) -> Words:
    """The words without "please", "if possible", "as well" and the like after them."""
    while words:
        lower = low(words)
        closer = next((c for c in lex.CLOSERS if lower[-len(c) :] == c), None)
        if closer is not None and not (len(words) > len(closer) and lower[-len(closer) - 1] in {"the", "a"}):
            words = words[: -len(closer)]
        elif lower[-1] == ",":
            words = words[:-1]
        else:
            break
    return words
