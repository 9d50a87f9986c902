"""Which model the verifier `vlm` asks, and by which connection."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from gas.chat import ConnectionOptions, connect
from gas.errors import UsageError
from gas.remedies import Option, Remedy

if TYPE_CHECKING:
    from gas.chat import Connection
    from gas.runtime import Runtime

_KINDS = {
    "ollama": "gas.chat.ollama:OllamaConnection",
    "openai": "gas.chat.openai:OpenAIConnection",
    "transformers": "gas.chat.transformers:TransformersConnection",
}


class VlmOptions(ConnectionOptions):
    """Which model is asked, and what counts as a yes. Where planner and verifier say the same of a service, they share
    one connection to it."""

    service: Literal["ollama", "openai", "transformers"] = Field(
        "ollama", description="an Ollama, OpenAI or a compatible service, or a model in this process"
    )
    model: str = Field("", max_length=500, description="its name at the service; transformers: hub id or folder")
    max_tokens: int = Field(1024, ge=64, le=32_768, description="length in tokens at which the reply is cut")
    base_url: str = Field("", description="openai: address of the service")
    login: str = Field("", max_length=40, description="openai: name of the key to send (gas keys set NAME)")
    host: str = Field("", description="ollama: address of the Ollama; else $OLLAMA_HOST, else this machine")
    target: float = Field(0.5, ge=0, le=1, description="least probability of yes that is a yes")
    room: float = Field(0.15, ge=0, le=2, description="what is seen around the region: share of its longer side")
    picture_size: int = Field(512, ge=64, le=2048, description="longer side in pixels of the crops that are sent")
    together: bool = Field(True, description="ask about all subtasks in one call; no: two calls for each")


def connection(options: VlmOptions, runtime: Runtime) -> Connection:
    """The connection that the options describe, shared in `runtime`. UsageError (exit 2) for `transformers` without a
    model, and for what is not an address."""
    module, _, name = _KINDS[options.service].partition(":")
    kind: type[Connection] = getattr(import_module(module), name)
    if options.service == "transformers" and not options.model:
        raise UsageError(
            "the verifier 'vlm' has no model for transformers",
            Remedy("name_model", "name one: {model}", model=Option({"model": None}, "vlm")),
        )
    told = {key: value for key, value in options.model_dump().items() if key in kind.options_type.model_fields}
    return connect(kind, kind.options_type(**told), runtime)
