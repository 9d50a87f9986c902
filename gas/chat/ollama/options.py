"""What a connection to an Ollama can be told, and where the Ollama is."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from pydantic import Field

from gas.chat.connection import ServiceOptions
from gas.errors import UsageError
from gas.remedies import Option, Remedy

HERE = "http://127.0.0.1:11434"
_KEEP_ALIVE = re.compile(r"-?\d{1,9}(?:\.\d{1,3})?(?:ms|s|m|h)?")


class OllamaConnectionOptions(ServiceOptions):
    """What a connection to an Ollama can be told."""

    host: str = Field("", description="address of the Ollama; else $OLLAMA_HOST, else this machine")
    keep_alive: str = Field(
        "5m", pattern=f"^{_KEEP_ALIVE.pattern}$", description="how long the model stays loaded afterwards"
    )
    context: int = Field(
        8192, ge=2048, le=131_072, description="tokens that the model is to hold; Ollama cuts what is more"
    )
    temperature: float = Field(0.0, ge=0, le=2)
    think: str = Field(
        "no",
        pattern=r"^[a-z]{1,20}$",
        description="whether a model that can think does: no, yes, or a level that it knows (low, medium, high)",
    )


def address_of(host: str) -> str:
    """The address of the Ollama, from an option or the environment as Ollama itself reads it.

    UsageError (2) for what is not an address, holds a login, or continues into Ollama's own paths.
    """
    text = host.strip() or os.environ.get("OLLAMA_HOST", "").strip()
    if not text:
        return HERE
    url = text if "://" in text else f"http://{text}"
    parts = urlsplit(url)
    try:
        name, port = parts.hostname or "127.0.0.1", parts.port
    except ValueError:
        name, port = "", None
    if parts.scheme not in ("http", "https") or not name:
        raise UsageError(
            f"host is not an address: {text!a}",
            Remedy("write_host", "e.g. {host}", host=Option({"host": "localhost:11434"})),
        )
    if parts.username or parts.password:
        raise UsageError("host holds a login, and options are recorded", "put Ollama behind a local tunnel instead")
    if name in ("0.0.0.0", "::"):  # what a server listens on: all of this machine
        name = "127.0.0.1"
    default = 11434 if "://" not in text else {"http": 80, "https": 443}[parts.scheme]
    shown = f"[{name}]" if ":" in name else name
    base, path = f"{parts.scheme}://{shown}:{port or default}", parts.path.rstrip("/")
    if end := re.search(r"/(?:v1|api)(?:/.*)?$", path):
        raise UsageError(
            f"host ends with {end[0]}, which is not part of Ollama's address",
            Remedy("shorter_host", "leave that out: {host}", host=Option({"host": base + path[: end.start()]})),
        )
    return base + path
