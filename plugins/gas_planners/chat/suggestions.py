"""Three changes that suit a picture, as requests that every planner understands (Ground-A-Score, Table 5)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gas.chat.lenient_json import Unreadable, shown
from gas.chat.reading import Reading, clean, complaint, one_object
from gas.errors import PlanUnreadable
from gas.plan.phrases import normalise_phrase, words
from gas.types import Suggestion, Suggestions
from gas_planners.chat.reply import instruction
from gas_planners.rules.grammar import read as read_request

COUNT = 3
MAX_WORDS = 8
_LETTERING = frozenset(
    (
        "letter",
        "letters",
        "lettering",
        "text",
        "texts",
        "word",
        "words",
        "writing",
        "logo",
        "logos",
        "caption",
        "captions",
    )
)
_REPLY = ConfigDict(frozen=True, extra="forbid")


class SuggestionReply(BaseModel):
    """One change, as the model proposes it."""

    model_config = _REPLY
    source: str = Field(description="phrase for a thing of medium size in the picture")
    target: str = Field(description="phrase for what it becomes")


class SuggestReply(BaseModel):
    """The whole reply."""

    model_config = _REPLY
    reasoning: str = Field(description="step by step: what is there, how large, what overlaps")
    suggestions: list[SuggestionReply] = Field(description="exactly three")

    @model_validator(mode="after")
    def _three(self) -> SuggestReply:
        if len(self.suggestions) != COUNT:
            raise ValueError(f"there are {len(self.suggestions)} suggestions, not {COUNT}")
        return self


def suggestions(reply: SuggestReply, **about: Any) -> Suggestions:
    """The changes of a reply as requests; `about` are the other fields of `Suggestions`: who said it, with warnings."""
    made = tuple(
        Suggestion(source=s.source, target=s.target, request=instruction("change", s.source, s.target, ""))
        for s in reply.suggestions
    )
    request = ", ".join(suggestion.request for suggestion in made)
    return Suggestions(suggestions=made, request=request, reasoning=reply.reasoning, **about)


def read_suggestions(text: str) -> tuple[SuggestReply, tuple[str, ...]]:
    """The suggestions in an answer, cleaned, with warnings of what was salvaged. Unreadable names what is wrong."""
    reading = Reading()
    content = one_object(text, "suggestions")
    if content is None:
        raise Unreadable(f"there are no suggestions in it: {shown(clean(text[:200], reading, 'text'))}")
    content = {k: v for k, v in content.items() if k in SuggestReply.model_fields}
    content["reasoning"] = content.get("reasoning") or ""
    if isinstance(items := content.get("suggestions"), list):
        content["suggestions"] = [_pair(item) for item in items]
    try:
        reply = SuggestReply.model_validate(content)
    except ValidationError as error:
        raise complaint(error) from None
    kept = [_checked(item, number, reading) for number, item in enumerate(reply.suggestions, 1)]
    sources = [normalise_phrase(item.source) for item in kept]
    for number, source in enumerate(sources, 1):
        if source in sources[: number - 1]:
            raise Unreadable(f"two suggestions are about the same thing: {shown(source)}")
    _check_understood(
        ", ".join(instruction("change", i.source, i.target, "") for i in kept), kept, "the suggestions together"
    )
    result = SuggestReply(reasoning=clean(reply.reasoning[:20_000], reading, "reasoning"), suggestions=kept)
    return result, tuple(reading.warnings)


_CHANGE = re.compile(r"change (?P<source>.{1,100}?) into (?P<target>.{1,100}?)\.?", re.IGNORECASE)


def _pair(item: Any) -> Any:
    """The two phrases of a suggestion that was written as "change A into B", or the object as it is."""
    if isinstance(item, str) and (match := _CHANGE.fullmatch(item.strip())) is not None:
        return match.groupdict()
    if isinstance(item, dict):
        return {k: v for k, v in item.items() if k in SuggestionReply.model_fields}
    return item


def _checked(item: SuggestionReply, number: int, reading: Reading) -> SuggestionReply:
    """The suggestion cleaned; Unreadable when `gas plan` would understand something else, or it is about lettering."""
    where = f"suggestion {number}"
    if max(len(item.source), len(item.target)) > 200:
        raise Unreadable(f"{where}: a phrase is longer than 200 characters")
    source, target = (clean(text, reading, where).strip(" .;,") for text in (item.source, item.target))
    for phrase in (source, target):
        if not phrase:
            raise Unreadable(f"{where}: a phrase is empty")
        if len(phrase.split()) > MAX_WORDS:
            raise Unreadable(f"{where}: {shown(phrase)} has more than {MAX_WORDS} words")
        if _LETTERING & set(words(phrase)):
            raise Unreadable(f"{where}: {shown(phrase)} is about lettering, which is not to be changed")
    if normalise_phrase(source) == normalise_phrase(target):
        raise Unreadable(f"{where}: source and target are the same phrase: {shown(source)}")
    suggestion = SuggestionReply(source=source, target=target)
    _check_understood(instruction("change", source, target, ""), [suggestion], where)
    return suggestion


def _check_understood(request: str, meant: Sequence[SuggestionReply], where: str) -> None:
    """Raises Unreadable unless `gas plan` reads `request` as just what is meant."""
    try:
        items = read_request(request)
    except PlanUnreadable as error:
        raise Unreadable(f"{where}: {shown(request)} is not a plain request: {error.message}") from None
    read = [(i.action, _plain(i.source), _plain(i.target)) for i in items]
    if read != [("change", normalise_phrase(m.source), normalise_phrase(m.target)) for m in meant]:
        raise Unreadable(f"{where}: {shown(request)} would be understood as something else; use simpler phrases")


def _plain(phrase: Any) -> str:
    return normalise_phrase(phrase.plain) if phrase is not None else ""
