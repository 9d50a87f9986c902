"""What the planners that ask a model have in common: what is asked, and how an answer becomes a plan.

The asking itself, and all that can go wrong with it, is `gas.chat`'s, whose connection to a model is shared with others
who ask the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar, TypeVar

from pydantic import Field

from gas.chat.calls import MAX_CALLS
from gas.chat.connection import Connection, ConnectionOptions, connect
from gas.chat.picture import Picture, encode
from gas.chat.reading import reply_schema
from gas.chat.replies import Reply
from gas.errors import UsageError
from gas.interfaces import Planner
from gas.plan.file import flag_foreign_phrases
from gas.preview import Message, Preview
from gas.remedies import Option, Remedy
from gas.types import EditPlan, EditRequest, Provenance, Suggestions
from gas_planners.chat.connection import planning_by
from gas_planners.chat.prompt import plan_messages, plan_schema, read_examples, said_by_user, suggest_messages
from gas_planners.chat.reply import read_plan
from gas_planners.chat.suggestions import SuggestReply, read_suggestions, suggestions

if TYPE_CHECKING:
    from gas.runtime import Runtime
    from gas.types import Image

OptionsT = TypeVar("OptionsT", bound="ModelOptions")
MAX_KEPT = 200_000


class ModelOptions(ConnectionOptions):
    """What all planners that ask a model can be told."""

    picture: bool = Field(True, description="send the picture; no: only the words, for models that cannot see")
    picture_size: int = Field(768, ge=64, le=2048, description="longer side in pixels of the picture that is sent")
    examples: str = Field(
        "", description="file with your own worked examples, given to the model beside the built-in ones"
    )


class ModelPlanner(Planner[OptionsT]):
    """A planner that asks a model. A child says by which connection, and what its options are."""

    options_type = ModelOptions
    connection_type: ClassVar[type[Connection]]
    suggests = True
    reusable = True  # an answer costs time or money, and the next one to the same question would be no better
    name: ClassVar[str]

    def __init__(self, options: OptionsT, runtime: Runtime) -> None:
        super().__init__(options, runtime)
        with planning_by(self.name):
            self.connection = connect(self.connection_type, options, runtime)

    @property
    def address(self) -> str | None:
        """Where requests go, without any secret; None when they stay in this process."""
        return self.connection.address

    @property
    def remote(self) -> bool:
        return self.connection.remote

    def plan(self, request: EditRequest) -> EditPlan:
        """The plan that the model makes of `request`, with its provenance and with warnings for what to check.

        PlanUnreadable (4) with the raw `reply` when two replies could not be read; ServiceUnavailable (8) when none
        came; ModelUnavailable (6) when the client's package is missing.
        """
        messages, pictures = self._conversation(request)
        with planning_by(self.name):
            plan, reply = self.connection.converse(messages, read_plan, pictures, plan_schema(), seed=request.seed)
        plan = plan.model_copy(
            update={
                "warnings": (*plan.warnings, *_notes(reply)),
                "provenance": Provenance(
                    planner=self.name,
                    version=version("gas-edit"),
                    model=reply.model,
                    service=self.address,
                    request=_transcript(messages, pictures),
                    reply=_kept(reply.raw),
                    prompt_tokens=reply.prompt_tokens,
                    reply_tokens=reply.reply_tokens,
                ),
            }
        )
        return flag_foreign_phrases(plan, said_by_user(request))

    def preview(self, request: EditRequest) -> Preview:
        """What `plan(request)` would send first, and where to. Nothing is sent, not even a question for the models."""
        messages, pictures = self._conversation(request)
        return Preview(
            address=self.address,
            remote=self.remote,
            model=self.connection.shown_model(),
            key=self.connection.key_origin(),
            picture=pictures[0].summary if pictures else None,
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
        with planning_by(self.name):
            (said, warnings), reply = self.connection.converse(
                messages, read_suggestions, [picture], reply_schema(SuggestReply)
            )
        return suggestions(
            said,
            warnings=(*warnings, *_notes(reply)),
            planner=self.name,
            model=reply.model,
            service=self.address,
            prompt_tokens=reply.prompt_tokens,
            reply_tokens=reply.reply_tokens,
        )

    def _conversation(self, request: EditRequest) -> tuple[list[Message], list[Picture]]:
        examples = read_examples(self.options.examples) if self.options.examples else ()
        messages = plan_messages(request, examples, with_picture=self.options.picture)
        return messages, [encode(request.image, self.options.picture_size)] if self.options.picture else []


def _notes(reply: Reply) -> list[str]:
    """What the user should know about how the reply came."""
    notes = [reply.note] if reply.note else []
    if reply.parts.in_thoughts:
        notes.append("the answer stood where the model's thoughts go; it was taken because nothing else was there")
    return notes


def _transcript(messages: Sequence[Message], pictures: Sequence[Picture]) -> str:
    """What was sent first, for the record; the pictures by their digests."""
    parts = []
    for message in messages:
        parts.append(f"[{message.role}]\n{message.text}")
        if message.with_picture:
            parts += [f"[{picture.summary}]" for picture in pictures]
    return "\n".join(parts)


def _kept(text: str) -> str:
    """A reply as it is kept in a plan, which is to stay a readable file."""
    return text if len(text) <= MAX_KEPT else f"{text[:MAX_KEPT]}\n[{len(text) - MAX_KEPT} more characters]"
