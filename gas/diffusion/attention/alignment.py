"""Which tokens of one prompt stand for which tokens of another, word by word: what Prompt-to-Prompt needs to carry
attention over."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gas.diffusion.attention.phrase_tokens import phrase_tokens
from gas.errors import InputRefused
from gas.remedies import Command, Option, Remedy

# A word, or one mark of punctuation.
_UNIT = re.compile(r"[^\W_]+|[^\w\s]|_")


@dataclass(frozen=True)
class TokenMap:
    """How attention to a source prompt's tokens becomes attention to a target prompt's.

    `carried` is `(source tokens, target tokens)`: the share of each source token's attention that a target token
    gets. `own` is `(target tokens,)`: 1 for a token that stands for nothing in the source and keeps its own attention.
    """

    carried: Tensor
    own: Tensor

    @property
    def same(self) -> bool:
        """Whether every token stands for itself: nothing is to be changed."""
        return bool((self.carried == torch.eye(len(self.carried))).all()) and not bool(self.own.any())


def replaced_words(tokenizer: Any, source: str, target: str, max_tokens: int) -> TokenMap:
    """The map for prompts of equal numbers of words, each standing for the one in its place ("a red car" to "a blue
    car"); words are what white space separates.

    Words of equal numbers of tokens are carried token by token. Of others each target token gets an equal part of all
    source tokens, so that probabilities still sum to 1 (`seq_aligner.py` of google/prompt-to-prompt). What follows the
    words - the end mark and the filling - is carried in order. Prompts are as the model sees them, cut to
    `max_tokens`. InputRefused (exit 3) when the numbers of words differ.
    """
    words = source.split(), target.split()
    if len(words[0]) != len(words[1]):
        raise InputRefused(
            f"words cannot be replaced one by one: {source!r} has {len(words[0])} words, "
            f"{target!r} has {len(words[1])}",
            Remedy(
                "equal_words_or_refine",
                "write both prompts with equally many words, or set {mode}, which keeps what both have in common",
                mode=Option({"mode": "refine"}),
            ),
        )
    before = _Tokens(tokenizer, source, re.compile(r"\S+"), max_tokens)
    after = _Tokens(tokenizer, target, re.compile(r"\S+"), max_tokens)
    carried = torch.zeros(max_tokens, max_tokens)
    carried[0, 0] = 1
    for a, b in zip(before.places, after.places, strict=True):
        _carry(carried, a, b)
    _carry_tail(carried, before.end, after.end)
    return TokenMap(carried, _unreached(carried, after))


def refined_words(tokenizer: Any, source: str, target: str, max_tokens: int) -> TokenMap:
    """The map for prompts that have words in common, in the same order ("a car" to "a red car"): these are carried,
    the target's other words keep their own attention.

    The words in common are those of the best global alignment of words and punctuation marks (Needleman and Wunsch
    1970; equal 1, unequal -1, gap 0, as `seq_aligner.py` of google/prompt-to-prompt does with tokens); case does not
    matter. Prompts are as the model sees them, cut to `max_tokens`.
    """
    before = _Tokens(tokenizer, source, _UNIT, max_tokens)
    after = _Tokens(tokenizer, target, _UNIT, max_tokens)
    carried = torch.zeros(max_tokens, max_tokens)
    carried[0, 0] = 1
    for i, j in _in_common(before.words, after.words):
        _carry(carried, before.places[i], after.places[j])
    _carry_tail(carried, before.end, after.end)
    return TokenMap(carried, _unreached(carried, after))


def differing_tokens(tokenizer: Any, source: str, target: str, max_tokens: int) -> tuple[list[int], list[int]]:
    """Positions of the source's and of the target's tokens whose words the two prompts have not in common, aligned as
    by `refined_words`."""
    before = _Tokens(tokenizer, source, _UNIT, max_tokens)
    after = _Tokens(tokenizer, target, _UNIT, max_tokens)
    same = _in_common(before.words, after.words)
    kept = {i for i, _ in same}, {j for _, j in same}
    return before.outside(kept[0]), after.outside(kept[1])


def word_factors(tokenizer: Any, prompt: str, factors: Mapping[str, float], max_tokens: int) -> Tensor:
    """`(max_tokens,)`: how much each token of `prompt` counts, from factors for its words or phrases; 1 elsewhere.

    A word counts wherever it stands. InputRefused (exit 3) when a word is not in what the model sees of the prompt.
    """
    weights = torch.ones(max_tokens)
    for phrase, factor in factors.items():
        found = phrase_tokens(tokenizer, prompt, phrase, max_tokens)
        if not found:
            raise InputRefused(
                f"{phrase!r} is to be reweighted, but is not in what the model sees of {prompt!r}",
                Remedy(
                    "name_prompt_words",
                    "name words as they stand in the target prompt, which {plan} shows",
                    plan=Command("plan"),
                ),
            )
        for place in found:
            weights[list(place)] *= factor
    return weights


class _Tokens:
    """The units of a prompt and the positions of the tokens that belong to each, as far as the model sees them."""

    def __init__(self, tokenizer: Any, prompt: str, unit: re.Pattern[str], max_tokens: int) -> None:
        ids = tokenizer(prompt, return_offsets_mapping=True, verbose=False)
        self.end = min(len(ids.input_ids), max_tokens) - 1
        found = list(unit.finditer(prompt))
        self.words = [match.group().lower() for match in found]
        # A token belongs to the unit in which it begins: "'s" is one token of CLIP and two units here.
        starts = [(position, ids.offset_mapping[position][0]) for position in range(1, self.end)]
        self.places = [tuple(p for p, start in starts if m.start() <= start < m.end()) for m in found]

    def outside(self, kept: Collection[int]) -> list[int]:
        """Positions of the tokens of all units but those that are `kept`."""
        return [position for i, place in enumerate(self.places) if i not in kept for position in place]


def _carry(carried: Tensor, source: Sequence[int], target: Sequence[int]) -> None:
    if len(source) == len(target):
        for i, j in zip(source, target, strict=True):
            carried[i, j] = 1
    elif source and target:
        for i in source:
            carried[i, list(target)] = 1 / len(target)


def _carry_tail(carried: Tensor, source: int, target: int) -> None:
    """The end marks at `source` and `target` and what follows them: in order, and what the longer tail has too much
    goes to the last place, so that no attention is lost."""
    last = len(carried) - 1
    for i in range(source, last + 1):
        carried[i, min(target + i - source, last)] = 1


def _unreached(carried: Tensor, target: _Tokens) -> Tensor:
    """1 for the target's words that no source token stands for."""
    own = torch.zeros(len(carried))
    own[: target.end] = (carried[:, : target.end].sum(0) == 0).float()
    return own


def _in_common(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """The pairs of equal words of the best alignment, in order; of several as good the one that pairs words latest
    from the left."""
    # With gap 0 and unequal -1, leaving both words out is always better than pairing unequal ones.
    best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in reversed(range(len(a))):
        for j in reversed(range(len(b))):
            paired = best[i + 1][j + 1] + 1 if a[i] == b[j] else 0
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    pairs = []
    i = j = 0
    while i < len(a) and j < len(b):
        if a[i] == b[j] and best[i][j] == best[i + 1][j + 1] + 1:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i + 1][j] == best[i][j]:
            i += 1
        else:
            j += 1
    return pairs
