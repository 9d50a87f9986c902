"""Why a service refused a request, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from gas.chat.calls import CallFailed, Unsupported
from gas.chat.complaints import about_length, about_login, about_model, about_part, about_pictures, message_of
from gas.chat.openai.options import LIMIT, PROBABILITIES, SCHEMA, Endpoint
from gas.remedies import Command, Option, Remedy

A_MODEL = Option({"model": "NAME"})
OTHER_MODEL = "other_model"
"""Code of the remedy of a service that does not know the model."""
SEEING_MODEL = "model_that_sees"
"""Code of the remedy of a model that takes no pictures."""


@dataclass(frozen=True)
class Sent:
    """What was sent: whether it was a chat, its parameters by name, and whether it held pictures."""

    chat: bool = False
    parameters: Collection[str] = ()
    pictures: bool = False


def refusal(
    service: str, endpoint: Endpoint, login: str | None, status: int | None, body: Any, sent: Sent
) -> CallFailed:
    """The failure behind an error of `service`, whose key is named `login`.

    `status` is the HTTP status, or the one within an error that came with status 200, or None. Unsupported for a chat
    that may be taken without some of its parameters.
    """
    detail = message_of(body) or "without a message"
    answered = f"{service} answered {status}" if status else f"{service} reported an error"
    message = f"{answered}: {detail}"
    if about_login(detail, status):
        return CallFailed(f"{answered}: login refused: {detail}", _key_remedy(login), status=status)
    if sent.pictures and about_pictures(detail):
        return CallFailed(message, Remedy(SEEING_MODEL, "name a model that sees: {model}", model=A_MODEL), again=False)
    if status and 300 <= status < 400:
        return CallFailed(
            f"{answered}: it wants to redirect, which is not followed", "set base_url to where it really is"
        )
    if status in (None, 404, 405) and endpoint.versioned and not re.search("model", detail, re.IGNORECASE):
        return CallFailed(message, endpoint.versioned)
    if status in (400, 404) and about_model(detail):
        return CallFailed(message, Remedy(OTHER_MODEL, "name another model with {model}", model=A_MODEL))
    part = about_part(detail, body.get("param") if isinstance(body, dict) else None, sent.parameters)
    named = part in (SCHEMA, PROBABILITIES, LIMIT)
    if sent.chat and (status in (400, 422) or (named and status is not None and status >= 404)):
        return Unsupported(part, message, _checked(part, detail), status=status)
    if status == 404:
        return CallFailed(message, Remedy(OTHER_MODEL, "name another model with {model}", model=A_MODEL))
    if status == 402:
        return CallFailed(message, "the account has no credit left: add some at the service")
    if status is None or status == 429 or status >= 500:
        return CallFailed(message, "try again later", status=status)
    return CallFailed(message, _checked(part, detail), status=status)


def status_within(error: Any) -> int | None:
    """The HTTP status in an error that came with status 200; None when it holds none."""
    code = (error.get("code") or error.get("status")) if isinstance(error, dict) else None
    if isinstance(code, str) and code.isdigit():
        code = int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) and 300 <= code < 600 else None


def _checked(part: str | None, detail: str) -> Remedy:
    """What to look at when the request is refused as it is."""
    if part == SCHEMA:
        return Remedy("unstructured", "try {option}, or another service", option=Option({"structured": "no"}))
    if about_length(detail):
        return Remedy("longer_context", "start the service with a longer context, or name another model")
    if part in ("temperature", "reasoning_effort"):
        name = "think" if part == "reasoning_effort" else "temperature"
        return Remedy("other_option", "set {option} to another value, or leave it out", option=Option({name: None}))
    return Remedy(
        "check_model_and_address",
        "check {model} and {address}",
        model=Option({"model": None}),
        address=Option({"base_url": None}),
    )


def _key_remedy(login: str | None) -> Remedy:
    if login:
        return Remedy("set_key", "set the right key: {keys}", keys=Command("keys set", login))
    return Remedy(
        "name_login",
        "say which key to send: {login} ({keys})",
        login=Option({"login": "NAME"}),
        keys=Command("keys set", "NAME"),
    )
