"""`gas ui`: starts the page's server."""

from __future__ import annotations

import os
import sys

import typer

from gas.errors import ModelUnavailable, UsageError
from gas.remedies import install
from gas_cli.output import people

LEAST = 8
"""Characters that a password has at least."""


def ui(*, port: int | None, host: str, auth: bool, browser: bool) -> None:
    """Serves the page until Ctrl-C. ModelUnavailable (exit 6) without the extra `ui`."""
    try:
        from gas_ui.serve import serve
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in {"starlette", "uvicorn", "anyio"}:
            raise
        raise ModelUnavailable(f"gas ui needs the package {error.name}", install("gas-edit[ui]")) from None
    password = _password() if auth else None
    console = people()
    serve(
        host,
        port,
        password=password,
        browser=browser,
        say=lambda text: console.print(text, markup=False, soft_wrap=True),
    )


def _password() -> str:
    """The password of GAS_UI_PASSWORD, or one that is typed, or the first line of standard input. UsageError (exit 2)
    for none, and for a short one."""
    password = os.environ.get("GAS_UI_PASSWORD")
    if not password and sys.stdin.isatty():
        password = str(typer.prompt("password for the page", hide_input=True, err=True))
    elif not password:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise UsageError("no password is given", "type one, or set GAS_UI_PASSWORD")
    if len(password) < LEAST:
        raise UsageError(f"the password has {len(password)} characters", f"use {LEAST} or more")
    return password
