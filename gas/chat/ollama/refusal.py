"""Why an Ollama refused a request, and what to do about it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gas.chat.addresses import is_local
from gas.chat.calls import CallFailed, Unsupported
from gas.chat.complaints import about_length, about_login, about_part, about_pictures, message_of
from gas.remedies import Command, Option, Remedy

LOGIN = "ollama"
EXAMPLE, OTHERS = "qwen3-vl", "gemma4, llava"
"""Families that see, for who has pulled none; which models do is asked of the Ollama, never looked up here."""
SCHEMA, PROBABILITIES, THINK = "format", "logprobs", "think"


def refusal(
    service: str, url: str, status: int, body: Any, model: str = "", sent: Collection[str] = (), *, pictures: bool
) -> CallFailed:
    """The failure behind an error of the Ollama `service` at `url`, in its reply or in the middle of it.

    `sent` are the parameters of a chat, by name, none for other questions. Unsupported for a chat that may be taken
    without some of them.
    """
    detail = message_of(body) or "without a message"
    where = f"{service} answered {status}" if status > 0 else f"{service} reported an error"
    if about_login(detail, status):
        return CallFailed(
            f"{where}: login refused: {detail}",
            Remedy("set_login", "this Ollama is behind a login: {keys}", keys=Command("keys set", LOGIN)),
            status=status,
        )
    if pictures and about_pictures(detail):
        example = Option({"model": EXAMPLE})
        seeing = Remedy("model_that_sees", "name a model that sees, e.g. {model}", model=example)
        return CallFailed(f"{where}: {detail}", seeing, again=False)
    if status == 404:
        return CallFailed(f"{where}: {detail}", f"ollama pull {model}" if model else hint(url), status=status)
    if 300 <= status < 400:
        return CallFailed(
            f"{where}: it wants to redirect, which is not followed", "set host to where it really is", status=status
        )
    part = about_part(detail, None, sent)
    if sent and (status in (400, 422) or part == SCHEMA):
        return Unsupported(part, f"{where}: {detail}", _checked(part, detail), status=status)
    return CallFailed(f"{where}: {detail}", _checked(None, detail), status=status)


def hint(url: str) -> Remedy:
    """What to look at when nothing sensible comes from the Ollama at `url`."""
    if is_local(url):
        return Remedy("start_ollama", "start it with `ollama serve` (https://ollama.com/download)")
    return Remedy(
        "check_host", "check OLLAMA_HOST or {host}, and that Ollama listens there", host=Option({"host": None})
    )


def other_model(seeing: str | None) -> Remedy:
    """Advice to name a model that sees: the one that is there, if one is."""
    if seeing is not None:
        return Remedy("model_that_sees", "name one that sees: {model}", model=Option({"model": seeing}))
    return Remedy(
        "model_that_sees",
        "name one that sees, e.g. {model} after {pull} (or {others}, or any other that sees)",
        model=Option({"model": EXAMPLE}),
        pull=f"ollama pull {EXAMPLE}",
        others=OTHERS,
    )


def _checked(part: str | None, detail: str) -> str | Remedy:
    if part == SCHEMA:
        return Remedy("unstructured", "update Ollama, or set {option}", option=Option({"structured": "no"}))
    if about_length(detail):
        return Remedy("more_context", "raise {context}", context=Option({"context": None}))
    return "see Ollama's log; the model may need more memory"
