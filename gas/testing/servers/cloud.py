"""The services of OpenAI, Google, Anthropic and OpenRouter, as they answer chats in OpenAI's language.

What they say is taken from their documentation, and from what their users report.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from gas.testing.servers.compatible import SEES, TAKES_SCHEMAS, THINKS, Compatible, Models, error
from gas.testing.servers.service import Asked, Reply


class FakeStrictOpenAI(Compatible):
    """OpenAI itself: https://platform.openai.com/docs/api-reference/chat. Models that think refuse `max_tokens`."""

    default_models: ClassVar[Models] = {
        "gpt-5-mini": (SEES, TAKES_SCHEMAS, THINKS),
        "gpt-4-turbo": (SEES,),
        "gpt-3.5-turbo": (),
    }

    def refuse(self, asked: Asked) -> tuple[int, Any] | None:
        body = asked.body if isinstance(asked.body, dict) else {}
        if THINKS in (self.abilities(body) or ()) and "max_tokens" in body:
            message = (
                "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead."
            )
            return 400, error(message, param="max_tokens", code="unsupported_parameter")
        return super().refuse(asked)

    def no_key(self) -> tuple[int, Any]:
        return 401, error("Incorrect API key provided: none.", code="invalid_api_key")

    def no_model(self, name: str) -> tuple[int, Any]:
        message = f"The model `{name}` does not exist or you do not have access to it."
        return 404, error(message, code="model_not_found")

    def no_pictures(self, name: str) -> tuple[int, Any]:
        return 400, error("Invalid content type. image_url is only supported by certain models.")

    def no_schema(self, name: str) -> tuple[int, Any]:
        message = "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."
        return 400, error(message)


class FakeGemini(Compatible):
    """Gemini's compatible address: https://ai.google.dev/gemini-api/docs/openai. Its errors come within a list."""

    path = "/v1beta/openai"
    default_models: ClassVar[Models] = {"gemini-3-flash-preview": (SEES, TAKES_SCHEMAS), "gemini-2.0-flash": (SEES,)}

    def abilities(self, asked: Mapping[str, Any]) -> Collection[str] | None:
        return self.able.get(str(asked.get("model")).removeprefix("models/"))

    def listed(self, name: str) -> dict[str, Any]:
        return {"id": f"models/{name}", "object": "model", "owned_by": "google", "display_name": name}

    def no_key(self) -> tuple[int, Any]:
        message = "API key not valid. Please pass a valid API key."
        reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
        return self._refusal(400, "INVALID_ARGUMENT", message, details=[reason])

    def no_model(self, name: str) -> tuple[int, Any]:
        message = f"models/{name} is not found for API version v1main, or is not supported for generateContent."
        return self._refusal(404, "NOT_FOUND", message)

    def no_pictures(self, name: str) -> tuple[int, Any]:
        return self._refusal(400, "INVALID_ARGUMENT", f"Image input modality is not enabled for models/{name}")

    def no_schema(self, name: str) -> tuple[int, Any]:
        message = (
            'Invalid JSON payload received. Unknown name "additionalProperties" at '
            "'generation_config.response_schema': Cannot find field."
        )
        return self._refusal(400, "INVALID_ARGUMENT", message)

    def completion(self, reply: Reply, asked: Mapping[str, Any]) -> dict[str, Any]:
        usage = {"completion_tokens": 214, "prompt_tokens": 1831, "total_tokens": 2045}
        choice = {"finish_reason": reply.finish, "index": 0, "message": self.message(reply, asked)}
        full = super().completion(reply, asked)
        return {name: full[name] for name in ("created", "id", "model", "object")} | {
            "choices": [choice],
            "usage": usage,
        }

    def message(self, reply: Reply, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Without a content where all tokens went into thoughts."""
        return {"role": "assistant", **({"content": reply.text} if reply.text else {})}

    def _refusal(self, code: int, status: str, message: str, **more: Any) -> tuple[int, Any]:
        return code, [{"error": {"code": code, "message": message, "status": status, **more}}]


class FakeAnthropic(Compatible):
    """Anthropic's compatible address: https://platform.claude.com/docs/en/api/openai-sdk. It ignores
    `response_format`, `logprobs` and `reasoning_effort`."""

    default_models: ClassVar[Models] = {"claude-opus-4-6": (SEES,), "claude-haiku-4-5": (SEES,)}

    def no_key(self) -> tuple[int, Any]:
        return 401, error("invalid x-api-key", kind="authentication_error", code="authentication_error")

    def no_model(self, name: str) -> tuple[int, Any]:
        return 404, error(f"model: {name}", kind="not_found_error", code="not_found_error")

    def no_pictures(self, name: str) -> tuple[int, Any]:
        raise AssertionError("all of its models see")

    def completion(self, reply: Reply, asked: Mapping[str, Any]) -> dict[str, Any]:
        full = super().completion(reply, {**asked, "logprobs": False})
        usage = {name: full["usage"][name] for name in ("completion_tokens", "prompt_tokens", "total_tokens")}
        return {**full, "usage": usage, "service_tier": None, "system_fingerprint": None}


class FakeOpenRouter(Compatible):
    """OpenRouter: https://openrouter.ai/docs/api/reference/errors-and-debugging. It says in its list what models take,
    and passes on what the service behind it said."""

    path = "/api/v1"
    default_models: ClassVar[Models] = {
        "qwen/qwen3-vl-8b-instruct": (SEES, TAKES_SCHEMAS),
        "google/gemma-3-27b-it": (SEES,),
        "deepseek/deepseek-chat-v3.1": (TAKES_SCHEMAS, THINKS),
    }

    def listed(self, name: str) -> dict[str, Any]:
        kinds = ["text", "image"] if SEES in self.able[name] else ["text"]
        parameters = ["max_tokens", "logprobs", *(["structured_outputs"] if TAKES_SCHEMAS in self.able[name] else [])]
        architecture = {
            "modality": f"{'+'.join(kinds)}->text",
            "input_modalities": kinds,
            "output_modalities": ["text"],
        }
        return {"id": name, "name": name, "architecture": architecture, "supported_parameters": parameters}

    def no_key(self) -> tuple[int, Any]:
        return 401, {"error": {"message": "No auth credentials found", "code": 401}}

    def no_model(self, name: str) -> tuple[int, Any]:
        return 400, {"error": {"message": f"{name} is not a valid model ID", "code": 400}, "user_id": "user_fake"}

    def no_pictures(self, name: str) -> tuple[int, Any]:
        return 404, {"error": {"message": "No endpoints found that support image input", "code": 404}}

    def no_schema(self, name: str) -> tuple[int, Any]:
        raw = '{"error":{"message":"`response_format` is not available for this model"}}'
        error = {"message": "Provider returned error", "code": 400, "metadata": {"raw": raw, "provider_name": "Fake"}}
        return 400, {"error": error, "user_id": "user_fake"}

    def completion(self, reply: Reply, asked: Mapping[str, Any]) -> dict[str, Any]:
        full = super().completion(reply, asked)
        full["choices"][0]["native_finish_reason"] = reply.finish
        return {**full, "provider": "Fake"}

    def message(self, reply: Reply, asked: Mapping[str, Any]) -> dict[str, Any]:
        thoughts = "" if asked.get("reasoning_effort") == "none" else self.thoughts(reply, asked)
        return {"role": "assistant", "content": reply.text, "refusal": reply.refusal, "reasoning": thoughts or None}
