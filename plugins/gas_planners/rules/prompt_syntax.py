"""The prompt syntax of other programs: read where it means something here, else named in a warning.

`(word:1.3)` weighs words in Stable Diffusion's web interfaces; here a subtask has a strength. `((word))`, `[word]` and
`{word}` weigh too, by an amount that is not written; `BREAK`, `<lora:…>`, `--no …`, `--ar 16:9` and praise such as
"masterpiece, 8k" steer those programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_STRENGTH = 4.0
_WEIGHT = re.compile(r"[(\[]([^()\[\]:]{1,200}):\s*(\d{1,3}(?:\.\d{1,4})?|\.\d{1,4})\s*[)\]]")
_BRACKETS = re.compile(r"\({2,}([^()]{1,200})\){2,}|\[+([^\[\]]{1,200})\]+|\{+([^{}]{1,200})\}+")
_NETWORK = re.compile(r"<(?:lora|lyco|hypernet|embedding)\s*:[^<>]{1,200}>", re.IGNORECASE)
_FLAG = re.compile(r"(?<!\S)--[a-z][a-z-]*\b(?:(?!\s--)[^\n,;.]){0,80}", re.IGNORECASE)
_WORD = re.compile(r"(?<!\S)BREAK(?!\S)")
_TAGS = re.compile(
    r",\s*(?:masterpiece|(?:best|high|highest|top) quality|[48]k(?: uhd)?|uhd|hdr|(?:highly|ultra|extremely) detailed"
    r"|intricate details?|sharp focus|(?:trending on )?artstation|award[- ]winning|octane render|unreal engine)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Prompt:
    """A text without the syntax of other programs. `weights` are the words that had one; `notes` are warnings."""

    text: str
    weights: tuple[tuple[str, float], ...] = ()
    notes: tuple[str, ...] = ()

    def strength(self, phrases: Iterable[str]) -> float:
        """The weight of the first weighed words that stand in one of the phrases, 1 where there are none."""
        shown = [f" {phrase.casefold()} " for phrase in phrases]
        for words, weight in self.weights:
            if any(f" {words.casefold()} " in phrase for phrase in shown):
                return weight
        return 1.0


def without_syntax(text: str) -> Prompt:
    """The text as plain words, with the weights that were in it and a note for whatever else was taken out."""
    weights: list[tuple[str, float]] = []
    notes: list[str] = []

    def weighed(match: re.Match[str]) -> str:
        words, weight = " ".join(match[1].split()), float(match[2])
        strength = min(max(weight, 0.05), MAX_STRENGTH)
        weights.append((words, strength))
        notes.append(f"the weight in {match[0]!r} was read as the strength {strength:g} of its subtask")
        return words

    def unweighed(match: re.Match[str]) -> str:
        notes.append(f"{match[0]!r}: brackets give no weight here; the words were read without them")
        return next(group for group in match.groups() if group is not None)

    def dropped(match: re.Match[str]) -> str:
        notes.append(f"{match[0].strip(' ,')!r} means nothing here and was left out")
        return " "

    text = _WEIGHT.sub(weighed, text)
    text = _NETWORK.sub(dropped, text)
    text = _FLAG.sub(dropped, text)
    text = _BRACKETS.sub(unweighed, text)
    text = _TAGS.sub(dropped, text)
    if not text.isupper():
        text = _WORD.sub(lambda match: f"{dropped(match)}. ", text)
    return Prompt(text, tuple(weights), tuple(notes))
