"""The reply in a chat completion, whose fields the client does not check: any may be missing or of another type."""

from __future__ import annotations

from typing import Any

from gas.chat.replies import Reply, Token

_THOUGHTS = ("reasoning_content", "reasoning")  # of vLLM, SGLang, llama.cpp, DeepSeek; of OpenRouter and newer vLLM
MAX_TOKENS_KEPT = 100_000


def reply_in(completion: Any) -> Reply | None:
    """The reply in `completion`; None when there is no message in it."""
    choices = getattr(completion, "choices", None)
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = getattr(choice, "message", None)
    if message is None:
        return None
    reason = getattr(choice, "finish_reason", None)
    content, refusal = getattr(message, "content", None), getattr(message, "refusal", None)
    if reason == "content_filter" and not refusal:
        refusal = "the service's content filter stopped it"
    usage = getattr(completion, "usage", None)
    spent = getattr(usage, "completion_tokens_details", None)
    thoughts = next((t for name in _THOUGHTS if isinstance(t := getattr(message, name, None), str) and t), "")
    return Reply(
        text=_text(content, "text"),
        thoughts=thoughts or _text(content, "thinking"),
        model=_if(getattr(completion, "model", None), str),
        prompt_tokens=_if(getattr(usage, "prompt_tokens", None), int),
        reply_tokens=_if(getattr(usage, "completion_tokens", None), int),
        thinking_tokens=_if(_field(spent, "reasoning_tokens"), int),
        cut=reason == "length",
        refusal=refusal if isinstance(refusal, str) and refusal else None,
        tokens=_tokens(getattr(choice, "logprobs", None)),
    )


def _text(content: Any, kind: str) -> str:
    """The text of a message, or its thoughts: a string, or a list of parts, of which some services make it.

    Mistral's part of thinking holds a list of parts itself.
    """
    if isinstance(content, str):
        return content if kind == "text" else ""
    found = []
    for part in content if isinstance(content, list) else []:
        inner = part.get(kind) if isinstance(part, dict) else None
        if isinstance(inner, str):
            found.append(inner)
        elif isinstance(inner, list):
            found += [p["text"] for p in inner if isinstance(p, dict) and isinstance(p.get("text"), str)]
    return "".join(found)


def _tokens(logprobs: Any) -> tuple[Token, ...]:
    content = _field(logprobs, "content")
    if not isinstance(content, list):
        return ()
    found = []
    for item in content[:MAX_TOKENS_KEPT]:
        pair = _pair(item)
        if pair is None:
            return ()  # half of them would be worse than none
        others = _field(item, "top_logprobs")
        likeliest = [_pair(other) for other in (others if isinstance(others, list) else [])]
        found.append(Token(*pair, tuple(other for other in likeliest if other is not None)))
    return tuple(found)


def _pair(item: Any) -> tuple[str, float] | None:
    token, logprob = _field(item, "token"), _field(item, "logprob")
    if not isinstance(token, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
        return None
    return token, float(logprob)


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def _if(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) and not isinstance(value, bool) else None
