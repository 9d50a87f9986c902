"""Servers of models on one's own machine that speak OpenAI's language: vLLM, LM Studio, llama.cpp.

What they say is taken from their documentation, and from what their users report.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gas.testing.servers.compatible import SEES, TAKES_SCHEMAS, Compatible, Models, error
from gas.testing.servers.service import Asked, Reply


class FakeVLLM(Compatible):
    """vLLM: https://docs.vllm.ai, "OpenAI-Compatible Server" and "Reasoning Outputs". A model that thinks does unless
    the chat template is told `enable_thinking: false`; the thoughts come in `reasoning`."""

    default_models: ClassVar[Models] = {"Qwen/Qwen3-VL-8B-Instruct": (SEES, TAKES_SCHEMAS)}

    def other(self, asked: Asked) -> tuple[int, Any]:
        if asked.path.startswith(f"{self.path}/models"):
            return super().other(asked)
        return 404, {"detail": "Not Found"}

    def listed(self, name: str) -> dict[str, Any]:
        return {**super().listed(name), "owned_by": "vllm", "root": name, "parent": None, "max_model_len": 32768}

    def no_key(self) -> tuple[int, Any]:
        return 401, {"error": "Unauthorized"}

    def no_model(self, name: str) -> tuple[int, Any]:
        return 404, error(f"The model `{name}` does not exist.", kind="NotFoundError", param="model", code=404)

    def no_pictures(self, name: str) -> tuple[int, Any]:
        return 400, error(f"{name} is not a multimodal model None", kind="BadRequestError", code=400)

    def no_schema(self, name: str) -> tuple[int, Any]:
        message = "The provided JSON schema contains features not supported by xgrammar."
        return 400, error(message, kind="BadRequestError", code=400)

    def message(self, reply: Reply, asked: Mapping[str, Any]) -> dict[str, Any]:
        template = asked.get("chat_template_kwargs") or {}
        thoughts = "" if template.get("enable_thinking") is False else self.thoughts(reply, asked)
        more: dict[str, Any] = {"audio": None, "function_call": None, "tool_calls": [], "reasoning": thoughts or None}
        return {**super().message(reply, asked), **more}


class FakeLMStudio(Compatible):
    """LM Studio: https://lmstudio.ai/docs/developer/openai-compat. Its errors are sentences, and a path that it does
    not know gets one with status 200. It gives no log-probabilities."""

    default_models: ClassVar[Models] = {"qwen/qwen3-vl-8b": (SEES, TAKES_SCHEMAS)}

    def other(self, asked: Asked) -> tuple[int, Any]:
        if asked.path == f"{self.path}/models":
            return super().other(asked)
        return 200, {"error": f"Unexpected endpoint or method. ({asked.method} {asked.path})"}

    def listed(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "owned_by": "organization_owner"}

    def no_key(self) -> tuple[int, Any]:
        return 401, {"error": "An LM Studio API token is required to make requests to this server."}

    def no_model(self, name: str) -> tuple[int, Any]:
        message = f'Failed to load model "{name}". Error: Model does not exist.'
        return 404, error(message, param="model", code="model_not_found")

    def no_pictures(self, name: str) -> tuple[int, Any]:
        return 400, {"error": "Model does not support images. Please use a model that does."}

    def no_schema(self, name: str) -> tuple[int, Any]:
        return 400, {"error": "'response_format.type' must be 'json_object' or 'text'"}

    def completion(self, reply: Reply, asked: Mapping[str, Any]) -> dict[str, Any]:
        full = super().completion(reply, {**asked, "logprobs": False})
        kept = ("id", "object", "created", "model", "choices", "usage")
        return {name: full[name] for name in kept} | {"stats": {}, "system_fingerprint": full["model"]}

    def message(self, reply: Reply, asked: Mapping[str, Any]) -> dict[str, Any]:
        thoughts = self.thoughts(reply, asked)
        more = {"reasoning_content": thoughts} if thoughts else {}
        return {"role": "assistant", "content": reply.text, "tool_calls": [], **more}


class FakeLlamaCpp(Compatible):
    """llama-server of llama.cpp: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md. It serves
    one model, whatever name is asked for, and says in its list whether that sees."""

    default_models: ClassVar[Models] = {"ggml-org/Qwen3-VL-8B-Instruct-GGUF": (SEES, TAKES_SCHEMAS)}

    def abilities(self, asked: Mapping[str, Any]) -> Collection[str]:
        return next(iter(self.able.values()))

    def other(self, asked: Asked) -> tuple[int, Any]:
        listing = f"{self.path}/models"
        if asked.path in ("/models", listing):
            return super().other(replace(asked, path=listing))
        return 404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}

    def listed(self, name: str) -> dict[str, Any]:
        kinds = ["text", "image"] if SEES in self.able[name] else ["text"]
        architecture = {"input_modalities": kinds, "output_modalities": ["text"]}
        more = {"owned_by": "llamacpp", "architecture": architecture, "meta": {"n_ctx_train": 262144}}
        return {**super().listed(name), **more}

    def no_key(self) -> tuple[int, Any]:
        return 401, {"error": {"message": "Invalid API Key", "type": "authentication_error", "code": 401}}

    def no_model(self, name: str) -> tuple[int, Any]:
        raise AssertionError("llama-server takes any name")

    def no_pictures(self, name: str) -> tuple[int, Any]:
        message = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
        return 500, {"error": {"code": 500, "message": message, "type": "server_error"}}

    def no_schema(self, name: str) -> tuple[int, Any]:
        return 400, {"error": {"code": 400, "message": "Failed to parse grammar", "type": "invalid_request_error"}}

    def completion(self, reply: Reply, asked: Mapping[str, Any]) -> dict[str, Any]:
        full = super().completion(reply, asked)
        kept = ("id", "object", "created", "model", "choices", "usage")
        timings = {"cache_n": 0, "prompt_n": 1831, "prompt_ms": 812.5, "predicted_n": 214, "predicted_ms": 4012.9}
        return {name: full[name] for name in kept} | {"system_fingerprint": "b7213-fake", "timings": timings}

    def message(self, reply: Reply, asked: Mapping[str, Any]) -> dict[str, Any]:
        thoughts = "" if asked.get("reasoning_effort") == "none" else self.thoughts(reply, asked)
        more = {"reasoning_content": thoughts} if thoughts else {}
        return {"role": "assistant", "content": reply.text, **more}
