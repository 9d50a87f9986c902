"""Fake services over a real socket on 127.0.0.1: what OpenAI and Ollama answer, and every way in which they misbehave.

```python
with FakeOpenAI([say('{"reasoning": ...}')]) as server:
    planner = OpenAIPlanner(OpenAIOptions(base_url=server.url, model="any"), Runtime())
    planner.plan(request)
    server.asked[0].body["messages"]
```

Each request for a chat takes the next of the replies; the last one is repeated.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Trouble = Literal["hang", "hang in body", "endless", "trickle headers", "drop", "drop in body"]


@dataclass(frozen=True)
class Reply:
    """What a fake service answers to a request for a chat.

    `text` is what the model says; `fields` replace or add fields of the reply's top level; `raw` is sent instead of all
    that. `trouble` is how the connection fails: silence before anything, silence or an end in the middle of the body, a
    body or headers that never end.
    """

    text: str | None = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    raw: bytes | None = None
    content_type: str = "application/json"
    trouble: Trouble | None = None
    finish: str = "stop"
    refusal: str | None = None


def say(text: str, **more: Any) -> Reply:
    """A reply in which the model says `text`."""
    return Reply(text=text, **more)


def fail(status: int, message: str = "refused", **more: Any) -> Reply:
    """A reply with an HTTP status and an error body; `code` and `param` go into it, `headers` beside it."""
    error = {
        "message": message,
        "type": "invalid_request_error",
        "param": more.pop("param", None),
        "code": more.pop("code", None),
    }
    return Reply(status=status, raw=json.dumps({"error": error}).encode(), **more)


@dataclass(frozen=True)
class Asked:
    """A request as it arrived; `body` is the JSON in it, or None."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    data: bytes = field(repr=False)


class FakeService:
    """A server in a thread, from `with` to its end. `asked` are the requests so far, `chats` those for a chat."""

    chat_path = ""

    def __init__(self, replies: Iterable[Reply] = ()) -> None:
        self.replies = list(replies) or [Reply()]
        self.asked: list[Asked] = []
        self._over = threading.Event()
        self._lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                service._handle(self)

            def do_POST(self) -> None:
                service._handle(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Says nothing: a client that goes away is part of the play."""

        self._server = Server(("127.0.0.1", 0), Handler)

    @property
    def host(self) -> str:
        """Address without a path: http://127.0.0.1:PORT."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """What a planner is told as the address of the service."""
        return self.host

    @property
    def chats(self) -> list[Asked]:
        """The requests for a chat."""
        return [asked for asked in self.asked if asked.path == self.chat_path]

    def __enter__(self) -> Any:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def body(self, reply: Reply, asked: Any) -> bytes:
        """The body of a good reply to a chat."""
        raise NotImplementedError

    def other(self, asked: Asked) -> tuple[int, Any]:
        """Status and JSON for any other request."""
        return 404, {"error": {"message": f"no such path: {asked.path}"}}

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        data = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        try:
            body = json.loads(data) if data else None
        except ValueError:
            body = None
        asked = Asked(handler.command, handler.path.partition("?")[0], dict(handler.headers.items()), body, data)
        with self._lock:
            self.asked.append(asked)
            turn = len(self.chats) - 1
        handler.close_connection = True
        if asked.path != self.chat_path:
            status, content = self.other(asked)
            _send(handler, status, json.dumps(content).encode(), "application/json", {})
            return
        reply = self.replies[min(turn, len(self.replies) - 1)]
        payload = reply.raw if reply.raw is not None else self.body(reply, asked.body)
        if reply.trouble is None:
            _send(handler, reply.status, payload, reply.content_type, reply.headers)
        else:
            self._misbehave(handler, reply, payload)

    def _misbehave(self, handler: BaseHTTPRequestHandler, reply: Reply, payload: bytes) -> None:
        out = handler.wfile
        if reply.trouble == "hang":
            self._over.wait(30)
        elif reply.trouble == "trickle headers":
            out.write(b"HTTP/1.1 200 OK\r\n")
            while not self._over.wait(0.05):
                out.write(b"X-A: b\r\n")
        elif reply.trouble in ("hang in body", "drop in body"):
            handler.send_response(200)
            handler.send_header("content-type", reply.content_type)
            handler.send_header("content-length", str(len(payload)))
            handler.end_headers()
            out.write(payload[: len(payload) // 2])
            out.flush()
            if reply.trouble == "hang in body":
                self._over.wait(30)
        elif reply.trouble == "endless":
            handler.send_response(200)
            handler.send_header("content-type", reply.content_type)
            handler.end_headers()
            while not self._over.is_set():
                out.write(b" " * 65_536)


class FakeOpenAI(FakeService):
    """The chat completions of OpenAI: `models` are the names that it has; any other is answered as the service does."""

    chat_path = "/v1/chat/completions"

    def __init__(self, replies: Iterable[Reply] = (), models: Sequence[str] = ("fake-vision",)) -> None:
        super().__init__(replies)
        self.models = list(models)

    @property
    def url(self) -> str:
        return f"{self.host}/v1"

    def other(self, asked: Asked) -> tuple[int, Any]:
        if asked.path == "/v1/models":
            entries = [
                {"id": name, "object": "model", "created": 1715367049, "owned_by": "system"} for name in self.models
            ]
            return 200, {"object": "list", "data": entries}
        return super().other(asked)

    def body(self, reply: Reply, asked: Any) -> bytes:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": reply.text,
            "refusal": reply.refusal,
            "annotations": [],
        }
        content = {
            "id": "chatcmpl-fake",
            "object": "chat.completion",
            "created": 1767225600,
            "model": asked["model"] if isinstance(asked, dict) else "",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish}],
            "usage": {
                "prompt_tokens": 1831,
                "completion_tokens": 214,
                "total_tokens": 2045,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": 0,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            },
            "service_tier": "default",
            "system_fingerprint": "fp_fake",
        }
        return json.dumps({**content, **reply.fields}).encode()


class FakeOllama(FakeService):
    """Ollama's own interface: `models` maps the names that are pulled to what they can do."""

    chat_path = "/api/chat"

    def __init__(
        self,
        replies: Iterable[Reply] = (),
        models: Mapping[str, Sequence[str]] | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(replies)
        self.models = {"llava:latest": ("completion", "vision")} if models is None else dict(models)
        self.sizes = dict(sizes or {})

    def other(self, asked: Asked) -> tuple[int, Any]:
        if asked.path == "/api/tags":
            return 200, {"models": [self._tag(name) for name in self.models]}
        if asked.path == "/api/show":
            wanted = asked.body.get("model") if isinstance(asked.body, dict) else None
            name = str(wanted) if wanted in self.models else f"{wanted}:latest"
            if name not in self.models:
                return 404, {"error": f"model '{wanted}' not found"}
            return 200, {
                "license": "Apache License",
                "modelfile": "# Modelfile",
                "parameters": "num_ctx 4096",
                "template": "{{ .System }}\nUSER: {{ .Prompt }}\nASSISTANT: ",
                "details": _DETAILS,
                "model_info": {"general.architecture": "llama", "llama.context_length": 32768},
                "capabilities": list(self.models[name]),
                "modified_at": "2026-01-01T12:00:00.000000000Z",
            }
        return super().other(asked)

    def body(self, reply: Reply, asked: Any) -> bytes:
        model = asked["model"] if isinstance(asked, dict) else ""
        if model not in self.models and f"{model}:latest" not in self.models:
            return json.dumps({"error": f"model '{model}' not found"}).encode()
        text = reply.text or ""
        pieces = [text[i : i + 200] for i in range(0, len(text), 200)]
        stamp = {"model": model, "created_at": "2026-01-01T12:00:00.000000000Z"}
        lines: list[dict[str, Any]] = [
            {**stamp, "message": {"role": "assistant", "content": p}, "done": False} for p in pieces
        ]
        end = {
            **stamp,
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": reply.finish,
            "total_duration": 5191566416,
            "load_duration": 2154458,
            "prompt_eval_count": 1698,
            "prompt_eval_duration": 383809000,
            "eval_count": 243,
            "eval_duration": 4799921000,
        }
        lines.append({**end, **reply.fields})
        return "".join(json.dumps(line) + "\n" for line in lines).encode()

    def _tag(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "model": name,
            "modified_at": "2026-01-01T12:00:00.000000000Z",
            "size": self.sizes.get(name, 4_733_363_377),
            "digest": "8dd30f6b0cb19f555f2c7a7ebda861449ea2cc76bf1f44e262931f45fc81d081",
            "details": _DETAILS,
        }


_DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama", "clip"],
    "parameter_size": "7B",
    "quantization_level": "Q4_0",
}


def _send(
    handler: BaseHTTPRequestHandler, status: int, payload: bytes, content_type: str, headers: Mapping[str, str]
) -> None:
    handler.send_response(status)
    handler.send_header("content-type", content_type)
    handler.send_header("content-length", str(len(payload)))
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(payload)
