"""A fake service over a real socket: it takes requests down, answers them with given replies, and misbehaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Trouble = Literal["hang", "hang in body", "endless", "trickle headers", "drop", "drop in body"]


@dataclass(frozen=True)
class Reply:
    """What a fake service answers to a request for a chat.

    `text` is what the model says, `thoughts` what it thought before; `likely` are the most probable first tokens with
    their probabilities, for who asks for them. `fields` replace or add fields of the reply's top level; `raw` is sent
    instead of all that. `trouble` is how the connection fails: silence before anything, silence or an end in the middle
    of the body, a body or headers that never end.
    """

    text: str | None = ""
    thoughts: str = ""
    likely: Mapping[str, float] = field(default_factory=dict)
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
        self._replied = 0
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

    def refuse(self, asked: Asked) -> tuple[int, Any] | None:
        """Status and JSON with which a chat is refused, whatever was to be replied; None: it is not."""
        return None

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
        handler.close_connection = True
        with self._lock:
            self.asked.append(asked)
            answer = self.other(asked) if asked.path != self.chat_path else self.refuse(asked)
            turn = self._replied
            self._replied += answer is None
        if answer is not None:
            _send(handler, answer[0], json.dumps(answer[1]).encode(), "application/json", {})
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
