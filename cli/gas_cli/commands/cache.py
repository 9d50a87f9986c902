"""The commands under `gas cache`."""

from __future__ import annotations

from typing import Annotated

import typer

from gas_cli import flags as f

cache = typer.Typer(add_completion=False, no_args_is_help=True)


@cache.command("ls")
def cache_ls(as_json: f.Json = False) -> None:
    """List what is kept: kinds, how many entries, their size, and when they were last used."""
    from gas_cli import cache as command

    command.ls(f.open_session({}).settings, as_json=as_json)


@cache.command("clear")
def cache_clear(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help="only entries of this kind, e.g. edits")] = None,
    as_json: f.Json = False,
) -> None:
    """Remove what is kept; nothing but time is lost."""
    from gas_cli import cache as command

    command.clear(f.open_session({}).settings, kind, as_json=as_json)
