"""What a connection to OpenAI or a compatible service can be told, and the endpoint that its address means."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, field_validator

from gas.chat.addresses import address, is_local
from gas.chat.connection import ServiceOptions
from gas.errors import UsageError
from gas.remedies import Command, Option, Remedy

OFFICIAL = "https://api.openai.com/v1"
LOGIN = "openai"
SCHEMA, PROBABILITIES, LIMIT, OLDER_LIMIT = "response_format", "logprobs", "max_completion_tokens", "max_tokens"
MAX_EXTRA = 4_000
_OURS = frozenset({"model", "messages", "stream", SCHEMA, PROBABILITIES, LIMIT, OLDER_LIMIT})
_ENDPOINT = re.compile(r"/(?:chat/completions|completions|responses|models)/*$")
_VERSION = re.compile(r"/v\d+[a-z0-9]*(?:/|$)")


class OpenAIConnectionOptions(ServiceOptions):
    """What a connection to OpenAI or a compatible service can be told. A key is never among it: `login` names one that
    is kept elsewhere."""

    base_url: str = Field("", description="address of the service; else $OPENAI_BASE_URL, else OpenAI's own")
    login: str = Field(
        "", max_length=40, description="name of the key to send (gas keys set NAME); OpenAI's own needs none"
    )
    temperature: float | None = Field(None, ge=0, le=2, description="not sent when none: some models refuse it")
    think: str = Field(
        "",
        pattern=r"^[a-z]{0,20}$",
        description="how much the model may think: no, or a level of the service (low, medium, high); sent as "
        "reasoning_effort, not at all when empty",
    )
    extra: str = Field(
        "",
        max_length=MAX_EXTRA,
        description='more fields for the service, as JSON: {"chat_template_kwargs": {"enable_thinking": false}}',
    )

    @field_validator("extra")
    @classmethod
    def _is_an_object(cls, text: str) -> str:
        if not text.strip():
            return ""
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("is not JSON") from None
        if not isinstance(fields, dict):
            raise ValueError("is not a JSON object")
        if taken := sorted(_OURS & fields.keys()):
            raise ValueError(f"may not hold {taken[0]!r}, which is set by gas itself")
        return text


@dataclass(frozen=True)
class Endpoint:
    """Where a service is. `paired`: the user's environment names this address beside OPENAI_API_KEY."""

    url: str
    paired: bool = False

    @property
    def address(self) -> str:
        """The address as it may be shown."""
        return address(self.url)

    @property
    def remote(self) -> bool:
        """Whether it is on another machine."""
        return not is_local(self.url)

    @property
    def official(self) -> bool:
        """Whether it is OpenAI's own."""
        return urlsplit(self.url).hostname == urlsplit(OFFICIAL).hostname

    @property
    def versioned(self) -> Remedy | None:
        """Advice to add `/v1` to an address that has no version in it; None when it has."""
        if _VERSION.search(urlsplit(self.url).path):
            return None
        return Remedy(
            "versioned_address",
            "the address ends in /v1 with most services: {address}",
            address=Option({"base_url": f"{self.address}/v1"}),
        )

    @property
    def hint(self) -> Remedy:
        """What to look at when nothing comes from there."""
        first = "check the network and {address}" if self.remote else "is the server running there? check {address}"
        return Remedy("check_address", first, address=Option({"base_url": None}))


def endpoint(base_url: str) -> Endpoint:
    """The endpoint that `base_url` means, or else the environment, or else OpenAI's own.

    UsageError (2) for what is not an address, holds a login, or names an endpoint that is added to it anyway.
    """
    named = os.environ.get("OPENAI_BASE_URL", "").strip()
    url = base_url.strip() or named or OFFICIAL
    parts = urlsplit(url)
    try:
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UsageError(
            f"base_url is not an address: {url!a}",
            Remedy("write_address", "e.g. {address}", address=Option({"base_url": "http://localhost:8000/v1"})),
        )
    if parts.username or parts.password:
        raise UsageError(
            "base_url holds a login, and options are recorded",
            Remedy(
                "keep_login",
                "use {keys} and {login}",
                keys=Command("keys set", "NAME"),
                login=Option({"login": "NAME"}),
            ),
        )
    if end := _ENDPOINT.search(parts.path):
        shorter = urlunsplit(parts._replace(path=parts.path[: end.start()]))
        raise UsageError(
            f"base_url ends with {end[0].rstrip('/')}, which is added automatically",
            Remedy("shorter_address", "leave that out: {address}", address=Option({"base_url": shorter})),
        )
    return Endpoint(url, paired=bool(named) and address(url) == address(named))
