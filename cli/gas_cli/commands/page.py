"""The command that opens the page."""

from __future__ import annotations

from typing import Annotated

import typer


def ui(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="default: 7860, or the next that is free")] = None,
    host: Annotated[str, typer.Option(help="another address to listen on; then a token or password is asked for")] = (
        "127.0.0.1"
    ),
    auth: Annotated[bool, typer.Option("--auth", help="ask for a password of your own instead of a token")] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="only print the address")] = False,
) -> None:
    from gas_cli import ui as command

    command.ui(port=port, host=host, auth=auth, browser=not no_browser)
