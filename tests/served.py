"""The page's server in this process: for tests that speak to it as a browser would, and for browsers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.testclient import TestClient

from gas_ui.desk import Desk
from gas_ui.guard import Door, Guard
from gas_ui.routes import application

PORT = 7860
ORIGIN = f"http://127.0.0.1:{PORT}"
FAKE = {"profile": "diorama", "planner": "arrows", "grounders": ["places"], "editor": "painter"}
PLACES = {"boxes": {"dog": [0.2, 0.2, 0.6, 0.6], "grass": [0.1, 0.7, 0.9, 0.95]}}


class Page:
    """One window of the page, as the browser's code uses it."""

    def __init__(self, client: TestClient, desk: Desk) -> None:
        self.client, self.desk = client, desk
        self.id = client.post("/api/windows").json()["id"]

    @property
    def base(self) -> str:
        return f"/api/w/{self.id}"

    @property
    def state(self) -> dict[str, Any]:
        return self.get("").json()

    def get(self, path: str) -> Any:
        return self.client.get(self.base + path)

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        return self.client.post(self.base + path, json={} if body is None else body, **more)

    def put(self, path: str, body: Any) -> Any:
        return self.client.put(self.base + path, **({"content": body} if isinstance(body, bytes) else {"json": body}))

    def drop(self, content: bytes, name: str = "photo.png", what: str = "photo", **query: str) -> Any:
        return self.client.post(f"{self.base}/{what}/file", params={"name": name, **query}, content=content)

    def wait(self, seconds: float = 60.0) -> dict[str, Any]:
        """The last task when it is over."""
        task = self.desk.windows[self.id].task
        assert task is not None
        until = time.monotonic() + seconds
        while not task.over:
            assert time.monotonic() < until, f"{task.kind} is still {task.state}"
            time.sleep(0.01)
        found: dict[str, Any] = self.get(f"/tasks/{task.id}").json()
        return found

    def do(self, path: str, body: Any = None) -> dict[str, Any]:
        """A task from its start to its end."""
        told = self.post(path, body)
        assert told.status_code == 200, told.text
        return self.wait()


@contextmanager
def serving(desk: Desk) -> Iterator[str]:
    """The address, with its token, of a server that runs in a thread."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield from _served(desk, listener)


def _served(desk: Desk, listener: socket.socket) -> Iterator[str]:
    door = Door("127.0.0.1", listener.getsockname()[1])
    config = uvicorn.Config(Guard(application(desk, door), door), log_level="error", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{door.port}/?token={door.secret}"
    finally:
        server.should_exit = True
        thread.join(10)
