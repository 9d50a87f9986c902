"""What a model answers: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from gas.chat.thoughts import Thoughtful, split


@dataclass(frozen=True)
class Token:
    """A token of a reply and the natural logarithm of its probability.

    `likeliest` are the most probable tokens at its place, the best first, each with its log-probability.
    """

    text: str
    logprob: float
    likeliest: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Reply:
    """What a model said, and what the service said about it.

    * `text` is what came as the message, with whatever marks of thinking the model wrote into it; `thoughts` is what
      the service kept apart as thoughts;
    * `cut`: it ended at the token limit; `refusal` is the model's or the service's refusal, in its words;
    * `thinking_tokens` counts the tokens that went into thoughts, where the service says so;
    * `tokens` are there when they were asked for and the service gives log-probabilities;
    * `note` is what the user should know about the exchange.
    """

    text: str
    thoughts: str = ""
    model: str | None = None
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    thinking_tokens: int | None = None
    cut: bool = False
    refusal: str | None = None
    note: str | None = None
    tokens: tuple[Token, ...] = ()

    @cached_property
    def parts(self) -> Thoughtful:
        """The reply's answer and its thoughts, apart. Unreadable for a text that is nothing but marks of thinking."""
        found = split(self.text)
        if self.thoughts:
            thoughts = f"{self.thoughts}\n{found.thoughts}" if found.thoughts else self.thoughts
            found = Thoughtful(found.answer, thoughts, found.ended)
        return found.recovered(cut=self.cut)

    @property
    def answer(self) -> str:
        """The text without thoughts; empty when there is nothing else."""
        return self.parts.answer

    @property
    def only_thought(self) -> bool:
        """Whether the model thought and never came to an answer."""
        if self.refusal is not None or self.answer.strip():
            return False
        return bool(self.parts.thoughts.strip() or self.thinking_tokens)

    @property
    def raw(self) -> str:
        """What is kept of a reply that could not be used."""
        return self.text or self.refusal or self.thoughts
