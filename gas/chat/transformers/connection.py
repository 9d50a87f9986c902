"""A connection to a model in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field

from gas.chat.calls import Calls
from gas.chat.connection import Connection, ConnectionOptions, Question
from gas.chat.replies import Reply
from gas.chat.transformers.network import SUGGESTED, VisionLanguageNetwork
from gas.errors import ServiceUnavailable
from gas.remedies import Option, Remedy, Setting

MAX_SECONDS = 3600.0


class TransformersConnectionOptions(ConnectionOptions):
    """What a connection to a model in this process can be told."""

    model: str = Field(SUGGESTED, max_length=500, description="hub id, local folder or package:PACKAGE/FOLDER")
    temperature: float = Field(0.0, ge=0, le=2)
    think: Literal["no", "yes"] = Field("no", description="whether a model that can think is told to")
    time_limit: float = Field(600.0, gt=0, le=MAX_SECONDS, description="seconds for an answer in all, without loading")


class TransformersConnection(Connection):
    """Asks a model of the class AutoModelForImageTextToText, loaded once for all who share the runtime."""

    options_type = TransformersConnectionOptions
    name = "transformers"

    @property
    def address(self) -> None:
        return None

    @property
    def remote(self) -> bool:
        return False

    def shown_model(self) -> str:
        return str(self.options.model)

    def think_less(self) -> Remedy:
        limit = Option({"max_tokens": min(4 * int(self.options.max_tokens), 32_768)})
        if self.options.think == "no":
            return Remedy("think_less", "raise the limit ({limit}), or name a model that need not think", limit=limit)
        return Remedy(
            "think_less", "set {think}, or raise the limit ({limit})", think=Option({"think": "no"}), limit=limit
        )

    def _prepare(self) -> None:
        super()._prepare()
        self._network()  # loading is not part of the time for an answer

    def _calls(self, silence: float | None = None) -> Calls:
        return Calls(f"{self.name} ({self.options.model})", seconds=self.options.time_limit)

    def _made(self, calls: Calls, send: Callable[[float], Reply]) -> Reply:
        # In this thread: the model itself looks at the clock.
        calls.take()
        return send(calls.remaining)

    def _model(self, calls: Calls, sees: bool) -> str:
        return str(self.options.model)

    def _network(self) -> VisionLanguageNetwork:
        runtime, model = self.runtime, str(self.options.model)
        key = ("vision-language", model, str(runtime.torch_device()), str(runtime.torch_dtype()))
        return runtime.shared(key, lambda: VisionLanguageNetwork.load(model, runtime))

    def _send(self, calls: Calls, model: str, question: Question, without: frozenset[str], silence: float) -> Reply:
        said = self._network().say(
            question.messages,
            question.pictures,
            max_tokens=self.options.max_tokens,
            seconds=calls.remaining,
            temperature=self.options.temperature,
            seed=question.seed,
            think=self.options.think == "yes",
            likeliest=question.likeliest,
        )
        if said is None:
            raise ServiceUnavailable(
                calls.too_late().message,
                Remedy(
                    "faster_model",
                    "raise {limit}, use {device}, or name a smaller model with {model}",
                    limit=Option({"time_limit": None}),
                    device=Setting("device", "cuda"),
                    model=Option({"model": "NAME"}),
                ),
            )
        return said
