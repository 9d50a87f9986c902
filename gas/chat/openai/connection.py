"""Asks a model at OpenAI, or at any service that speaks its chat completions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from gas.chat.calls import CONNECT_SECONDS, CallFailed, Calls
from gas.chat.complaints import message_of
from gas.chat.connection import Connection, Question
from gas.chat.openai.options import (
    LIMIT,
    LOGIN,
    OLDER_LIMIT,
    PROBABILITIES,
    SCHEMA,
    OpenAIConnectionOptions,
    endpoint,
)
from gas.chat.openai.refusal import A_MODEL, OTHER_MODEL, SEEING_MODEL, Sent, refusal, status_within
from gas.chat.openai.reply import reply_in
from gas.chat.picture import Picture
from gas.chat.replies import Reply
from gas.errors import ModelUnavailable, ServiceUnavailable
from gas.preview import Message
from gas.remedies import Command, Option, Remedy, install
from gas.runtime import Runtime
from gas.settings import keys


@dataclass(frozen=True)
class Offered:
    """A model that a service lists. `sees` is None where the service does not say whether it takes pictures."""

    name: str
    sees: bool | None = None


class OpenAIConnection(Connection):
    """Asks a model behind an OpenAI-compatible service."""

    options_type = OpenAIConnectionOptions
    name = "openai"
    schema_part = SCHEMA

    def __init__(self, options: OpenAIConnectionOptions, runtime: Runtime) -> None:
        super().__init__(options, runtime)
        self._endpoint = endpoint(options.base_url)

    @property
    def address(self) -> str:
        return self._endpoint.address

    @property
    def remote(self) -> bool:
        return self._endpoint.remote

    def shown_model(self) -> str:
        return self.options.model or "the only one that the service has (asked for when run)"

    def key_origin(self) -> str | None:
        login = self._login()
        return keys.origin(login) if login else None

    def think_less(self) -> Remedy:
        return Remedy(
            "think_less",
            "raise the limit ({limit}), or let it think less ({think})",
            limit=Option({"max_tokens": min(4 * int(self.options.max_tokens), 32_768)}),
            think=Option({"think": "no"}),
        )

    def _login(self) -> str | None:
        """The name of the key to send. A key goes only where it belongs: to its own service, or where the user said."""
        if self.options.login:
            return str(self.options.login)
        return LOGIN if self._endpoint.official or self._endpoint.paired else None

    def _key(self) -> SecretStr | None:
        login = self._login()
        return keys.find(login) if login else None

    def _secrets(self) -> list[SecretStr]:
        key = self._key()
        return [key] if key else []

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

    def _model(self, calls: Calls, sees: bool) -> str:
        if self.options.model:
            return str(self.options.model)
        known = calls.look(lambda silence: self._models(calls, silence))
        seeing = [model for model in known if model.sees]
        for fitting in (known, seeing if sees else []):
            if len(fitting) == 1:
                return fitting[0].name
        if not known and (versioned := self._endpoint.versioned):
            raise ServiceUnavailable(f"{self.address} lists no models", versioned)
        raise ServiceUnavailable(
            f"{self.name} needs the name of a model: {self.address} has {len(known)}",
            Remedy(
                "name_model", "{model}; {known}", model=A_MODEL, known=_listed(seeing if sees and seeing else known)
            ),
        )

    def _optional(self, model: str, question: Question) -> tuple[str, ...]:
        probabilities = (PROBABILITIES,) if question.likeliest else ()
        return (*super()._optional(model, question), *probabilities, LIMIT)

    def _reply(self, calls: Calls, model: str, question: Question) -> Reply:
        try:
            return super()._reply(calls, model, question)
        except ServiceUnavailable as error:
            raise self._with_models(calls, model, error) from None

    def _send(self, calls: Calls, model: str, question: Question, without: frozenset[str], silence: float) -> Reply:
        openai = _package()
        body = self._body(model, question, without)
        sent = Sent(chat=True, parameters=body, pictures=bool(question.pictures))
        extra = json.loads(self.options.extra) if self.options.extra else None
        with self._client(calls, silence) as client:
            try:
                completion = client.chat.completions.create(**body, extra_body=extra)
            except openai.APIStatusError as error:
                raise self._refusal(calls, error.status_code, error.body, sent) from None
            except Exception as error:  # noqa: BLE001 (the client lets malformed replies surface as they fall)
                raise calls.explain(error, self._endpoint.hint, self._endpoint.versioned) from None
        if isinstance(completion, str):
            what = message_of(completion) if "<" in completion[:1000] else "text that is not JSON"
            hint = self._endpoint.versioned or self._endpoint.hint
            raise CallFailed(f"{calls.service} sent {what or 'nothing'} instead of a reply", hint)
        if reported := getattr(completion, "error", None):
            raise self._refusal(calls, status_within(reported), reported, sent)
        reply = reply_in(completion)
        if reply is None:
            versioned = self._endpoint.versioned
            raise CallFailed(
                f"{calls.service} sent a reply without choices", versioned or "try again", again=versioned is None
            )
        return reply

    def _body(self, model: str, question: Question, without: frozenset[str]) -> dict[str, Any]:
        body: dict[str, Any] = {"model": model, "messages": [_wired(m, question.pictures) for m in question.messages]}
        body[OLDER_LIMIT if LIMIT in without else LIMIT] = self.options.max_tokens
        if question.schema is not None:
            form = {"name": "reply", "strict": True, "schema": question.schema}
            body[SCHEMA] = {"type": "json_schema", "json_schema": form}
        if question.likeliest and PROBABILITIES not in without:
            body |= {PROBABILITIES: True, "top_logprobs": question.likeliest}
        if self.options.temperature is not None:
            body["temperature"] = self.options.temperature
        if self.options.think:
            body["reasoning_effort"] = "none" if self.options.think in ("no", "none") else self.options.think
        return body

    def _models(self, calls: Calls, silence: float) -> list[Offered]:
        openai = _package()
        with self._client(calls, silence) as client:
            try:
                data = client.models.list().data
            except openai.APIStatusError as error:
                raise self._refusal(calls, error.status_code, error.body, Sent()) from None
            except Exception as error:  # noqa: BLE001 (as above)
                raise calls.explain(error, self._endpoint.hint, self._endpoint.versioned) from None
        named = {str(item.id)[:200]: _sees(item) for item in data or [] if getattr(item, "id", None)}
        return [Offered(name, sees) for name, sees in sorted(named.items())]

    def _client(self, calls: Calls, silence: float) -> Any:
        openai = _package()
        import httpx2  # the client's own transport

        key = self._key()
        foreign = (
            {} if self._login() == LOGIN else {n: openai.Omit() for n in ("OpenAI-Organization", "OpenAI-Project")}
        )
        return openai.OpenAI(
            api_key=key.get_secret_value() if key else "none",
            base_url=self._endpoint.url,
            max_retries=0,
            default_headers={"Accept-Encoding": "identity", **foreign},
            http_client=httpx2.Client(
                timeout=httpx2.Timeout(silence, connect=min(CONNECT_SECONDS, silence)),
                # A redirect would take the picture to where nobody said.
                follow_redirects=False,
                # Proxies of the environment are for other machines.
                trust_env=self.remote,
                # Certificates take a while to load, and plain http has none.
                verify=not self._endpoint.url.startswith("http://"),
                event_hooks={"response": [calls.hook(httpx2)]},
            ),
        )

    def _refusal(self, calls: Calls, status: int | None, body: Any, sent: Sent) -> CallFailed:
        return refusal(calls.service, self._endpoint, self._login(), status, body, sent)

    def _with_models(self, calls: Calls, model: str, error: ServiceUnavailable) -> ServiceUnavailable:
        """The error; where the model was not found, or does not see, with the names of those that are there."""
        code = error.hint.code
        if code not in (OTHER_MODEL, SEEING_MODEL):
            return error
        try:
            known = calls.look(lambda silence: self._models(calls, silence))
        except ServiceUnavailable:
            known = []
        if code == SEEING_MODEL:
            seeing = [one for one in known if one.sees]
            if not seeing:
                return error
            advice = Remedy(
                SEEING_MODEL, "name a model that sees: {model}; {known}", model=A_MODEL, known=_listed(seeing)
            )
        elif known:
            advice = Remedy(code, "name another model with {model}; {known}", model=A_MODEL, known=_listed(known))
        else:
            advice = Remedy(
                "check_model",
                "check the name {name}, or name another model with {model}",
                name=repr(model),
                model=A_MODEL,
            )
        return ServiceUnavailable(error.message, advice)


def _package() -> Any:
    try:
        import openai
    except ImportError as error:
        raise ModelUnavailable(
            f"openai needs the Python package {error.name or 'openai'!r}, which is missing",
            install("gas-edit[openai]"),
        ) from None
    return openai


def _wired(message: Message, pictures: Sequence[Picture]) -> dict[str, Any]:
    if not (message.with_picture and pictures):
        return {"role": message.role, "content": message.text}
    urls = [f"data:{picture.mime};base64,{picture.base64}" for picture in pictures]
    parts: list[dict[str, Any]] = [{"type": "text", "text": message.text}]
    return {"role": message.role, "content": [*parts, *({"type": "image_url", "image_url": {"url": u}} for u in urls)]}


def _sees(item: Any) -> bool | None:
    """Whether a listed model takes pictures, as OpenRouter and llama.cpp say it; None where nothing is said."""
    architecture = getattr(item, "architecture", None)
    kinds = architecture.get("input_modalities") if isinstance(architecture, dict) else None
    return "image" in kinds if isinstance(kinds, list) else None


def _listed(models: Sequence[Offered]) -> str:
    names = ["".join(c if c.isprintable() else "?" for c in model.name) for model in models]
    return f"there: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}" if names else "it lists none"
