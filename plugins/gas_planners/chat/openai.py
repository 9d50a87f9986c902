"""Asks a GPT-4V-class model at OpenAI, or at any service that speaks its chat completions, with the picture."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from gas.chat.calls import CONNECT_SECONDS, CallFailed, Line, Unsupported, address, is_local
from gas.chat.picture import Picture
from gas.errors import ModelUnavailable, ServiceUnavailable, UsageError
from gas.preview import Message
from gas.remedies import Command, Option, Remedy, install
from gas.settings import keys
from gas_planners.chat.planner import Answer, ModelOptions, ModelPlanner

OFFICIAL = "https://api.openai.com/v1"
LOGIN = "openai"
_LIMITS = ("max_completion_tokens", "max_tokens")


class OpenAIOptions(ModelOptions):
    """What the planner `openai` can be told. A key is never among it: `login` names one that is kept elsewhere."""

    base_url: str = Field("", description="address of the service; else $OPENAI_BASE_URL, else OpenAI's own")
    login: str = Field(
        "", max_length=40, description="name of the key to send (gas keys set NAME); OpenAI's own needs none"
    )
    temperature: float | None = Field(None, ge=0, le=2, description="not sent when none: some models refuse it")


class OpenAIPlanner(ModelPlanner[OpenAIOptions]):
    """Plans by a model behind an OpenAI-compatible service. It sends the picture away: for when it was named."""

    options_type = OpenAIOptions
    name = "openai"

    def __init__(self, options: OpenAIOptions, runtime: Any) -> None:
        super().__init__(options, runtime)
        self._limit = _LIMITS[0]
        self._url, self._url_is_the_users = _service(options.base_url)

    @property
    def address(self) -> str:
        return address(self._url)

    @property
    def remote(self) -> bool:
        return not is_local(self._url)

    def _login(self) -> str | None:
        """The name of the key to send. A key goes only where it belongs: to its own service, or where the user said."""
        if self.options.login:
            return str(self.options.login)
        own = urlsplit(self._url).hostname == urlsplit(OFFICIAL).hostname
        return LOGIN if own or self._url_is_the_users else None

    def _key(self) -> SecretStr | None:
        login = self._login()
        return keys.find(login) if login else None

    def _secrets(self) -> list[SecretStr]:
        key = self._key()
        return [key] if key else []

    def _key_origin(self) -> str | None:
        login = self._login()
        return keys.origin(login) if login else None

    def _prepare(self) -> None:
        super()._prepare()
        _package()
        login = self._login()
        if login and self._key() is None and (self.remote or self.options.login):
            raise ServiceUnavailable(
                f"there is no key {login!r} for {self.address}",
                Remedy(
                    "set_key",
                    "run {keys}, or set {variable}",
                    keys=Command("keys set", login),
                    variable=keys.variable(login),
                ),
            )

    def _shown_model(self) -> str:
        return self.options.model or "the only one that the service has (asked for when run)"

    def _model(self, line: Line) -> str:
        if self.options.model:
            return str(self.options.model)
        known = line.look(lambda silence: self._models(line, silence))
        if len(known) == 1:
            return known[0]
        raise ServiceUnavailable(
            f"{self.name} needs the name of a model: {self.address} has {len(known)}",
            Remedy("name_model", "{model}; {known}", model=self._named_model(), known=_listed(known)),
        )

    def _ask(
        self,
        line: Line,
        model: str,
        messages: Sequence[Message],
        picture: Picture | None,
        schema: dict[str, Any] | None,
        seed: int,
    ) -> Answer:
        body: dict[str, Any] = {"model": model, "messages": [_wired(m, picture) for m in messages]}
        if schema is not None:
            form = {"name": "reply", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if self.options.temperature is not None:
            body["temperature"] = self.options.temperature
        for limit in (self._limit, *(other for other in _LIMITS if other != self._limit)):
            try:
                answer = line.call(
                    lambda silence, limit=limit: self._send(line, silence, {**body, limit: self.options.max_tokens})
                )  # type: ignore[misc]
            except Unsupported as failure:
                if failure.part != limit:
                    if schema is None:
                        raise line.failure(failure) from None
                    raise
                continue
            except ServiceUnavailable as error:
                raise self._with_models(line, model, error) from None
            self._limit = limit
            return answer
        raise ServiceUnavailable(f"{line.service} takes no limit of the reply's length", "use another service")

    def _send(self, line: Line, silence: float, body: dict[str, Any]) -> Answer:
        openai = _package()
        with self._client(line, silence) as client:
            try:
                completion = client.chat.completions.create(**body)
            except openai.APIStatusError as error:
                raise self._refused(line, error.status_code, error.body, error.message, body) from None
            except (openai.OpenAIError, ValueError, TypeError, OSError) as error:
                raise line.explain(error, self._hint()) from None
        return _answer(line, completion, self._hint())

    def _models(self, line: Line, silence: float) -> list[str]:
        openai = _package()
        with self._client(line, silence) as client:
            try:
                data = client.models.list().data
            except openai.APIStatusError as error:
                raise self._refused(line, error.status_code, error.body, error.message) from None
            except (openai.OpenAIError, ValueError, TypeError, OSError, AttributeError) as error:
                raise line.explain(error, self._hint()) from None
        return sorted({str(item.id)[:200] for item in data or [] if getattr(item, "id", None)})

    def _client(self, line: Line, silence: float) -> Any:
        openai = _package()
        import httpx2  # the client's own transport

        key = self._key()
        foreign = (
            {} if self._login() == LOGIN else {n: openai.Omit() for n in ("OpenAI-Organization", "OpenAI-Project")}
        )
        return openai.OpenAI(
            api_key=key.get_secret_value() if key else "none",
            base_url=self._url,
            max_retries=0,
            default_headers={"Accept-Encoding": "identity", **foreign},
            http_client=httpx2.Client(
                timeout=httpx2.Timeout(silence, connect=min(CONNECT_SECONDS, silence)),
                # A redirect would take the picture to where nobody said.
                follow_redirects=False,
                # Proxies of the environment are for other machines.
                trust_env=self.remote,
                # Certificates take a while to load, and plain http has none.
                verify=not self._url.startswith("http://"),
                event_hooks={"response": [line.hook(httpx2)]},
            ),
        )

    def _refused(self, line: Line, status: int, body: Any, message: str, sent: Collection[str] = ()) -> CallFailed:
        """The failure behind an HTTP status; `sent` are the names of the parameters that were sent."""
        detail = _detail(body) or message
        where = f"{line.service} answered {status}"
        if status in (401, 403):
            login = self._login()
            remedy = (
                Remedy("set_key", "set the right key: {keys}", keys=Command("keys set", login))
                if login
                else Remedy(
                    "name_login",
                    "say which key to send: {login} ({keys})",
                    login=Option({"login": "NAME"}, self.name),
                    keys=Command("keys set", "NAME"),
                )
            )
            return CallFailed(f"{where}: login refused: {detail}", remedy, status=status)
        if status in (400, 404, 415, 422) and (part := _complained_of(detail, body, sent)):
            return Unsupported(
                part,
                f"{where}: {detail}",
                Remedy(
                    "unstructured", "try {option}, or another service", option=Option({"structured": "no"}, self.name)
                ),
                status=status,
            )
        if 300 <= status < 400:
            return CallFailed(
                f"{where}: it wants to redirect, which is not followed",
                "set base_url to where it really is",
                status=status,
            )
        if status == 404:
            return CallFailed(
                f"{where}: {detail}",
                Remedy(_OTHER_MODEL, "name another model with {model}", model=self._named_model()),
                status=status,
            )
        if status == 429 or status >= 500:
            return CallFailed(f"{where}: {detail}", "try again later", status=status)
        checked = Remedy(
            "check_model_and_address",
            "check {model} and {address}",
            model=Option({"model": None}, self.name),
            address=Option({"base_url": None}, self.name),
        )
        return CallFailed(f"{where}: {detail}", checked, status=status)

    def _with_models(self, line: Line, model: str, error: ServiceUnavailable) -> ServiceUnavailable:
        """The error; where the model was not found, with the names of those that are there."""
        if error.hint.code != _OTHER_MODEL:
            return error
        try:
            known = line.look(lambda silence: self._models(line, silence))
        except ServiceUnavailable:
            return ServiceUnavailable(
                error.message,
                Remedy(
                    "check_model",
                    "is the model {name} right? name another with {model}",
                    name=repr(model),
                    model=self._named_model(),
                ),
            )
        return ServiceUnavailable(
            error.message,
            Remedy(
                _OTHER_MODEL,
                "name another model with {model}; {known}",
                model=self._named_model(),
                known=_listed(known),
            ),
        )

    def _hint(self) -> Remedy:
        first = "check the network and {address}" if self.remote else "is the server running there? check {address}"
        return Remedy("check_address", first, address=Option({"base_url": None}, self.name))

    def _named_model(self) -> Option:
        return Option({"model": "NAME"}, self.name)


_OTHER_MODEL = "other_model"
"""Code of the remedy of a service that does not know the model."""


def _package() -> Any:
    try:
        import openai
    except ImportError as error:
        raise ModelUnavailable(
            f"openai needs the Python package {error.name or 'openai'!r}, which is missing",
            install("gas-edit[openai]"),
        ) from None
    return openai


def _service(base_url: str) -> tuple[str, bool]:
    """The service's address, and whether it is the one that the user's environment pairs with OPENAI_API_KEY."""
    named = os.environ.get("OPENAI_BASE_URL", "").strip()
    url = base_url.strip() or named or OFFICIAL
    parts = urlsplit(url)
    try:
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UsageError(
            f"base_url is not an address: {url!a}",
            Remedy(
                "write_address",
                "e.g. {address}",
                address=Option({"base_url": "http://localhost:8000/v1"}, OpenAIPlanner.name),
            ),
        )
    if parts.username or parts.password:
        raise UsageError(
            "base_url holds a login, and options are recorded",
            Remedy(
                "keep_login",
                "use {keys} and {login}",
                keys=Command("keys set", "NAME"),
                login=Option({"login": "NAME"}, OpenAIPlanner.name),
            ),
        )
    return url, bool(named) and address(url) == address(named)


def _wired(message: Message, picture: Picture | None) -> dict[str, Any]:
    if not (message.with_picture and picture is not None):
        return {"role": message.role, "content": message.text}
    url = f"data:{picture.mime};base64,{picture.base64}"
    parts = [{"type": "text", "text": message.text}, {"type": "image_url", "image_url": {"url": url}}]
    return {"role": message.role, "content": parts}


def _answer(line: Line, completion: Any, hint: Remedy) -> Answer:
    """The answer in a completion, whose fields the client does not check: any may be missing or of another type."""
    if isinstance(completion, str):
        what = "an HTML page" if "<html" in completion[:1000].lower() else "text that is not JSON"
        raise CallFailed(f"{line.service} sent {what} instead of a reply", hint)
    if error := getattr(completion, "error", None):
        status = error.get("code") if isinstance(error, dict) else None
        raise CallFailed(
            f"{line.service} reported an error: {_detail({'error': error}) or 'unknown'}",
            "try again later",
            status=status if isinstance(status, int) else None,
        )
    choices = getattr(completion, "choices", None)
    message = getattr(choices[0], "message", None) if isinstance(choices, list) and choices else None
    if message is None:
        raise CallFailed(f"{line.service} sent a reply without choices", "try again", again=True)
    reason = getattr(choices[0], "finish_reason", None)
    content, refusal = getattr(message, "content", None), getattr(message, "refusal", None)
    if reason == "content_filter" and not refusal:
        refusal = "the service's content filter stopped it"
    usage = getattr(completion, "usage", None)
    return Answer(
        text=_text_of(content),
        model=_if(getattr(completion, "model", None), str),
        prompt_tokens=_if(getattr(usage, "prompt_tokens", None), int),
        reply_tokens=_if(getattr(usage, "completion_tokens", None), int),
        cut=reason == "length",
        refusal=refusal if isinstance(refusal, str) and refusal else None,
    )


def _text_of(content: Any) -> str:
    """A message's text: a string, or a list of parts, of which some services make it."""
    if isinstance(content, list):
        return "".join(
            str(part["text"]) for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return content if isinstance(content, str) else ""


def _if(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _detail(body: Any) -> str:
    """The message in an error's body, on one line."""
    found = body
    for name in ("error", "message"):
        if isinstance(found, dict) and name in found:
            found = found[name]
    text = found if isinstance(found, str) else ""
    if "<html" in text[:1000].lower():
        return "an HTML page"
    return " ".join("".join(c if c.isprintable() else " " for c in text[:1000]).split())[:300]


def _complained_of(detail: str, body: Any, sent: Collection[str]) -> str | None:
    """The parameter of those `sent` that a service says it does not know, if it can be left out or named otherwise."""
    error = body.get("error", body) if isinstance(body, dict) else {}
    param = error.get("param") if isinstance(error, dict) else None
    text = f"{param or ''} {detail}".lower()
    for limit in _LIMITS:
        if limit in sent and (
            param == limit
            or (not param and re.search(rf"\b{limit}\b.{{0,80}}(?:support|permitted|unknown|unrecogni)", text))
        ):
            return limit
    if "response_format" in sent and re.search(r"response[_ ]format|json[_ ]schema|structured output", text):
        return "response_format"
    return None


def _listed(models: Sequence[str]) -> str:
    shown = ", ".join(models[:12])
    return f"there: {shown}{', ...' if len(models) > 12 else ''}" if models else "it lists none"
