"""Signing in: the page itself, and the form that asks for the password where the address did not bring the token."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from gas_ui.guard import Door

WRONG_SECONDS = 1.0
"""What a wrong password costs whoever guesses."""


def signing_routes(door: Door, static: Path) -> list[Route]:
    """The page, and what lets a browser in: `/?token=…`, or the form at `/login`."""

    def let_in() -> Response:
        answer = RedirectResponse("/", 303)
        answer.set_cookie(door.cookie, door.session, httponly=True, samesite="strict", path="/")
        return answer

    async def page(asked: Asked) -> Response:
        token = asked.query_params.get("token")
        if token is not None:
            if door.opens(token):
                return let_in()
            await run_in_threadpool(time.sleep, WRONG_SECONDS)
        if door.knows(asked.headers.get("cookie", "")):
            return FileResponse(static / "index.html")
        return RedirectResponse("/login", 303)

    async def form(asked: Asked) -> Response:
        if asked.method == "GET":
            return FileResponse(static / "login.html")
        sent = parse_qs((await asked.body()).decode("utf-8", "replace"))
        if door.opens("".join(sent.get("password", []))):
            return let_in()
        await run_in_threadpool(time.sleep, WRONG_SECONDS)
        return FileResponse(static / "login.html", status_code=403)

    return [Route("/", page), Route("/login", form, methods=["GET", "POST"])]
