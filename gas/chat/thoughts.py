"""Tells a model's answer from its thoughts, in the marks that models and servers are known to use.

`<think>`, `<thinking>`, `<thought>`, `<reasoning>` and the same with a prefix (`<seed:think>`), in any case; Mistral's
`[THINK]`; Kimi's `◁think▷`; Cohere's `<|START_THINKING|>`; Gemma's `<|channel>`; the channels of gpt-oss (`analysis`,
`commentary`, `final`), with or without their special tokens. A server may have eaten the opening mark, since chat
templates write it into the prompt: then only the closing one is there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from gas.chat.lenient_json import Unreadable, value_at

MAX_MARKS = 1_000
_TOO_MANY = f"the reply has more than {MAX_MARKS} marks of thinking"
_NAME = r"(?:[A-Za-z]{1,20}:)?(?:think|thinking|thought|thoughts|reasoning)"
_MARK = re.compile(
    rf"(?P<open><{_NAME}>|\[THINK\]|◁think▷|<\|START_THINKING\|>|<\|channel>)"
    rf"|(?P<close></{_NAME}>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>|<channel\|>)",
    re.IGNORECASE,
)
# What every mark ends with: looked for first, for most texts have none and the pattern takes longer.
_ENDS_OF_MARKS = (
    *("think>", "thinking>", "thought>", "thoughts>", "reasoning>"),
    *("think]", "think▷", "thinking|>", "channel>", "channel|>"),
)
# gpt-oss: <|channel|>NAME<|message|>TEXT<|end|><|start|>assistant<|channel|>...
_CHANNEL = re.compile(
    r"<\|channel\|>\s{0,5}(?P<name>[a-z]{1,20})(?:(?!<\|(?:channel|message)\|>).){0,200}<\|message\|>", re.IGNORECASE
)
_CHANNEL_END = re.compile(r"<\|(?:end|return|start|call|channel)\|>")
# The same where the special tokens were dropped: "analysisThe dog ...assistantfinal{...}".
_BARE_CHANNELS = re.compile(
    r"\s*analysis(?P<thoughts>(?:(?!assistantfinal).)*+)assistantfinal(?P<answer>.*)", re.DOTALL
)


@dataclass(frozen=True)
class Thoughtful:
    """A text's `answer` and its `thoughts`.

    `ended` is False when it stops in the middle of a thought; `in_thoughts` says that the answer stood in the place of
    thoughts.
    """

    answer: str
    thoughts: str = ""
    ended: bool = True
    in_thoughts: bool = False

    def recovered(self, *, cut: bool = False) -> Thoughtful:
        """The same, but thoughts that are one JSON object and nothing else are the answer where there is no other.

        Servers that hold a thinking model to a schema put what it writes into its thoughts. An object with a word
        before or after it may be a draft and stays a thought.
        """
        if self.answer.strip() or cut or not self.ended or not _is_one_object(self.thoughts):
            return self
        return replace(self, answer=self.thoughts.strip(), thoughts="", in_thoughts=True)


def split(text: str) -> Thoughtful:
    """The answer in `text` and the thoughts beside it. Unreadable when it has more than a thousand marks.

    A text that is one JSON object as a whole has no thoughts, whatever stands in its strings. A closing mark without
    an opening one ends thoughts that began with the text.
    """
    body = text.strip("\ufeff \t\r\n")
    lowered = body.lower()
    if body.startswith("analysis") and (bare := _BARE_CHANNELS.fullmatch(body)) is not None:
        return Thoughtful(bare["answer"].strip(), bare["thoughts"].strip())
    if not any(end in lowered for end in _ENDS_OF_MARKS) or _is_one_object(body):
        return Thoughtful(body)
    if (channels := lowered.count("<|channel|>")) > MAX_MARKS:
        raise Unreadable(_TOO_MANY)
    if channels and _CHANNEL.search(body) is not None:
        return _channels(body)
    answer: list[str] = []
    thoughts: list[str] = []
    position, thinking = 0, False
    for count, mark in enumerate(_MARK.finditer(body), 1):
        if count > MAX_MARKS:
            raise Unreadable(_TOO_MANY)
        piece = body[position : mark.start()]
        if thinking or mark["close"] is None:
            (thoughts if thinking else answer).append(piece)
        else:  # what was taken for the answer was a thought whose beginning is not marked
            thoughts += [*answer, piece]
            answer = []
        thinking = mark["close"] is None
        position = mark.end()
    (thoughts if thinking else answer).append(body[position:])
    return Thoughtful("".join(answer).strip(), "\n".join(filter(str.strip, thoughts)).strip(), not thinking)


def _channels(body: str) -> Thoughtful:
    """The text of the last `final` channel; all other channels are thoughts."""
    channels = list(_CHANNEL.finditer(body))
    answer, thoughts, ended = "", [body[: channels[0].start()]], False
    for channel, after in zip(channels, [*(c.start() for c in channels[1:]), len(body)], strict=True):
        end = _CHANNEL_END.search(body, channel.end(), after)
        said = body[channel.end() : end.start() if end else after].strip()
        if channel["name"].lower() == "final":
            answer, ended = said, True
        else:
            thoughts.append(said)
    return Thoughtful(answer, "\n".join(filter(None, (thought.strip() for thought in thoughts))), ended)


def _is_one_object(text: str) -> bool:
    body = text.strip()
    if not (body.startswith("{") and body.endswith("}")):
        return False
    try:
        return value_at(body)[1] == len(body)
    except Unreadable:
        return False
