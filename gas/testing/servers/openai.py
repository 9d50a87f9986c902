"""The chat completions of OpenAI, by a service that takes whatever it is sent."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gas.testing.servers.service import Asked, FakeService, Reply


class FakeOpenAI(FakeService):
    """Answers every chat, whichever model it is for; `models` are the names that it lists."""

    path = "/v1"

    def __init__(self, replies: Iterable[Reply] = (), models: Sequence[str] = ("fake-vision",)) -> None:
        super().__init__(replies)
        self.models = list(models)

    @property
    def chat_path(self) -> str:  # type: ignore[override]
        return f"{self.path}/chat/completions"

    @property
    def url(self) -> str:
        return f"{self.host}{self.path}"

    def other(self, asked: Asked) -> tuple[int, Any]:
        if asked.path == f"{self.path}/models":
            return 200, {"object": "list", "data": [self.listed(name) for name in self.models]}
        return super().other(asked)

    def listed(self, name: str) -> dict[str, Any]:
        """The entry of a model in the list of models."""
        return {"id": name, "object": "model", "created": 1715367049, "owned_by": "system"}

    def body(self, reply: Reply, asked: Any) -> bytes:
        return json.dumps({**self.completion(reply, asked if isinstance(asked, dict) else {}), **reply.fields}).encode()

    def completion(self, reply: Reply, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The completion that carries a reply."""
        choice = {
            "index": 0,
            "message": self.message(reply, asked),
            "logprobs": likelihoods(reply) if asked.get("logprobs") else None,
            "finish_reason": reply.finish,
        }
        return {
            "id": "chatcmpl-fake",
            "object": "chat.completion",
            "created": 1767225600,
            "model": asked.get("model", ""),
            "choices": [choice],
            "usage": {
                "prompt_tokens": 1831,
                "completion_tokens": 214,
                "total_tokens": 2045,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": 190 if reply.thoughts else 0,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            },
            "service_tier": "default",
            "system_fingerprint": "fp_fake",
        }

    def message(self, reply: Reply, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The message of a reply; OpenAI keeps thoughts to itself, and only counts them."""
        return {"role": "assistant", "content": reply.text, "refusal": reply.refusal, "annotations": []}


def likelihoods(reply: Reply) -> dict[str, Any] | None:
    """The log-probabilities of a reply whose first token is the most likely of `reply.likely`."""
    if not reply.likely:
        return None
    ranked = sorted(reply.likely.items(), key=lambda item: -item[1])
    entries = [{"token": text, "logprob": math.log(p), "bytes": list(text.encode())} for text, p in ranked]
    return {"content": [{**entries[0], "top_logprobs": entries}], "refusal": None}
