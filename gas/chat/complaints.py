"""What a service complains of: the message in an error's body, whatever its shape, and what it is about.

The shapes are those of OpenAI, Gemini, Anthropic, Mistral, OpenRouter, DeepSeek, vLLM, LM Studio, llama.cpp, FastAPI
and of proxies in front of them; the wordings are theirs too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

MAX_SHOWN = 300
_MAX_DEPTH = 8
_MAX_PARTS = 3
_HOLDERS = (
    *("error", "errors", "message", "detail", "details", "msg", "error_message", "errorMessage", "error_description"),
    *("reason", "title", "text", "description"),
)

_PICTURE = re.compile(r"image|picture|vision|visual|multi-?modal|mmproj|content part", re.IGNORECASE)
_NOT_TAKEN = re.compile(
    r"not? (?:\w+ ){0,3}support|n't support|unsupported|only supported|not (?:a )?multi-?modal|support \w+ input"
    r"|unknown variant|not (?:accept|allow|enabl|available)|cannot (?:process|read|take|accept) (?:images|pictures)"
    r"|missing data required|at most 0",
    re.IGNORECASE,
)
_OF_THE_FILE = re.compile(
    r"image (?:format|type|size|file)|media[ _]type|mime|too (?:large|big|small)|base64|corrupt|decod|download"
    r"|dimension",
    re.IGNORECASE,
)
# A list of parts (text and picture) where only text is known.
_ONLY_TEXT = re.compile(
    r"image_url.{0,40}expected|expected .{0,40}image_url|invalid type: sequence, expected a string"
    r"|ChatCompletionRequestContent|content.{0,40}(?:must be|should be|of type|expected) (?:a |an )?(?:valid )?string"
    r"|concatenate str",
    re.IGNORECASE | re.DOTALL,
)
_SCHEMA = re.compile(
    r"response[_ ](?:format|schema)|json[_ ]schema|structured[_ ]output|grammar|guided|additionalProperties",
    re.IGNORECASE,
)
_PROBABILITIES = re.compile(r"log_?probs?|log[ -]probabilit", re.IGNORECASE)
_THINKING = re.compile(r"\bthink", re.IGNORECASE)
_LOGIN = re.compile(
    r"(?:api|x-api)[ _-]?key|unauthori[sz]ed|authenticat|credential|invalid token|expired token", re.IGNORECASE
)
_JUDGED = re.compile(r"moderation|flagged|content policy|usage polic|country|region|territory", re.IGNORECASE)
_NO_MODEL = re.compile(
    r"not a valid model|unknown model|no such model|invalid model (?:id|name|identifier)"
    r"|\bmodels?\b.{0,80}(?:does not exist|do not exist|(?:is|was|be) not found|not found)",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context (?:length|size|window)|maximum context|too many tokens|prompt is too long"
    r"|exceeds? the (?:available )?context",
    re.IGNORECASE,
)


def message_of(body: Any) -> str:
    """What an error's `body` says, on one line of printable characters; empty when it says nothing in words.

    `body` is JSON in Python's values, or text: `{"error": ...}`, `[{"error": ...}]`, `{"detail": [{"loc", "msg"}]}`,
    `{"message": {...}}`, JSON within a string, plain text, HTML (of which the title or first heading is told).
    """
    text = _found(body, _MAX_DEPTH)
    if re.search(r"<(?:!doctype\s+html|html|head|body)\b", text[:2000], re.IGNORECASE):
        title = re.search(r"<(?:title|h1)[^<>]{0,200}>\s*([^<]{1,100}?)\s*</", text[:10_000], re.IGNORECASE)
        return f'an HTML page, "{_line(title[1])}"' if title else "an HTML page"
    line = _line(text)
    return line[:MAX_SHOWN] if re.search(r"\w", line[:MAX_SHOWN]) else ""


def about_pictures(text: str) -> bool:
    """Whether the message says that the model, or the service, takes no pictures: not that this one is faulty."""
    if _ONLY_TEXT.search(text):
        return True
    return bool(_PICTURE.search(text) and _NOT_TAKEN.search(text) and not _OF_THE_FILE.search(text))


def about_login(text: str, status: int | None) -> bool:
    """Whether the key was refused; some services say that with status 400."""
    if status == 403 and _JUDGED.search(text):
        return False
    return status in (401, 403) or (status in (400, 422) and bool(_LOGIN.search(text)))


def about_model(text: str) -> bool:
    """Whether the service says that it does not have the model."""
    return bool(_NO_MODEL.search(text))


def about_length(text: str) -> bool:
    """Whether the request is longer than the model's context."""
    return bool(_TOO_LONG.search(text))


def about_part(text: str, param: Any, parts: Collection[str]) -> str | None:
    """The one of `parts` of the request that the message names, or None.

    Parts are parameters by their names; some are known by other words too. `param` is the body's own word for it.
    """
    named = param.split(".")[0].split("[")[0] if isinstance(param, str) else ""
    if named in parts:
        return named
    for part in sorted(parts, key=len, reverse=True):
        if _WORDINGS.get(part, re.compile(rf"\b{re.escape(part)}\b")).search(f"{named} {text}"):
            return part
    return None


_WORDINGS = {"response_format": _SCHEMA, "format": _SCHEMA, "logprobs": _PROBABILITIES, "think": _THINKING}


def _found(value: Any, depth: int) -> str:
    """The words in `value`: those that known keys hold, of a list the first few."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return _found(inner, depth - 1) if depth > 0 and (inner := _json_within(value)) is not None else value
    if depth <= 0:
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, (_found(item, depth - 1) for item in value[:_MAX_PARTS])))
    if not isinstance(value, dict):
        return ""
    words = dict.fromkeys(filter(None, (_found(value[key], depth - 1) for key in _HOLDERS if key in value)))
    said = "; ".join(list(words)[:_MAX_PARTS])
    if said and isinstance(place := value.get("loc"), list):  # FastAPI says where
        said = f"{'.'.join(str(part) for part in place[:6])}: {said}"
    metadata = value.get("metadata")
    if isinstance(metadata, dict) and (behind := _found(metadata.get("raw"), depth - 1)):  # OpenRouter passes it on
        said = f"{said}: {behind}"
    return said


def _json_within(text: str) -> Any:
    """The list or object that `text` holds as JSON; None when it holds something else."""
    body = text.strip()
    if len(body) > 100_000 or not (body.startswith(("{", "[{", '["')) and body.endswith(("}", "]"))):
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text[:2000]).split())
