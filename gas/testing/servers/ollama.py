"""Ollama's own interface."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gas.testing.servers.service import Asked, FakeService, Reply

THINKING = "thinking"


class FakeOllama(FakeService):
    """`models` maps the names that are pulled to what they can do: "vision", "thinking", ...

    A model that can think does unless it is told `think: false`: the reply's thoughts, or a few of its own, come before
    the answer.
    """

    chat_path = "/api/chat"

    def __init__(
        self,
        replies: Iterable[Reply] = (),
        models: Mapping[str, Sequence[str]] | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(replies)
        self.models = {"llava:latest": ("completion", "vision")} if models is None else dict(models)
        self.sizes = dict(sizes or {})

    def abilities(self, model: Any) -> Sequence[str] | None:
        """What the model can do; None when it is not pulled."""
        return self.models.get(str(model), self.models.get(f"{model}:latest"))

    def refuse(self, asked: Asked) -> tuple[int, Any] | None:
        body = asked.body if isinstance(asked.body, dict) else {}
        able = self.abilities(body.get("model"))
        if able is None:
            return 404, {"error": f"model '{body.get('model')}' not found"}
        if body.get("think") and THINKING not in able:
            return 400, {"error": f'"{body["model"]}" does not support thinking'}
        if "vision" not in able and any(message.get("images") for message in body.get("messages", [])):
            return 400, {"error": "this model does not support image input"}
        return None

    def other(self, asked: Asked) -> tuple[int, Any]:
        if asked.path == "/api/tags":
            return 200, {"models": [self._tag(name) for name in self.models]}
        if asked.path == "/api/show":
            wanted = asked.body.get("model") if isinstance(asked.body, dict) else None
            able = self.abilities(wanted)
            if able is None:
                return 404, {"error": f"model '{wanted}' not found"}
            return 200, {
                "license": "Apache License",
                "modelfile": "# Modelfile",
                "parameters": "num_ctx 4096",
                "template": "{{ .System }}\nUSER: {{ .Prompt }}\nASSISTANT: ",
                "details": _DETAILS,
                "model_info": {"general.architecture": "llama", "llama.context_length": 32768},
                "capabilities": list(able),
                "modified_at": "2026-01-01T12:00:00.000000000Z",
            }
        return super().other(asked)

    def body(self, reply: Reply, asked: Any) -> bytes:
        asked = asked if isinstance(asked, dict) else {}
        stamp = {"model": asked.get("model", ""), "created_at": "2026-01-01T12:00:00.000000000Z"}
        thinks = THINKING in (self.abilities(asked.get("model")) or ()) and asked.get("think") is not False
        thoughts = (reply.thoughts or "The picture shows what was asked for.") if thinks else reply.thoughts
        pieces = [{"content": "", "thinking": piece} for piece in _pieces(thoughts)]
        pieces += [{"content": piece} for piece in _pieces(reply.text or "")]
        lines: list[dict[str, Any]] = [
            {**stamp, "message": {"role": "assistant", **piece}, "done": False} for piece in pieces
        ]
        if asked.get("logprobs") and reply.likely and lines:
            ranked = sorted(reply.likely.items(), key=lambda item: -item[1])
            entries = [{"token": text, "logprob": math.log(p)} for text, p in ranked]
            lines[-1]["logprobs"] = [{**entries[0], "top_logprobs": entries}]
        end = {
            **stamp,
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": reply.finish,
            "total_duration": 5191566416,
            "load_duration": 2154458,
            "prompt_eval_count": 1698,
            "prompt_eval_duration": 383809000,
            "eval_count": 243,
            "eval_duration": 4799921000,
        }
        lines.append({**end, **reply.fields})
        return "".join(json.dumps(line) + "\n" for line in lines).encode()

    def _tag(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "model": name,
            "modified_at": "2026-01-01T12:00:00.000000000Z",
            "size": self.sizes.get(name, 4_733_363_377),
            "digest": "8dd30f6b0cb19f555f2c7a7ebda861449ea2cc76bf1f44e262931f45fc81d081",
            "details": _DETAILS,
        }


def _pieces(text: str) -> list[str]:
    return [text[i : i + 200] for i in range(0, len(text), 200)]


_DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama", "clip"],
    "parameter_size": "7B",
    "quantization_level": "Q4_0",
}
