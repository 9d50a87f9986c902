"""What the services that speak OpenAI's language have in common: what they refuse; how each words it is its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar

from gas.testing.servers.openai import FakeOpenAI
from gas.testing.servers.service import Asked, Reply

Models = Mapping[str, Collection[str]]
SEES, TAKES_SCHEMAS, THINKS = "vision", "schema", "thinking"
A_THOUGHT = "The picture shows what was asked for."


class Compatible(FakeOpenAI):
    """`models` maps names to what they can do: SEES, TAKES_SCHEMAS, THINKS. `key`: the only one that is let in."""

    default_models: ClassVar[Models] = {}

    def __init__(
        self,
        replies: Iterable[Reply] = (),
        models: Mapping[str, Collection[str]] | None = None,
        key: str | None = None,
    ) -> None:
        self.able = dict(self.default_models if models is None else models)
        super().__init__(replies, tuple(self.able))
        self.key = key

    # What a service says

    def no_key(self) -> tuple[int, Any]:
        """Its answer to a missing or wrong key."""
        raise NotImplementedError

    def no_model(self, name: str) -> tuple[int, Any]:
        """Its answer to a model that it does not have."""
        raise NotImplementedError

    def no_pictures(self, name: str) -> tuple[int, Any]:
        """Its answer to a picture for a model that does not see."""
        raise NotImplementedError

    def no_schema(self, name: str) -> tuple[int, Any] | None:
        """Its answer to a schema for a model that takes none; None: it ignores the schema."""
        return None

    # What they have in common

    def abilities(self, asked: Mapping[str, Any]) -> Collection[str] | None:
        """What the model that is asked can do; None when it is not there."""
        return self.able.get(str(asked.get("model")))

    def refuse(self, asked: Asked) -> tuple[int, Any] | None:
        if not self._let_in(asked):
            return self.no_key()
        body = asked.body if isinstance(asked.body, dict) else {}
        name, able = str(body.get("model")), self.abilities(body)
        if able is None:
            return self.no_model(name)
        if SEES not in able and _has_picture(body):
            return self.no_pictures(name)
        if TAKES_SCHEMAS not in able and "response_format" in body:
            return self.no_schema(name)
        return None

    def other(self, asked: Asked) -> tuple[int, Any]:
        if asked.path == f"{self.path}/models" and not self._let_in(asked):
            return self.no_key()
        return super().other(asked)

    def thoughts(self, reply: Reply, asked: Mapping[str, Any]) -> str:
        """What the model thought before it answered, if it did."""
        return reply.thoughts or (A_THOUGHT if THINKS in (self.abilities(asked) or ()) else "")

    def _let_in(self, asked: Asked) -> bool:
        if self.key is None:
            return True
        headers = {name.lower(): value for name, value in asked.headers.items()}
        return headers.get("authorization") == f"Bearer {self.key}"


def error(message: str, kind: str = "invalid_request_error", param: Any = None, code: Any = None) -> dict[str, Any]:
    """An error as OpenAI writes it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _has_picture(body: Mapping[str, Any]) -> bool:
    contents = [message.get("content") for message in body.get("messages", [])]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return any(isinstance(part, dict) and part.get("type") == "image_url" for part in parts)
