"""Who may speak to the page's server: the browser that was given its token, on the page that it serves itself.

Every request passes `Guard`. It refuses other names in `Host` (a site of somebody else that resolves to this machine),
requests that another site's page makes, requests without the token, and bodies that are too long.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

PHOTO_BYTES = 2**29
"""The longest body of a request that brings a file."""
BODY_BYTES = 2**22
"""The longest body of any other: a plan, or a painted mask of at most 1600 x 1600 levels."""
OPEN = ("/login", "/static/")
"""What is served without the token: the sign-in form, and the page's own code, which holds nothing of the user's."""

_SAFE = {"GET", "HEAD"}
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Door:
    """Where the server listens, and the secret that opens it."""

    host: str
    port: int
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    session: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    """What the cookie holds: not the secret itself, so that a password stands nowhere."""

    @property
    def cookie(self) -> str:
        """The cookie's name; with the port, since cookies are shared by all ports of a host."""
        return f"gas-ui-{self.port}"

    @property
    def local(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host == "localhost" or (_is_address(self.host) and ipaddress.ip_address(self.host).is_loopback)

    def opens(self, secret: str) -> bool:
        """Whether `secret` is the right one; it takes the same time for every wrong one."""
        return hmac.compare_digest(secret.encode(), self.secret.encode())

    def is_host(self, header: str) -> bool:
        """Whether a `Host` header names this server: a loopback name, its own name, or, where it listens to other
        machines, an address. A name that somebody else's DNS could resolve to this machine is none of these."""
        name, port = _split(header)
        if port != self.port:
            return False
        if name == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback):
            return True
        if self.local:
            return False
        return _is_address(name) or name in {self.host.lower(), socket.gethostname().lower()}

    def knows(self, cookie: str) -> bool:
        """Whether a `Cookie` header holds the session of this server."""
        try:
            found = SimpleCookie(cookie).get(self.cookie)
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(found.value.encode(), self.session.encode())


class Guard:
    """The application `app` behind `door`: an ASGI application."""

    def __init__(self, app: App, door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope["method"], scope["path"], headers)
        if refusal is not None:
            await _say(send, *refusal)
            return
        limit = PHOTO_BYTES if scope["path"].endswith("/file") else BODY_BYTES
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > limit:
            await _say(send, 413, f"too long: {limit} bytes at most")
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = {name.decode("latin-1").lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *_encoded({k: v for k, v in _HEADERS.items() if k not in sent}),
                ]
            await send(message)

        await self.app(scope, _limited(receive, limit), with_headers)

    def _refusal(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and words for a request that is not served; None: it is."""
        host = headers.get("host", "")
        if not self.door.is_host(host):
            return 421, "this server does not have that name"
        origin = headers.get("origin")
        if method not in _SAFE and origin is None:
            return 403, "a change needs the header Origin"
        if origin is not None and origin not in {f"http://{host}", f"https://{host}"}:
            return 403, "this request comes from another site"
        # A link from elsewhere may open the page itself; whatever the page loads must come from the page.
        site = headers.get("sec-fetch-site", "same-origin")
        navigates = method in _SAFE and headers.get("sec-fetch-mode") == "navigate" and not path.startswith("/api/")
        if site not in {"same-origin", "none"} and not navigates:
            return 403, "this request comes from another site"
        if path == "/" or path.startswith(OPEN):
            return None
        if not self.door.knows(headers.get("cookie", "")):
            return 401, "sign in first"
        return None


class TooLong(Exception):
    """A body that is longer than allowed, whatever its header said."""


def _limited(receive: Receive, limit: int) -> Receive:
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > limit:
            raise TooLong
        return message

    return counted


async def _say(send: Send, status: int, words: str) -> None:
    headers = {**_HEADERS, "content-type": "text/plain; charset=utf-8"}
    await send({"type": "http.response.start", "status": status, "headers": _encoded(headers)})
    await send({"type": "http.response.body", "body": words.encode()})


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def _split(header: str) -> tuple[str, int]:
    """Name and port of a `Host` header; port 80 where it says none, 0 where it is no number."""
    name, colon, port = header.rpartition(":")
    if not colon or header.endswith("]"):
        name, port = header, "80"
    return name.strip("[]").lower().rstrip("."), int(port) if port.isdecimal() and len(port) < 6 else 0


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
