"""A hub and a file server on 127.0.0.1: repositories with revisions, gates, byte ranges, and ways to fail."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

COMMIT = "1234567890abcdef1234567890abcdef12345678"


class FakeHub:
    """`repositories[id][path]` are files of the only commit, `files[name]` those behind plain addresses.

    `commits` are the revisions that can be asked for, all with the same files. `gated` are ids whose licence must be
    accepted: they answer 401 without a token, and 403 to every token that is not among `accepted`. `cut` maps a file's
    name to the byte after which its connection ends (once), `status` a file's name to the status that it is answered
    with, `moved` a name to another address.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.files: dict[str, bytes] = {}
        self.gated: set[str] = set()
        self.accepted: set[str] = set()
        self.cut: dict[str, int] = {}
        self.status: dict[str, int] = {}
        self.moved: dict[str, str] = {}
        self.ranges = True
        self.commits = {COMMIT}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self)

            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> FakeHub:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lets huggingface_hub of this process ask here."""
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "ENDPOINT", self.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", self.url + "/{repo_id}/resolve/{revision}/{filename}"
        )

    def bodies(self) -> list[str]:
        """The files whose contents were sent, by name."""
        return [path.rpartition("/")[2] for method, path, _ in self.asked if method == "GET" and path[:4] != "api/"]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = unquote(handler.path.partition("?")[0]).strip("/")
        self.asked.append((handler.command, path, {k.title(): v for k, v in handler.headers.items()}))
        parts = path.split("/")
        if parts[:2] == ["api", "models"]:
            self._api(handler, "/".join(parts[2:4]), parts[4], parts[5] if len(parts) > 5 else "main")
        elif parts[0] == "files":
            self._body(handler, parts[1], self.files.get(parts[1]), {})
        else:
            self._resolve(handler, "/".join(parts[:2]), parts[3], "/".join(parts[4:]))

    def _api(self, handler: BaseHTTPRequestHandler, repository: str, what: str, revision: str) -> None:
        files = self.repositories.get(repository)
        if files is None:
            _send(handler, 401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif revision not in {"main", *self.commits}:
            _send(handler, 404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif what == "tree":
            _send(handler, 200, json.dumps([_entry(name, data) for name, data in files.items()]).encode(), {})
        else:
            siblings = [{"rfilename": name} for name in files]
            _send(handler, 200, json.dumps({"id": repository, "sha": COMMIT, "siblings": siblings}).encode(), {})

    def _resolve(self, handler: BaseHTTPRequestHandler, repository: str, revision: str, name: str) -> None:
        files = self.repositories.get(repository)
        if files is None:
            _send(handler, 401, b"", {"X-Error-Code": "RepoNotFound"})
        elif repository in self.gated and (token := _token(handler)) not in self.accepted:
            _send(handler, 403 if token else 401, b"", {"X-Error-Code": "GatedRepo"})
        elif revision not in {"main", *self.commits}:
            _send(handler, 404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif name not in files:
            _send(handler, 404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        else:
            entry = _entry(name, files[name])
            headers = {"X-Repo-Commit": COMMIT if revision == "main" else revision, "ETag": f'"{entry["oid"]}"'}
            if "lfs" in entry:
                headers |= {"X-Linked-Etag": f'"{entry["lfs"]["oid"]}"', "X-Linked-Size": str(len(files[name]))}
            self._body(handler, name.rpartition("/")[2], files[name], headers)

    def _body(self, handler: BaseHTTPRequestHandler, name: str, data: bytes | None, headers: dict[str, str]) -> None:
        if name in self.moved:
            _send(handler, 302, b"", {"Location": self.moved[name]})
            return
        if name in self.status or data is None:
            _send(handler, self.status.get(name, 404), b"", {})
            return
        begin = int(handler.headers.get("Range", "bytes=0-")[6:].partition("-")[0]) if self.ranges else 0
        if begin and begin >= len(data):
            _send(handler, 416, b"", {})
            return
        status = 200
        if begin:
            headers, status = {**headers, "Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"}, 206
        end = self.cut.pop(name, None) if handler.command == "GET" else None
        _send(handler, status, data[begin:], headers, end)


def _token(handler: BaseHTTPRequestHandler) -> str:
    """The token that was given; "" without one."""
    return handler.headers.get("Authorization", "").removeprefix("Bearer ")


def _entry(name: str, data: bytes) -> dict[str, Any]:
    oid = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": oid}
    if name.endswith((".safetensors", ".bin", ".ckpt")):
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return entry


def _send(
    handler: BaseHTTPRequestHandler, status: int, data: bytes, headers: dict[str, str], end: int | None = None
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(data)))
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(data[:end])
    if end is not None:
        handler.close_connection = True
