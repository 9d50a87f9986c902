"""What the planners that ask a model have in common: ask, read, send back once, and say where the plan came from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import Field, SecretStr

from gas.chat.calls import MAX_CALLS, READ_SECONDS, TOTAL_SECONDS, Line, Unsupported
from gas.chat.picture import Picture, encode
from gas.errors import PlanUnreadable, ServiceUnavailable, UsageError
from gas.interfaces import Options, Planner
from gas.plan.file import flag_foreign_phrases
from gas.preview import Message, Preview
from gas.remedies import Option, Remedy, Setting
from gas.runtime import Runtime
from gas.types import EditPlan, EditRequest, Provenance, Suggestions
from gas_planners.chat.prompt import (
    correction,
    plan_messages,
    plan_schema,
    read_examples,
    said_by_user,
    schema_message,
    suggest_messages,
)
from gas_planners.chat.reply import read_plan_reply, refused, reply_schema
from gas_planners.chat.suggestions import SuggestReply, read_suggest_reply, suggestions

if TYPE_CHECKING:
    from gas.types import Image

T = TypeVar("T")
OptionsT = TypeVar("OptionsT", bound="ModelOptions")
MAX_KEPT = 200_000


class ModelOptions(Options):
    """What all planners that ask a model can be told."""

    model: str = Field("", max_length=200, description="name of the model at the service")
    picture: bool = Field(True, description="send the picture; no: only the words, for models that cannot see")
    picture_size: int = Field(768, ge=64, le=2048, description="longer side in pixels of the picture that is sent")
    examples: str = Field(
        "", description="file with your own worked examples, given to the model beside the built-in ones"
    )
    max_tokens: int = Field(4096, ge=64, le=32_768, description="length at which the service is to cut the reply")
    structured: bool = Field(
        True, description="give the service the reply's schema; no: only describe it in the prompt"
    )
    silence: float = Field(READ_SECONDS, gt=0, le=READ_SECONDS, description="seconds to wait for a sign of life")
    time_limit: float = Field(TOTAL_SECONDS, gt=0, le=TOTAL_SECONDS, description="seconds for a plan in all")


@dataclass(frozen=True)
class Answer:
    """What a model said: the text, and what the service said about it. `cut`: it stopped at the token limit."""

    text: str
    model: str | None = None
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    cut: bool = False
    refusal: str | None = None
    note: str | None = None


class ModelPlanner(Planner[OptionsT]):
    """A planner that asks a model at a service. A child says how its service is spoken to."""

    options_type = ModelOptions
    suggests = True
    name: ClassVar[str]

    def __init__(self, options: OptionsT, runtime: Runtime) -> None:
        super().__init__(options, runtime)
        self._knows_no_schema = False

    # What a child says

    @property
    @abstractmethod
    def address(self) -> str:
        """Where requests go, without any secret."""

    @property
    @abstractmethod
    def remote(self) -> bool:
        """Whether that is another machine."""

    @abstractmethod
    def _ask(
        self,
        line: Line,
        model: str,
        messages: Sequence[Message],
        picture: Picture | None,
        schema: dict[str, Any] | None,
        seed: int,
    ) -> Answer:
        """One answer through `line`. With `schema`, Unsupported when the service does not know schemas."""

    @abstractmethod
    def _model(self, line: Line) -> str:
        """The name of the model to ask. ServiceUnavailable (8) when there is none of that name, with what there is."""

    @abstractmethod
    def _shown_model(self) -> str:
        """The model as a preview shows it, without asking the service."""

    def _secrets(self) -> list[SecretStr]:
        return []

    def _key_origin(self) -> str | None:
        return None

    def _prepare(self) -> None:
        """Raises what is known before anything is sent. A child adds a missing package or key."""
        if self.remote and self.runtime.offline:
            raise ServiceUnavailable(
                f"{self.name} would send to {self.address}, and offline is set",
                Remedy("allow_network", "allow the network, or use {rules}", rules=Setting("planner", "rules")),
            )

    # What all do

    def plan(self, request: EditRequest) -> EditPlan:
        """The plan that the model makes of `request`, with its provenance and with warnings for what to check.

        PlanUnreadable (4) with the raw `reply` when two replies could not be read; ServiceUnavailable (8) when none
        came; ModelUnavailable (6) when the client's package is missing.
        """
        messages, picture = self._conversation(request)
        plan, answer = self._converse(messages, picture, plan_schema(), read_plan_reply, request.seed)
        plan = plan.model_copy(
            update={
                "warnings": (*plan.warnings, *([answer.note] if answer.note else [])),
                "provenance": Provenance(
                    planner=self.name,
                    version=version("gas-edit"),
                    model=answer.model,
                    service=self.address,
                    request=_transcript(messages, picture),
                    reply=_kept(answer.text),
                    prompt_tokens=answer.prompt_tokens,
                    reply_tokens=answer.reply_tokens,
                ),
            }
        )
        return flag_foreign_phrases(plan, said_by_user(request))

    def preview(self, request: EditRequest) -> Preview:
        """What `plan(request)` would send first, and where to. Nothing is sent, not even a question for the models."""
        messages, picture = self._conversation(request)
        return Preview(
            address=self.address,
            remote=self.remote,
            model=self._shown_model(),
            key=self._key_origin(),
            picture=picture.summary if picture else None,
            messages=tuple(messages),
            calls=MAX_CALLS,
        )

    def suggest(self, image: Image, caption: str | None = None, avoid: Sequence[str] = ()) -> Suggestions:
        """Three changes that suit `image` (`(H, W, 3)` uint8 upright RGB); `avoid` are requests to leave out.

        UsageError (2) with the option `picture` off. Other errors as `plan`.
        """
        if not self.options.picture:
            raise UsageError(
                f"suggestions need a planner that sees, and {self.name} is not sent the picture",
                Remedy("send_picture", "use {option}", option=Option({"picture": True}, self.name)),
            )
        messages, picture = suggest_messages(caption, avoid), encode(image, self.options.picture_size)
        (reply, warnings), answer = self._converse(
            messages, picture, reply_schema(SuggestReply), read_suggest_reply, seed=0
        )
        return suggestions(
            reply,
            warnings=warnings,
            planner=self.name,
            model=answer.model,
            service=self.address,
            prompt_tokens=answer.prompt_tokens,
            reply_tokens=answer.reply_tokens,
        )

    def _conversation(self, request: EditRequest) -> tuple[list[Message], Picture | None]:
        examples = read_examples(self.options.examples) if self.options.examples else ()
        messages = plan_messages(request, examples, with_picture=self.options.picture)
        return messages, encode(request.image, self.options.picture_size) if self.options.picture else None

    def _converse(
        self,
        messages: Sequence[Message],
        picture: Picture | None,
        schema: dict[str, Any],
        read: Callable[[str], T],
        seed: int,
    ) -> tuple[T, Answer]:
        self._prepare()
        line = Line(
            f"{self.name} ({self.address})",
            seconds=self.options.time_limit,
            silence=self.options.silence,
            secrets=self._secrets(),
        )
        model = self._model(line)
        answer = self._answer(line, model, messages, picture, schema, seed)
        try:
            return _read(answer, read), answer
        except PlanUnreadable as error:
            if answer.refusal is not None or line.calls_left < 1:
                raise
            reason, remedy = error.message, error.hint
        again = [*messages, Message("assistant", answer.text[:MAX_KEPT]), Message("user", correction(reason))]
        try:
            answer = self._answer(line, model, again, picture, schema, seed)
        except ServiceUnavailable as error:  # there was a reply, which is what the user can act on
            raise refused(f"{reason}; and it could not be sent back: {error.message}", answer.text, remedy) from None
        return _read(answer, read), answer

    def _answer(
        self,
        line: Line,
        model: str,
        messages: Sequence[Message],
        picture: Picture | None,
        schema: dict[str, Any],
        seed: int,
    ) -> Answer:
        if self.options.structured and not self._knows_no_schema:
            try:
                return _cleaned(line, self._ask(line, model, messages, picture, schema, seed))
            except Unsupported:
                self._knows_no_schema = True  # for this planner's next pictures too
        first, *others = messages
        told = [replace(first, text=f"{first.text}\n{schema_message(schema)}"), *others]
        return _cleaned(line, self._ask(line, model, told, picture, None, seed))


def _read(answer: Answer, read: Callable[[str], T]) -> T:
    """What `read` makes of the answer. PlanUnreadable (4) when it is a refusal, or was cut at the token limit."""
    if answer.refusal is not None:
        raise refused(f"the model refused: {answer.refusal[:200]!a}", answer.text or answer.refusal)
    try:
        return read(answer.text)
    except PlanUnreadable:
        if answer.cut:
            raise refused(
                "it was cut at the service's token limit",
                answer.text,
                Remedy("raise_max_tokens", "raise the limit: {limit}", limit=Option({"max_tokens": None})),
            ) from None
        raise


def _cleaned(line: Line, answer: Answer) -> Answer:
    """The answer without secrets: a service may quote the key that it was given."""
    refusal = None if answer.refusal is None else line.redact(answer.refusal)
    model = None if answer.model is None else line.redact(answer.model)[:200]
    return replace(answer, text=line.redact(answer.text), refusal=refusal, model=model)


def _transcript(messages: Sequence[Message], picture: Picture | None) -> str:
    """What was sent first, for the record; the picture by its digest."""
    parts = []
    for message in messages:
        parts.append(f"[{message.role}]\n{message.text}")
        if message.with_picture and picture is not None:
            parts.append(f"[{picture.summary}]")
    return "\n".join(parts)


def _kept(text: str) -> str:
    """A reply as it is kept in a plan, which is to stay a readable file."""
    return text if len(text) <= MAX_KEPT else f"{text[:MAX_KEPT]}\n[{len(text) - MAX_KEPT} more characters]"
