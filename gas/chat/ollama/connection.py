"""Asks a model of an Ollama, on this machine unless another is named."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from pydantic import SecretStr

from gas.chat.addresses import address, is_local
from gas.chat.calls import CONNECT_SECONDS, CallFailed, Calls, causes
from gas.chat.connection import Connection, Question
from gas.chat.ollama.models import Abilities, Pulled, abilities_in, is_cloud, pulled
from gas.chat.ollama.options import OllamaConnectionOptions, address_of
from gas.chat.ollama.refusal import EXAMPLE, LOGIN, OTHERS, PROBABILITIES, SCHEMA, THINK, hint, other_model, refusal
from gas.chat.picture import Picture
from gas.chat.replies import Reply, Token
from gas.errors import ModelUnavailable, ServiceUnavailable
from gas.preview import Message
from gas.remedies import Option, Remedy, install
from gas.runtime import Runtime
from gas.settings import keys

MAX_LOOKED_AT = 20


class OllamaConnection(Connection):
    """Asks a model of an Ollama. Another host than this machine, and a cloud model, count as remote."""

    options_type = OllamaConnectionOptions
    name = "ollama"
    schema_part = SCHEMA

    def __init__(self, options: OllamaConnectionOptions, runtime: Runtime) -> None:
        super().__init__(options, runtime)
        self._url = address_of(options.host)
        self._able: dict[str, Abilities] = {}

    @property
    def address(self) -> str:
        return address(self._url)

    @property
    def remote(self) -> bool:
        return not is_local(self._url) or is_cloud(self.options.model)

    def shown_model(self) -> str:
        return self.options.model or "the newest pulled one that sees (asked for when run)"

    def key_origin(self) -> str | None:
        return keys.origin(LOGIN)

    def think_less(self) -> Remedy:
        limit = Option({"max_tokens": min(4 * int(self.options.max_tokens), 32_768)})
        if self.options.think == "no":
            return Remedy(
                "think_less", "raise the limit ({limit}), or name a model that need not think: {model}",
                limit=limit, model=Option({"model": "NAME"}),
            )  # fmt: skip
        return Remedy(
            "think_less", "set {think}, or raise the limit ({limit})", think=Option({"think": "no"}), limit=limit
        )

    def models(self, silence: float | None = None) -> list[Pulled]:
        """The models that are pulled, the newest first. ServiceUnavailable (8) when the Ollama is not there."""
        self._prepare()
        calls = self._calls(silence)
        return calls.look(lambda wait: self._list(calls, wait))

    def seeing(self, silence: float | None = None) -> str | None:
        """The first pulled model that takes pictures and runs on the Ollama's own machine; None when there is none."""
        self._prepare()
        return self._seeing(self._calls(silence))

    def _seeing(self, calls: Calls) -> str | None:
        return self._first(calls, lambda able: able.sees)

    def _first(self, calls: Calls, fits: Callable[[Abilities], bool]) -> str | None:
        """The newest pulled model that fits and runs on the Ollama's own machine."""
        here = [m.name for m in calls.look(lambda wait: self._list(calls, wait)) if not m.cloud]
        return next((model for model in here[:MAX_LOOKED_AT] if fits(self._abilities(calls, model))), None)

    def _abilities(self, calls: Calls, model: str) -> Abilities:
        """What the model can do, asked anew: it may have been pulled again since."""
        self._able[model] = calls.look(lambda wait: self._look_at(calls, model, wait))
        return self._able[model]

    def _secrets(self) -> list[SecretStr]:
        key = keys.find(LOGIN)
        return [key] if key else []

    def _prepare(self) -> None:
        super()._prepare()
        _package()

    def _model(self, calls: Calls, sees: bool) -> str:
        model = str(self.options.model) or self._chosen(calls, sees)
        able = self._abilities(calls, model) if self.options.model else self._able[model]
        if sees and not able.sees:
            raise ServiceUnavailable(
                f"the model {model!r} of {calls.service} takes no pictures", other_model(self._seeing(calls))
            )
        if self.options.think != "no" and not able.thinks:
            raise ServiceUnavailable(
                f"the model {model!r} of {calls.service} does not think",
                Remedy("do_not_think", "set {think}", think=Option({"think": "no"})),
            )
        return model

    def _chosen(self, calls: Calls, sees: bool) -> str:
        """The newest pulled model that sees, or chats where it need not see. ServiceUnavailable when there is none."""
        found = self._seeing(calls) if sees else self._first(calls, lambda able: able.chats)
        if found is not None:
            return found
        if sees and any(able.chats for able in self._able.values()):
            raise ServiceUnavailable(f"{calls.service} has no model that sees", other_model(None))
        raise ServiceUnavailable(
            f"{calls.service} has no model that {'sees' if sees else 'chats'}",
            Remedy(
                "pull_or_name",
                "{pull} (or {others}, or any other that sees), or name one with {model}",
                pull=f"ollama pull {EXAMPLE}",
                others=OTHERS,
                model=Option({"model": "NAME"}),
            ),
        )

    def _optional(self, model: str, question: Question) -> tuple[str, ...]:
        able = self._able.get(model)
        return (
            *super()._optional(model, question),
            *((PROBABILITIES,) if question.likeliest else ()),
            *((THINK,) if able is not None and able.thinks and self.options.think == "no" else ()),
        )

    def _send(self, calls: Calls, model: str, question: Question, without: frozenset[str], silence: float) -> Reply:
        """One reply, read as it is written: a slow machine's words are its signs of life."""
        body = self._body(model, question, without)
        text: list[str] = []
        thoughts: list[str] = []
        tokens: list[Token] = []
        last: Any = None
        with self._client(calls, silence) as client:
            try:
                for last in client.chat(**body, stream=True):
                    text.append(last.message.content or "")
                    thoughts.append(last.message.thinking or "")
                    tokens += _tokens(last.logprobs)
            except Exception as error:  # noqa: BLE001 (the client lets malformed replies surface as they fall)
                raise self._explain(calls, error, model, body, bool(question.pictures)) from None
        if last is None:
            raise CallFailed(f"{calls.service} sent an empty reply", "try again", again=True)
        if last.done is False:
            raise CallFailed(f"{calls.service} broke off in the middle of its reply", "try again", again=True)
        used = last.prompt_eval_count
        note = None
        if used is not None and used >= self.options.context:
            note = (
                f"the request filled the model's context of {used} tokens, and its beginning was cut: "
                "raise the option context"
            )
        return Reply(
            text="".join(text),
            thoughts="".join(thoughts),
            model=last.model,
            prompt_tokens=used,
            reply_tokens=last.eval_count,
            cut=last.done_reason == "length",
            note=note,
            tokens=tuple(tokens),
        )

    def _body(self, model: str, question: Question, without: frozenset[str]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": model,
            "messages": [_wired(m, question.pictures) for m in question.messages],
            "keep_alive": _seconds_or_text(self.options.keep_alive),
            "options": {
                "temperature": self.options.temperature,
                "seed": question.seed,
                "num_ctx": self.options.context,
                "num_predict": self.options.max_tokens,
            },
        }
        if question.schema is not None:
            body[SCHEMA] = question.schema
        if question.likeliest and PROBABILITIES not in without:
            body |= {PROBABILITIES: True, "top_logprobs": question.likeliest}
        able = self._able.get(model)
        if able is not None and able.thinks and THINK not in without:
            body[THINK] = {"no": False, "yes": True}.get(self.options.think, self.options.think)
        return body

    def _list(self, calls: Calls, silence: float) -> list[Pulled]:
        with self._client(calls, silence) as client:
            try:
                found = client.list().models
            except Exception as error:  # noqa: BLE001 (as above)
                raise self._explain(calls, error) from None
        return [pulled(model) for model in found if model.model]

    def _look_at(self, calls: Calls, model: str, silence: float) -> Abilities:
        ollama = _package()
        with self._client(calls, silence) as client:
            try:
                shown = client.show(model)
            except Exception as error:  # noqa: BLE001 (as above)
                if isinstance(error, ollama.ResponseError) and error.status_code == 404:
                    names = [m.name for m in self._list(calls, silence)]
                    there = f"; pulled: {', '.join(names[:12])}" if names else ""
                    raise CallFailed(
                        f"{calls.service} has no model {model!r}", f"ollama pull {model}{there}", status=404
                    ) from None
                raise self._explain(calls, error, model) from None
        return abilities_in(shown)

    def _client(self, calls: Calls, silence: float) -> Any:
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
            event_hooks={"response": [calls.hook(httpx)]},
        )

    def _explain(
        self, calls: Calls, error: Exception, model: str = "", sent: Collection[str] = (), pictures: bool = False
    ) -> CallFailed:
        """The failure behind an error of the client; `sent` are a chat's parameters."""
        status, body = _answered(error)
        if status is None:
            return calls.explain(error, hint(self._url))
        return refusal(calls.service, self._url, status, body, model, sent, pictures=pictures)


def _answered(error: Exception) -> tuple[int | None, Any]:
    """The status and the body of an answer that the client refused (-1: in the middle of it); None: there was none."""
    if isinstance(error, _package().ResponseError):
        return error.status_code, error.error
    for cause in causes(error):  # the client itself fails at error bodies that are no object
        if type(cause).__name__ == "HTTPStatusError":
            response: Any = cause.response  # type: ignore[attr-defined]
            return response.status_code, response.text
    return None, None


def _package() -> Any:
    try:
        import ollama
    except ImportError as error:
        raise ModelUnavailable(
            f"ollama needs the Python package {error.name or 'ollama'!r}, which is missing",
            install("gas-edit[ollama]"),
        ) from None
    return ollama


def _wired(message: Message, pictures: Sequence[Picture]) -> dict[str, Any]:
    wired: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.with_picture and pictures:
        wired["images"] = [picture.base64 for picture in pictures]
    return wired


def _tokens(logprobs: Any) -> list[Token]:
    """The tokens of one piece of a reply."""
    return [
        Token(one.token, one.logprob, tuple((other.token, other.logprob) for other in one.top_logprobs or ()))
        for one in logprobs or ()
    ]


def _seconds_or_text(keep_alive: str) -> float | str:
    """Ollama takes a duration as text with a unit, or seconds as a number."""
    try:
        return float(keep_alive)
    except ValueError:
        return keep_alive
