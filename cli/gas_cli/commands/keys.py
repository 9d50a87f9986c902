"""The commands under `gas keys`."""

from __future__ import annotations

from typing import Annotated

import typer

from gas_cli import flags as f

keys = typer.Typer(add_completion=False, no_args_is_help=True)


@keys.command("set")
def keys_set(name: Annotated[str, typer.Argument(help="the service, e.g. openai")]) -> None:
    """Ask for a key (or read it from standard input) and keep it."""
    from gas_cli import stages

    stages.set_key(name)


@keys.command("ls")
def keys_ls(as_json: f.Json = False) -> None:
    """List the names of the keys that are kept, and where each comes from; never a key itself."""
    from gas_cli import stages

    stages.list_keys(as_json=as_json)


@keys.command("rm")
def keys_rm(name: Annotated[str, typer.Argument(help="the service, e.g. openai")]) -> None:
    """Take a key out of the file."""
    from gas_cli import stages

    stages.remove_key(name)
