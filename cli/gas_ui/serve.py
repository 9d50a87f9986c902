"""Starts the page's server, and ends it when Ctrl-C is pressed."""

from __future__ import annotations

import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import uvicorn

from gas.errors import UsageError
from gas.remedies import Remedy, Setting
from gas_ui.desk import Desk
from gas_ui.guard import Door, Guard
from gas_ui.routes import application

PORT = 7860
"""Where the server listens when no port is named; where that is taken, one of the next that is free."""
TRIES = 20


def serve(
    host: str = "127.0.0.1",
    port: int | None = None,
    *,
    password: str | None = None,
    browser: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Serves the page until it is interrupted. `say` is told the address, with the token in it unless there is a
    `password`. UsageError (exit 2) for an address or a port that is taken or not allowed."""
    with _listening(host, port) as listener:
        door = Door(host, listener.getsockname()[1])
        if password is not None:
            door = replace(door, secret=password)
        desk = Desk()
        config = uvicorn.Config(
            Guard(application(desk, door), door),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=2,
        )
        server = uvicorn.Server(config)
        address = address_of(door, with_token=password is None)
        say(f"gas ui: {address}")
        say("Ctrl-C ends it; what was not downloaded is then removed")
        if browser:
            threading.Timer(0.5, webbrowser.open, (address,)).start()
        try:
            with _ended_by_sigterm_too():
                server.run(sockets=[listener])
        except KeyboardInterrupt:  # how it is ended
            pass
        finally:
            desk.close()


@contextmanager
def _ended_by_sigterm_too() -> Iterator[None]:
    """Within it SIGTERM, which uvicorn raises again in the end, is KeyboardInterrupt, so that files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def address_of(door: Door, *, with_token: bool) -> str:
    """What is opened in the browser."""
    name = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(door.host, door.host)
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{door.port}/" + (f"?token={door.secret}" if with_token else "")


def _listening(host: str, port: int | None) -> socket.socket:
    """A socket that listens. Without a port the first free one from PORT on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ports = [port] if port is not None else [*range(PORT, PORT + TRIES), 0]
    problem: OSError | None = None
    for one in ports:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, one))
            listener.listen(128)
        except OSError as error:
            listener.close()
            problem = error
            continue
        return listener
    reason = problem.strerror if problem is not None else ""
    raise UsageError(
        f"cannot listen on {host}" + (f", port {port}" if port is not None else "") + f": {reason}",
        Remedy("other_port", "choose another with {port} or {host}", port=Setting("port"), host=Setting("host")),
    )
