"""One connection to a model, for whoever asks it: planners, suggestions, verifiers.

A child says how its service is spoken to, in one method that sends a question once. What all have in common is here:
the bounds, the schema that not every service takes, the reply that is sent back once because it cannot be used.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, TypeVar

from pydantic import Field, SecretStr

from gas.chat.calls import READ_SECONDS, TOTAL_SECONDS, Calls, Unsupported
from gas.chat.lenient_json import Unreadable
from gas.chat.picture import Picture
from gas.chat.replies import Reply
from gas.errors import ServiceUnavailable
from gas.interfaces import Options
from gas.preview import Message
from gas.remedies import Option, Remedy
from gas.runtime import Runtime

T = TypeVar("T")
C = TypeVar("C", bound="Connection")
MAX_SENT_BACK = 200_000
"""Characters of a reply that are sent back with what is wrong with it."""


class ConnectionOptions(Options):
    """What every connection can be told."""

    model: str = Field("", max_length=200, description="name of the model at the service")
    max_tokens: int = Field(4096, ge=64, le=32_768, description="length in tokens at which the reply is cut")
    time_limit: float = Field(TOTAL_SECONDS, gt=0, le=TOTAL_SECONDS, description="seconds for an answer in all")


class ServiceOptions(ConnectionOptions):
    """What a connection to a service can be told besides."""

    structured: bool = Field(
        True, description="give the service the reply's schema; no: only describe it in the prompt"
    )
    silence: float = Field(READ_SECONDS, gt=0, le=READ_SECONDS, description="seconds to wait for a sign of life")


@dataclass(frozen=True)
class Question:
    """What is asked at once: a conversation, its pictures, and the form that the reply is to have.

    The pictures go with every message that has `with_picture`. `schema` is a JSON schema (`reading.reply_schema`).
    `likeliest`: how many of the most probable tokens are wanted at each place of the reply; 0 asks for none.
    """

    messages: tuple[Message, ...]
    pictures: tuple[Picture, ...] = ()
    schema: dict[str, Any] | None = None
    seed: int = 0
    likeliest: int = 0

    def in_words(self) -> Question:
        """The same question with the schema told in its first message instead of given beside it."""
        if self.schema is None:
            return self
        first, *others = self.messages
        told = replace(first, text=f"{first.text}\n{schema_in_words(self.schema)}")
        return replace(self, messages=(told, *others), schema=None)


class Unusable(Exception):
    """A reply came, and no use can be made of it: why, what it was, and what to do about it where that is known.

    `final`: sending it back would not help.
    """

    def __init__(self, reason: str, reply: Reply, remedy: Remedy | None = None, *, final: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.reply, self.remedy, self.final = reason, reply, remedy, final


class Connection(ABC):
    """Asks one model. It remembers what its service does not take, so `connect` shares it among those who ask."""

    options_type: ClassVar[type[ConnectionOptions]] = ConnectionOptions
    name: ClassVar[str]
    schema_part: ClassVar[str | None] = None
    """The parameter in which the service takes a schema; None: it is told in words."""

    def __init__(self, options: ConnectionOptions, runtime: Runtime) -> None:
        self.options: Any = options
        self.runtime = runtime
        self._without: frozenset[str] = frozenset()

    # What a child says

    @property
    @abstractmethod
    def address(self) -> str | None:
        """Where questions go, without any secret; None when they stay in this process."""

    @property
    @abstractmethod
    def remote(self) -> bool:
        """Whether that is another machine."""

    @abstractmethod
    def shown_model(self) -> str:
        """The model as a preview shows it, without asking the service."""

    @abstractmethod
    def _model(self, calls: Calls, sees: bool) -> str:
        """The name of the model to ask, one that `sees` if it must. ServiceUnavailable (8) when there is none, with
        what there is."""

    @abstractmethod
    def _send(self, calls: Calls, model: str, question: Question, without: frozenset[str], silence: float) -> Reply:
        """The reply to one call, made `without` those of its `_optional` parts. CallFailed; Unsupported when the
        service refuses the request as it is."""

    @abstractmethod
    def think_less(self) -> Remedy:
        """What to do about a model that thinks and does not come to an answer."""

    def key_origin(self) -> str | None:
        """Where the key comes from, for people; never the key."""
        return None

    def _optional(self, model: str, question: Question) -> tuple[str, ...]:
        """The parameters that may be left out or changed when the service refuses them; the first is tried first."""
        return (self.schema_part,) if self.schema_part and question.schema is not None else ()

    def _secrets(self) -> list[SecretStr]:
        return []

    def _prepare(self) -> None:
        """Raises what is known before anything is sent. A child adds a missing package or key."""
        if self.remote and self.runtime.offline:
            raise ServiceUnavailable(
                f"{self.name} would send to {self.address}, and offline is set",
                Remedy("allow_network", "allow the network"),
            )

    # What all do

    def ask(
        self,
        messages: Sequence[Message],
        pictures: Sequence[Picture] = (),
        schema: dict[str, Any] | None = None,
        *,
        seed: int = 0,
        likeliest: int = 0,
    ) -> Reply:
        """The model's reply, as it came. With `likeliest` its `tokens`, where the service gives log-probabilities.

        ServiceUnavailable (8) when none came; ModelUnavailable (6) when a package or the model's files are missing.
        """
        calls, model = self._begin(bool(pictures))
        return self._reply(calls, model, Question(tuple(messages), tuple(pictures), schema, seed, likeliest))

    def converse(
        self,
        messages: Sequence[Message],
        read: Callable[[str], T],
        pictures: Sequence[Picture] = (),
        schema: dict[str, Any] | None = None,
        *,
        seed: int = 0,
    ) -> tuple[T, Reply]:
        """What `read` makes of the model's answer, and the reply that it was in.

        `read` raises Unreadable for what it cannot use; then the reply is sent back once with the reason. Unusable when
        that does not help, at a refusal, and for a reply that is all thought. Errors otherwise as `ask`.
        """
        calls, model = self._begin(bool(pictures))
        question = Question(tuple(messages), tuple(pictures), schema, seed)
        reply = self._reply(calls, model, question)
        try:
            return self._used(reply, read), reply
        except Unusable as error:
            if error.final or calls.left < 1:
                raise
            unusable = error
        again = (
            *question.messages,
            Message("assistant", reply.raw[:MAX_SENT_BACK]),
            Message("user", _correction(unusable.reason, schema)),
        )
        try:
            second = self._reply(calls, model, replace(question, messages=again))
        except ServiceUnavailable as error:  # there was a reply, which is what the user can act on
            reason = f"{unusable.reason}; and it could not be sent back: {error.message}"
            raise Unusable(reason, reply, unusable.remedy) from None
        return self._used(second, read), second

    def _begin(self, sees: bool) -> tuple[Calls, str]:
        self._prepare()
        calls = self._calls()
        return calls, self._model(calls, sees)

    def _calls(self, silence: float | None = None) -> Calls:
        return Calls(
            f"{self.name} ({self.address})",
            seconds=silence or self.options.time_limit,
            silence=silence or self.options.silence,
            secrets=self._secrets(),
        )

    def _made(self, calls: Calls, send: Callable[[float], Reply]) -> Reply:
        """One of the calls, tried again where that may help."""
        return calls.make(send)

    def _reply(self, calls: Calls, model: str, question: Question) -> Reply:
        """The reply, asked for with less where the service does not take all of the request, and without secrets."""
        if self.schema_part is None or not self.options.structured:
            question = question.in_words()
        optional = self._optional(model, question)
        without = self._without & frozenset(optional)
        while True:
            told = question.in_words() if self.schema_part in without else question
            try:
                reply = self._made(calls, partial(self._send, calls, model, told, without))
                break
            except Unsupported as failure:
                # Whatever the complaint: it is not always worded so that it names what it is about.
                left = [part for part in optional if part not in without]
                if not left or calls.left < 1:
                    raise calls.failure(failure) from None
                without |= {failure.part if failure.part in left else left[0]}
        self._without |= without  # for the next question too
        return _redacted(calls, reply)

    def _used(self, reply: Reply, read: Callable[[str], T]) -> T:
        if reply.refusal is not None:
            raise Unusable(f"the model refused: {reply.refusal[:200]!a}", reply, final=True)
        try:
            if reply.only_thought:
                raise Unusable("the model only thought, and gave no answer", reply, self.think_less(), final=True)
            return read(reply.answer)
        except Unreadable as error:
            if reply.cut:
                remedy = _LONGER if reply.text.strip() else self.think_less()
                raise Unusable("it was cut at the token limit", reply, remedy) from None
            raise Unusable(str(error), reply) from None


def connect(kind: type[C], options: ConnectionOptions, runtime: Runtime) -> C:
    """The connection of that kind which `options` describe, shared by all in `runtime` who describe the same.

    `options` may be those of a planner or a verifier, which has the connection's among its own.
    """
    fitting = kind.options_type(**{name: getattr(options, name) for name in kind.options_type.model_fields})
    made = kind(fitting, runtime)
    return runtime.shared((kind, fitting, made.address), lambda: made)


def schema_in_words(schema: dict[str, Any]) -> str:
    """The reply's schema as text, for services that cannot be given it."""
    wanted = json.dumps(schema, separators=(",", ":"))
    return f"Answer with one JSON object that fits this JSON schema, and nothing else:\n{wanted}"


def _correction(reason: str, schema: dict[str, Any] | None) -> str:
    """What is said when a reply could not be used: the schema too, for there are services that lose it."""
    said = (
        f"That answer cannot be used: {json.dumps(reason, ensure_ascii=False)}. "
        "Answer again with the whole JSON object, corrected, and with nothing before or after it."
    )
    return said if schema is None else f"{said}\n{schema_in_words(schema)}"


_LONGER = Remedy("raise_max_tokens", "raise the limit: {limit}", limit=Option({"max_tokens": None}))


def _redacted(calls: Calls, reply: Reply) -> Reply:
    """The reply without secrets: a service may quote the key that it was given."""
    return replace(
        reply,
        text=calls.redact(reply.text),
        thoughts=calls.redact(reply.thoughts),
        refusal=None if reply.refusal is None else calls.redact(reply.refusal),
        model=None if reply.model is None else calls.redact(reply.model)[:200],
    )
