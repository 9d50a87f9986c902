"""A caption as noun phrases and the words between them; phrases found in it, replaced, taken out and put in."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gas.phrases import singular, straight_quotes
from gas_planners import lexicon as lex
from gas_planners.noun_phrase import Phrase, Words, head_index, low, phrase, split_determiner

_TOKEN = re.compile(r"\w+(?:['-]\w+)*'?|[,;.!?:]")
_LINKS = (
    lex.PREPOSITIONS | lex.CONJUNCTIONS | lex.RELATIVES | lex.FINITE | {";", ".", "!", "?", ":", "be", "while", "as"}
)
_STANCES = frozenset(
    [
        "standing",
        "sitting",
        "lying",
        "parked",
        "walking",
        "running",
        "flying",
        "sleeping",
        "hanging",
        "swimming",
        "floating",
        "growing",
        "covered",
        "seated",
        "resting",
        "wearing",
        "holding",
        "carrying",
        "riding",
        "eating",
        "playing",
        "jumping",
        "leaning",
        "surrounded",
        "made",
        "filled",
    ]
)


@dataclass(frozen=True)
class Chunk:
    """A part of a caption: a noun phrase, or the words between two of them ("on", ", and", "is standing in")."""

    words: Words
    noun: bool

    @property
    def joins(self) -> bool:
        """Whether it stands between members of a list."""
        return not self.noun and all(word in lex.CONJUNCTIONS or word == "," for word in low(self.words))


def tokens(text: str) -> Words:
    """The words and the punctuation of a caption."""
    return tuple(_TOKEN.findall(straight_quotes(text)))


def chunks(words: Words) -> list[Chunk]:
    """The words as noun phrases and links between them, in order; joined they give the words back."""
    found: list[Chunk] = []
    current: list[str] = []
    noun = False

    def close() -> None:
        if current:
            found.append(Chunk(tuple(current), noun))
            current.clear()

    lower = low(words)
    for i, word in enumerate(lower):
        following = lower[i + 1] if i + 1 < len(lower) else ""
        stance = (
            word in _STANCES
            and (not current or noun or found == [])
            and following not in ("",)
            and not _describes(lower, i)
        )
        colours = (
            word == "and" and noun and current and low(tuple(current))[-1] in lex.COLOURS and following in lex.COLOURS
        )
        link = (word in _LINKS or stance) and not colours
        begins = word in lex.DETERMINERS and noun and bool(current)
        if (current and noun == link) or begins:
            close()
        noun = not link
        current.append(words[i])
    close()
    return found


def _describes(lower: Words, i: int) -> bool:
    """Whether a participle stands before its noun ("a sleeping cat")."""
    return bool(i) and lower[i - 1] in lex.DETERMINERS


def text(parts: list[Chunk]) -> str:
    """The caption's text again."""
    joined = " ".join(word for chunk in parts for word in chunk.words)
    return re.sub(r"\s+([,;.!?:])", r"\1", joined).strip(" ,;")


class Caption:
    """A caption that is edited phrase by phrase. `text` is what it says now."""

    def __init__(self, caption: str) -> None:
        words = tokens(caption)
        while words and words[-1] in {".", "!", ","}:
            words = words[:-1]
        self._chunks: list[Chunk | None] = list(chunks(words))
        self._taken: set[int] = set()

    @property
    def text(self) -> str:
        """What the caption says now."""
        return text([chunk for chunk in self._chunks if chunk is not None])

    def find(self, wanted: Phrase, *, take: bool = True) -> tuple[int | None, bool]:
        """(index of the noun phrase that is meant, whether others would do as well); (None, False) when there is none.

        It has the same main noun and all the other words of `wanted`. A phrase that was taken is not found again.
        """
        words = {singular(word) for word in low(wanted.words)} - lex.DETERMINERS - lex.PREPOSITIONS - {"and", ","}
        head = wanted.head
        matches: list[int] = []
        for i, chunk in enumerate(self._chunks):
            if chunk is None or not chunk.noun or i in self._taken:
                continue
            inside = {singular(word) for word in low(chunk.words)}
            after = {singular(w) for c in self._chunks[i + 1 : i + 6] if c is not None for w in low(c.words)}
            if phrase(chunk.words).head == head and words <= inside | (
                after if len(wanted.words) > head_index(wanted.words) + 1 else set()
            ):
                matches.append(i)
        if not matches:
            return None, False
        if take:
            self._taken.add(matches[0])
        return matches[0], len(matches) > 1

    def phrase_at(self, index: int) -> Phrase:
        """The noun phrase at `index`."""
        chunk = self._chunks[index]
        assert chunk is not None
        return phrase(chunk.words)

    def first(self, heads: frozenset[str]) -> Phrase | None:
        """The last noun phrase whose main noun is one of `heads` (what things stand on comes after them)."""
        for chunk in reversed(self._chunks):
            if chunk is not None and chunk.noun and phrase(chunk.words).head in heads:
                return phrase(chunk.words)
        return None

    def replace(self, index: int, new: Phrase) -> None:
        """Puts `new` in the place of the noun phrase at `index`, with "the" where that had it and the article changes nothing."""
        chunk = self._chunks[index]
        assert chunk is not None
        determiner, _ = split_determiner(chunk.words)
        definite = determiner in lex.DEFINITE and new.countable
        self._chunks[index] = Chunk((determiner, *new.words) if definite else tuple(new.text.split(" ")), True)

    def remove(self, index: int) -> None:
        """Takes out the noun phrase at `index` and the words that tied it to the rest."""
        self._chunks[index] = None
        before = next((i for i in range(index - 1, -1, -1) if self._chunks[i] is not None), None)
        after = next((i for i in range(index + 1, len(self._chunks)) if self._chunks[i] is not None), None)
        left = self._chunks[before] if before is not None else None
        right = self._chunks[after] if after is not None else None
        if left is not None and left.joins:
            if right is not None and right.joins:
                self._chunks[before if "and" not in low(left.words) else after] = None  # type: ignore[index]
            else:
                self._chunks[before] = None  # type: ignore[index]
                self._last_comma_is_and(before or 0)
        elif right is not None and right.joins:
            self._chunks[after] = None  # type: ignore[index]
        elif before is not None and left is not None and not left.noun:
            self._chunks[before] = None
        elif after is not None and right is not None and not right.noun:
            self._chunks[after] = None

    def _last_comma_is_and(self, gone: int) -> None:
        """ "a, b and c" without c is "a and b", not "a, b"."""
        rest = [i for i in range(gone) if self._chunks[i] is not None]
        if len(rest) < 2:
            return
        link = self._chunks[rest[-2]]
        if link is not None and link.words == (",",):
            following = self._chunks[gone + 2 :]
            if any(chunk is not None and not chunk.noun and not chunk.joins for chunk in following):
                self._chunks[rest[-2]] = Chunk(("and",), False)

    def add(self, new: Phrase, index: int | None) -> None:
        """Puts in "with `new`" after the noun phrase at `index`, or at the end; on a ground it joins what stands there."""
        if index is not None and self._on_ground(index):
            end = index - 2
            begin = end
            while begin - 2 >= 0 and self._is_join(begin - 1):
                begin -= 2
            if end - begin >= 2 and self._chunks[end - 1] is not None:
                self._chunks[end - 1] = Chunk((",",), False)
            chunk = self._chunks[end]
            assert chunk is not None
            self._chunks[end] = Chunk((*chunk.words, "and", *new.text.split(" ")), True)
            return
        if index is None:
            self._chunks.append(Chunk(("with", *new.text.split(" ")), True))
            return
        chunk = self._chunks[index]
        assert chunk is not None
        self._chunks[index] = Chunk((*chunk.words, "with", *new.text.split(" ")), True)

    def _is_join(self, i: int) -> bool:
        chunk = self._chunks[i]
        return chunk is not None and chunk.joins and self._chunks[i - 1] is not None

    def _on_ground(self, index: int) -> bool:
        """Whether "THINGS on GROUND" ends at `index`."""
        if index < 2:
            return False
        ground, link, thing = self._chunks[index], self._chunks[index - 1], self._chunks[index - 2]
        if ground is None or link is None or thing is None or not thing.noun:
            return False
        return phrase(ground.words).head in lex.GROUNDS and low(link.words) == ("on",)
