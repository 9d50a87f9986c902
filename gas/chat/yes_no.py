"""Yes or no, from a model that was asked a question: the word, and how probable it was (VQAScore, arXiv 2404.01291)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from gas.chat.replies import Reply, Token

MAX_TOKENS = 16
"""The answer's tokens among which the word is looked for: further on it is part of a sentence."""
_YES = frozenset({"yes", "true", "y"})
_NO = frozenset({"no", "false", "n"})
_WORD = re.compile(r"[^\W\d_]+")
_LINE = re.compile(r"\W*(?:(?:question\W*)?(?P<number>\d{1,4})\W*)?(?P<word>yes|no|true|false)\b\W*", re.IGNORECASE)


def said_yes(reply: Reply) -> bool | None:
    """Whether the answer is yes (True), no (False), or neither of the two (None): the first such word in its first
    sixteen."""
    for word in _WORD.findall(reply.answer.lower())[:MAX_TOKENS]:
        if word in _YES or word in _NO:
            return word in _YES
    return None


def probability_of_yes(reply: Reply) -> float | None:
    """P(yes) / (P(yes) + P(no)) in [0, 1], at the first token of the answer that is either word.

    Each probability is the sum over the word's spellings among the tokens that were likeliest there. None when the
    reply has no log-probabilities, is a refusal, or neither word is in it.
    """
    if reply.refusal is not None:
        return None
    answer = reply.answer
    begin = reply.text.rfind(answer) if answer else len(reply.text)
    place, looked_at = 0, 0
    for token in reply.tokens:
        place += len(token.text)
        if place <= begin:
            continue
        looked_at += 1
        if looked_at > MAX_TOKENS:
            return None
        if _plain(token.text) in _YES | _NO:
            return _share_of_yes(token)
    return None


def answers(reply: Reply, count: int) -> list[bool] | None:
    """The answers to `count` questions in one reply, a line for each that ends in yes or no, in their order.

    A line may begin with its question's number. None where there are more or fewer such lines, a line's number is not
    its own, or the reply is a refusal: an answer is never given to another question.
    """
    if reply.refusal is not None:
        return None
    found: list[bool] = []
    for line in reply.answer.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        if match["number"] is not None and int(match["number"]) != len(found) + 1:
            return None
        found.append(match["word"].lower() in _YES)
    return found if len(found) == count else None


def probabilities_of_yes(reply: Reply, count: int) -> list[float] | None:
    """As `probability_of_yes` for each of the `count` answers that `answers` reads; None where the reply has no
    log-probabilities, or other words of the two than those answers."""
    if answers(reply, count) is None:
        return None
    begin, place = reply.text.rfind(reply.answer), 0
    found = []
    for token in reply.tokens:
        place += len(token.text)
        if place > begin and _plain(token.text) in _YES | _NO:
            found.append(_share_of_yes(token))
    shares = [share for share in found if share is not None]
    return shares if len(shares) == len(found) == count else None


def _share_of_yes(token: Token) -> float | None:
    there = dict([*token.likeliest, (token.text, token.logprob)])
    yes, no = (_sum(p for text, p in there.items() if _plain(text) in words) for words in (_YES, _NO))
    return yes / (yes + no) if yes + no > 0 else None


def _plain(token: str) -> str:
    """A token as a word: tokenizers put spaces and quotes to it."""
    return token.strip(" \t\r\n\"'`*.,:;!#▁Ġ").lower()


def _sum(logprobs: Iterable[float]) -> float:
    return sum(math.exp(min(p, 0.0)) for p in logprobs)
