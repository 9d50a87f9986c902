"""`gas ui`: starts the page's server."""

from __future__ import annotations

import os

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
    password = None
    if auth:
        password = os.environ.get("GAS_UI_PASSWORD") or typer.prompt("password for the page", hide_input=True, err=True)
        if len(password) < LEAST:
            raise UsageError(f"the password has {len(password)} characters", f"use {LEAST} or more")
    console = people()
    serve(
        host,
        port,
        password=password,
        browser=browser,
        say=lambda text: console.print(text, markup=False, soft_wrap=True),
    )
