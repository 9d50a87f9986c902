"""One caption for several phrases, and which of its tokens speak for which phrase.

The caption is made here, so where each phrase stands is known and never searched for: the same words twice, a phrase
within another, an apostrophe or a hyphen make no difference (searching a cleaned copy of the caption is where the
reference code of Ground-A-Score goes wrong, `inference_on_a_image.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gas.errors import InputRefused
from gas.plan.phrases import main_noun, singular, straight_quotes, words

END = " . "
# GroundingDINO reads a full stop or a question mark as the end of a phrase, wherever it stands.
_ENDS = re.compile(r"[.?\s\x00-\x1f\x7f]+")
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")


@dataclass(frozen=True)
class Tokens:
    """Which tokens of a caption speak for a phrase: all of it, and its main noun alone. Indices count from 0 = [CLS].

    `unread` are the words that the vocabulary does not have, or that it spells behind another word, where the main
    noun is among them.
    """

    all: tuple[int, ...]
    noun: tuple[int, ...]
    unread: str = ""


@dataclass(frozen=True)
class Caption:
    """A caption that the text encoder reads whole, and the tokens of each of its phrases, in order."""

    text: str
    phrases: tuple[str, ...]
    tokens: tuple[Tokens, ...]


def clean(phrase: str) -> str:
    """The phrase as it stands in a caption: lower case, straight quotes, single spaces, without full stops and
    question marks."""
    return " ".join(_ENDS.sub(" ", straight_quotes(phrase).lower()).split())


def captions(phrases: Sequence[str], tokenizer: Any, limit: int) -> list[Caption]:
    """As few captions as hold all the phrases (in their order, as they come from `clean`) in `limit` tokens each.

    InputRefused (exit 3) when one phrase alone is longer: the model would read only its beginning.
    """
    out: list[Caption] = []
    group: list[str] = []
    for phrase in phrases:
        if _length([phrase], tokenizer) > limit:
            raise InputRefused(
                f"{phrase[:60]!r}… has {_length([phrase], tokenizer) - 3} tokens, the detector reads {limit - 3}",
                "use a shorter phrase",
            )
        if group and _length([*group, phrase], tokenizer) > limit:
            out.append(caption(group, tokenizer))
            group = []
        group.append(phrase)
    return [*out, caption(group, tokenizer)] if group else out


def caption(phrases: Sequence[str], tokenizer: Any) -> Caption:
    """The phrases as one caption, "a red car . grass .", with the tokens of each."""
    text = "".join(phrase + END for phrase in phrases).rstrip()
    encoded = tokenizer(text, return_offsets_mapping=True, verbose=False)
    unknown, found, start = tokenizer.unk_token_id, [], 0
    for phrase in phrases:
        end = start + len(phrase)
        places = {
            index: (first - start, last - start)
            for index, (first, last) in enumerate(encoded.offset_mapping)
            if start <= first < last <= end
        }
        nouns = [
            index for index, (first, last) in places.items() if any(a <= first and last <= b for a, b in _noun(phrase))
        ]
        read = {index for index in places if encoded.input_ids[index] != unknown}
        if _looks_like_another([places[index] for index in nouns]):
            read -= set(nouns)
        unread = "" if read & set(nouns or places) else " ".join(phrase[a:b] for a, b in _noun(phrase)) or phrase
        found.append(Tokens(tuple(places), tuple(nouns) or tuple(places), unread))
        start = end + len(END)
    return Caption(text, tuple(phrases), tuple(found))


def _looks_like_another(pieces: Sequence[tuple[int, int]]) -> bool:
    """Whether a word of these pieces (first and last character) is a shorter word and then one letter after another:
    the "car" of "car-p-e-t" is no car. A vocabulary that has a word keeps it whole or in syllables; one that is spelled
    from its first letter on is like no other word, and its score says so."""
    return len(pieces) > 2 and pieces[0][1] - pieces[0][0] > 1 and all(b - a == 1 for a, b in pieces[1:])


def _length(phrases: Sequence[str], tokenizer: Any) -> int:
    text = "".join(phrase + END for phrase in phrases).rstrip()
    return len(tokenizer(text, verbose=False).input_ids)


def _noun(phrase: str) -> list[tuple[int, int]]:
    """Where the main noun of the phrase stands; nowhere when it has none that can be told."""
    noun = main_noun(phrase)
    for match in _WORD.finditer(phrase):
        # The word itself and not its possessive: "man's shirt" speaks of a shirt.
        if noun is not None and [singular(word) for word in words(match.group())] == [noun]:
            return [match.span()]
    return []
