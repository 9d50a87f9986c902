"""A caption as noun phrases and the words between them; phrases found in it, replaced, taken out and put in."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gas.plan.phrases import singular, straight_quotes
from gas_planners.rules import lexicon as lex
from gas_planners.rules.noun_phrase import Phrase, head_index, phrase, split_determiner
from gas_planners.rules.tokens import Words, low

_TOKEN = re.compile(r"\w+(?:['-]\w+)*'?|[,;.!?:]")
_LINKS = (
    lex.PREPOSITIONS | lex.CONJUNCTIONS | lex.RELATIVES | lex.FINITE | {";", ".", "!", "?", ":", "be", "while", "as"}
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
            (word in lex.STANCES or word in lex.ACTIVITIES)
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


@dataclass(eq=False)
class Node:
    """A chunk of a caption that is being edited. `taken`: a request has spoken of it, or put it there."""

    chunk: Chunk
    taken: bool = False

    @property
    def phrase(self) -> Phrase:
        """The noun phrase that it is."""
        return phrase(self.chunk.words)


class Caption:
    """A caption that is edited phrase by phrase. `text` is what it says now."""

    def __init__(self, caption: str) -> None:
        words = tokens(caption)
        while words and words[-1] in {".", "!", ","}:
            words = words[:-1]
        self._nodes = [Node(chunk) for chunk in chunks(words)]

    def __len__(self) -> int:
        """The number of noun phrases and links."""
        return len(self._nodes)

    @property
    def text(self) -> str:
        """What the caption says now."""
        return text([node.chunk for node in self._nodes])

    def find(self, wanted: Phrase, *, take: bool = True) -> tuple[Node | None, bool]:
        """(the noun phrase that is meant, whether others would do as well); (None, False) when there is none.

        It has the same main noun and all the other words of `wanted`, which may stand shortly after it ("on the left").
        A phrase that was taken is not found again.
        """
        words = {singular(word) for word in low(wanted.words)} - lex.DETERMINERS - lex.PREPOSITIONS - {"and", ","}
        goes_on = len(wanted.words) > head_index(wanted.words) + 1
        matches: list[Node] = []
        for i, node in enumerate(self._nodes):
            if not node.chunk.noun or node.taken or node.phrase.head != wanted.head:
                continue
            near = self._nodes[i : i + 6] if goes_on else [node]
            if words <= {singular(word) for other in near for word in low(other.chunk.words)}:
                matches.append(node)
        if matches and take:
            matches[0].taken = True
        return (matches[0], len(matches) > 1) if matches else (None, False)

    def last(self, heads: frozenset[str]) -> Phrase | None:
        """The last noun phrase whose main noun is one of `heads`: what things stand on comes after them."""
        found = [
            node.phrase for node in self._nodes if node.chunk.noun and not node.taken and node.phrase.head in heads
        ]
        return found[-1] if found else None

    def replace(self, node: Node, new: Phrase) -> None:
        """Puts `new` in the place of the noun phrase `node`, with "the" where that has it and "a" would stand."""
        determiner, _ = split_determiner(node.chunk.words)
        definite = determiner in lex.DEFINITE and new.countable
        node.chunk = Chunk((determiner, *new.words) if definite else tuple(new.text.split(" ")), True)

    def remove(self, node: Node) -> None:
        """Takes out the noun phrase `node` and the words that tie it to the rest."""
        at = self._nodes.index(node)
        left = self._nodes[at - 1] if at else None
        right = self._nodes[at + 1] if at + 1 < len(self._nodes) else None
        gone = [node]
        if left is not None and left.chunk.joins:
            between = right is not None and right.chunk.joins
            gone.append(right if between and "and" in low(left.chunk.words) else left)  # type: ignore[arg-type]
            if not between:
                self._end_list(at - 2)
        elif right is not None and right.chunk.joins and (left is None or low(right.chunk.words) != (",",)):
            gone.append(right)
        elif left is not None and not left.chunk.noun:
            gone.append(left)
        elif right is not None and not right.chunk.noun:
            gone.append(right)
        self._nodes = [other for other in self._nodes if other not in gone]

    def _end_list(self, at: int) -> None:
        """ "a, b and c on d" without c is "a and b on d"; `at` is where b is. Lists with commas only stay so."""
        comma = self._nodes[at - 1] if at >= 2 else None
        if comma is not None and comma.chunk.words == (",",) and "and" in low(self._nodes[at + 1].chunk.words):
            comma.chunk = Chunk(("and",), False)

    def add(self, new: Phrase, node: Node | None) -> None:
        """Puts in "with `new`" after the noun phrase `node`, or at the end; on a ground it joins the things that stand
        there."""
        added = Node(Chunk(tuple(new.text.split(" ")), True), taken=True)
        at = len(self._nodes) if node is None else self._nodes.index(node) + 1
        if node is None or not self._on_ground(at - 1):
            self._nodes[at:at] = [Node(Chunk(("with",), False)), added]
            return
        last = at - 3  # the last thing of "THINGS on GROUND"
        if last >= 2 and self._nodes[last - 1].chunk.joins:
            self._nodes[last - 1].chunk = Chunk((",",), False)
        self._nodes[last + 1 : last + 1] = [Node(Chunk(("and",), False)), added]

    def _on_ground(self, at: int) -> bool:
        """Whether "THINGS on GROUND" ends at `at`."""
        if at < 2:
            return False
        thing, link, ground = (node.chunk for node in self._nodes[at - 2 : at + 1])
        return thing.noun and low(link.words) == ("on",) and phrase(ground.words).head in lex.GROUNDS
