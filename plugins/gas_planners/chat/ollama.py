"""Asks a LLaVA-class model of an Ollama, on this machine unless another is named, with the picture."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from gas.chat.calls import CONNECT_SECONDS, CallFailed, Line, Unsupported, address, is_local
from gas.chat.picture import Picture
from gas.errors import ModelUnavailable, ServiceUnavailable, UsageError
from gas.preview import Message
from gas.remedies import Command, Option, Remedy, Setting, install
from gas.settings import keys
from gas_planners.chat.planner import Answer, ModelOptions, ModelPlanner

HERE = "http://127.0.0.1:11434"
SUGGESTED = "llava"
LOGIN = "ollama"
MAX_LOOKED_AT = 20
_CLOUD_BYTES = 10_000_000
_SEEING_FAMILIES = frozenset({"clip", "mllama"})
_KEEP_ALIVE = re.compile(r"-?\d{1,9}(?:\.\d{1,3})?(?:ms|s|m|h)?")


class OllamaOptions(ModelOptions):
    """What the planner `ollama` can be told."""

    host: str = Field("", description="address of the Ollama; else $OLLAMA_HOST, else this machine")
    keep_alive: str = Field(
        "5m", pattern=f"^{_KEEP_ALIVE.pattern}$", description="how long the model stays loaded afterwards"
    )
    context: int = Field(
        8192, ge=2048, le=131_072, description="tokens that the model is to hold; Ollama cuts what is more"
    )
    temperature: float = Field(0.0, ge=0, le=2)


@dataclass(frozen=True)
class Pulled:
    """A model that the Ollama has. `cloud`: it only stands for one that runs at Ollama's own service."""

    name: str
    cloud: bool


class OllamaPlanner(ModelPlanner[OllamaOptions]):
    """Plans by a local model that sees. Another host than this machine, and a cloud model, count as remote."""

    options_type = OllamaOptions
    name = "ollama"

    def __init__(self, options: OllamaOptions, runtime: Any) -> None:
        super().__init__(options, runtime)
        self._url = _host(options.host)

    @property
    def address(self) -> str:
        return address(self._url)

    @property
    def remote(self) -> bool:
        return not is_local(self._url) or _is_cloud(self.options.model)

    def models(self, silence: float | None = None) -> list[Pulled]:
        """The models that are pulled, the newest first. ServiceUnavailable (8) when the Ollama is not there."""
        line = self._line(silence)
        return line.look(lambda wait: self._list(line, wait))

    def sees(self, model: str, silence: float | None = None) -> bool:
        """Whether `model` takes pictures. ServiceUnavailable (8) naming `ollama pull` when it is not pulled."""
        line = self._line(silence)
        return line.look(lambda wait: self._look_at(line, model, wait))

    def seeing(self, silence: float | None = None) -> str | None:
        """The first pulled model that takes pictures and runs on the Ollama's own machine; None when there is none."""
        return self._seeing(self._line(silence))

    def _seeing(self, line: Line) -> str | None:
        here = [m.name for m in line.look(lambda wait: self._list(line, wait)) if not m.cloud]
        return next(
            (m for m in here[:MAX_LOOKED_AT] if line.look(lambda wait, m=m: self._look_at(line, m, wait))), None
        )  # type: ignore[misc]

    def _line(self, silence: float | None) -> Line:
        self._prepare()
        return Line(
            f"{self.name} ({self.address})",
            seconds=silence or self.options.time_limit,
            silence=silence or self.options.silence,
            secrets=self._secrets(),
        )

    def _secrets(self) -> list[SecretStr]:
        key = keys.find(LOGIN)
        return [key] if key else []

    def _key_origin(self) -> str | None:
        return keys.origin(LOGIN)

    def _prepare(self) -> None:
        super()._prepare()
        _package()

    def _shown_model(self) -> str:
        return self.options.model or "the newest pulled one that sees (asked for when run)"

    def _model(self, line: Line) -> str:
        wanted = str(self.options.model)
        if wanted:
            if not line.look(lambda wait: self._look_at(line, wanted, wait)) and self.options.picture:
                raise ServiceUnavailable(
                    f"the model {wanted!r} of {line.service} takes no pictures",
                    Remedy(
                        "model_that_sees",
                        "name one that sees, e.g. {model}, or set {blind}",
                        model=Option({"model": SUGGESTED}, self.name),
                        blind=Option({"picture": False}, self.name),
                    ),
                )
            return wanted
        found = self._seeing(line)
        if found is None:
            raise ServiceUnavailable(
                f"{line.service} has no model that sees",
                Remedy(
                    "pull_or_name",
                    "{pull}, or name another with {model}",
                    pull=f"ollama pull {SUGGESTED}",
                    model=Option({"model": "NAME"}, self.name),
                ),
            )
        return found

    def _ask(
        self,
        line: Line,
        model: str,
        messages: Sequence[Message],
        picture: Picture | None,
        schema: dict[str, Any] | None,
        seed: int,
    ) -> Answer:
        body = {
            "model": model,
            "messages": [_wired(m, picture) for m in messages],
            "keep_alive": _seconds_or_text(self.options.keep_alive),
            "options": {
                "temperature": self.options.temperature,
                "seed": seed,
                "num_ctx": self.options.context,
                "num_predict": self.options.max_tokens,
            },
        }
        if schema is not None:
            body["format"] = schema
        try:
            return line.call(lambda silence: self._send(line, silence, body))
        except Unsupported as failure:
            if schema is None:
                raise line.failure(failure) from None
            raise

    def _send(self, line: Line, silence: float, body: dict[str, Any]) -> Answer:
        """One answer, read as it is written: a slow machine's words are its signs of life."""
        ollama = _package()
        parts: list[str] = []
        last: Any = None
        with self._client(line, silence) as client:
            try:
                for last in client.chat(**body, stream=True):
                    parts.append(last.message.content or "")
            except ollama.ResponseError as error:
                raise self._refused(line, error, str(body["model"])) from None
            except Exception as error:  # noqa: BLE001 (the client lets malformed replies surface as they fall)
                raise line.explain(error, self._hint()) from None
        if last is None:
            raise CallFailed(f"{line.service} sent an empty reply", "try again", again=True)
        if last.done is False:
            raise CallFailed(f"{line.service} broke off in the middle of its reply", "try again", again=True)
        used = last.prompt_eval_count
        note = None
        if used is not None and used >= self.options.context:
            note = (
                f"the request filled the model's context of {used} tokens, and its beginning was cut: "
                "raise the option context"
            )
        return Answer(
            text="".join(parts),
            model=last.model,
            prompt_tokens=used,
            reply_tokens=last.eval_count,
            cut=last.done_reason == "length",
            note=note,
        )

    def _list(self, line: Line, silence: float) -> list[Pulled]:
        with self._client(line, silence) as client:
            try:
                found = client.list().models
            except Exception as error:  # noqa: BLE001 (as above)
                raise self._explain(line, error) from None
        return [
            Pulled(m.model, _is_cloud(m.model) or (m.size is not None and m.size < _CLOUD_BYTES))
            for m in found
            if m.model
        ]

    def _look_at(self, line: Line, model: str, silence: float) -> bool:
        ollama = _package()
        with self._client(line, silence) as client:
            try:
                shown = client.show(model)
            except ollama.ResponseError as error:
                if error.status_code == 404:
                    pulled = [m.name for m in self._list(line, silence)]
                    there = f"; pulled: {', '.join(pulled[:12])}" if pulled else ""
                    raise CallFailed(
                        f"{line.service} has no model {model!r}", f"ollama pull {model}{there}", status=404
                    ) from None
                raise self._refused(line, error, model) from None
            except Exception as error:  # noqa: BLE001 (as above)
                raise line.explain(error, self._hint()) from None
        if shown.capabilities is not None:
            return "vision" in shown.capabilities
        families = (shown.details.families if shown.details else None) or []  # before Ollama 0.6.4
        return bool(_SEEING_FAMILIES & set(families))

    def _client(self, line: Line, silence: float) -> Any:
        ollama = _package()
        import httpx  # the client's own transport

        key = keys.find(LOGIN)
        login = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        return ollama.Client(
            host=self._url,
            headers={"accept-encoding": "identity", **login},
            timeout=httpx.Timeout(silence, connect=min(CONNECT_SECONDS, silence)),
            # A redirect would take the picture to where nobody said.
            follow_redirects=False,
            # Proxies of the environment are for other machines.
            trust_env=not is_local(self._url),
            # Certificates take a while to load, and plain http has none.
            verify=not self._url.startswith("http://"),
            event_hooks={"response": [line.hook(httpx)]},
        )

    def _explain(self, line: Line, error: Exception) -> CallFailed:
        if isinstance(error, _package().ResponseError):
            return self._refused(line, error, "")
        return line.explain(error, self._hint())

    def _refused(self, line: Line, error: Any, model: str) -> CallFailed:
        """The failure behind an error of Ollama's, in its reply or in the middle of it."""
        status, detail = error.status_code, " ".join(str(error.error).split())[:300]
        where = f"{line.service} answered {status}" if status > 0 else f"{line.service} reported an error"
        if "<html" in detail.lower():
            detail = "an HTML page"
        if status in (401, 403):
            return CallFailed(
                f"{where}: login refused: {detail}",
                Remedy("set_login", "this Ollama is behind a login: {keys}", keys=Command("keys set", LOGIN)),
                status=status,
            )
        if status == 404:
            return CallFailed(f"{where}: {detail}", f"ollama pull {model}" if model else self._hint(), status=status)
        if 300 <= status < 400:
            return CallFailed(
                f"{where}: it wants to redirect, which is not followed", "set host to where it really is", status=status
            )
        if status in (400, 500) and re.search(r"\bformat\b|grammar|schema", detail, re.IGNORECASE):
            return Unsupported(
                "format",
                f"{where}: {detail}",
                Remedy(
                    "unstructured", "update Ollama, or set {option}", option=Option({"structured": "no"}, self.name)
                ),
                status=status,
            )
        return CallFailed(f"{where}: {detail}", "see Ollama's log; the model may need more memory", status=status)

    def _hint(self) -> Remedy:
        if is_local(self._url):
            return Remedy(
                "start_ollama",
                "start it with `ollama serve` (https://ollama.com/download), or use {rules}",
                rules=Setting("planner", "rules"),
            )
        return Remedy(
            "check_host",
            "check OLLAMA_HOST or {host}, and that Ollama listens there",
            host=Option({"host": None}, self.name),
        )


def _package() -> Any:
    try:
        import ollama
    except ImportError as error:
        raise ModelUnavailable(
            f"ollama needs the Python package {error.name or 'ollama'!r}, which is missing",
            install("gas-edit[ollama]"),
        ) from None
    return ollama


def _host(host: str) -> str:
    """The address of the Ollama, from an option or the environment as Ollama itself reads it."""
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
            Remedy("write_host", "e.g. {host}", host=Option({"host": "localhost:11434"}, OllamaPlanner.name)),
        )
    if parts.username or parts.password:
        raise UsageError("host holds a login, and options are recorded", "put Ollama behind a local tunnel instead")
    if name in ("0.0.0.0", "::"):  # what a server listens on: all of this machine
        name = "127.0.0.1"
    default = 11434 if "://" not in text else {"http": 80, "https": 443}[parts.scheme]
    shown = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{shown}:{port or default}{parts.path.rstrip('/')}"


def _is_cloud(model: str) -> bool:
    return model.rpartition(":")[2].endswith("cloud") or model.endswith("-cloud")


def _wired(message: Message, picture: Picture | None) -> dict[str, Any]:
    wired: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.with_picture and picture is not None:
        wired["images"] = [picture.base64]
    return wired


def _seconds_or_text(keep_alive: str) -> float | str:
    """Ollama takes a duration as text with a unit, or seconds as a number."""
    try:
        return float(keep_alive)
    except ValueError:
        return keep_alive
