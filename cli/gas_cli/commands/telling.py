"""The commands that tell: of a picture, of backends, of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gas_cli import flags as f


def info(
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="a picture that gas wrote, its record, or any other picture")
    ],
    as_json: f.Json = False,
) -> None:
    from gas_cli import stages

    stages.info(output, as_json=as_json)


def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="a plan, or a picture that gas wrote, or its record")],
    b: Annotated[Path, typer.Argument(metavar="B", help="another one")],
    as_json: f.Json = False,
) -> None:
    from gas_cli import diff as command

    command.diff(a, b, as_json=as_json)


def backends(
    what: Annotated[str | None, typer.Argument(help="a role, such as editors or profiles; or show")] = None,
    name: Annotated[str | None, typer.Argument(help="after show: a backend's name")] = None,
    profile: f.Profile = None,
    as_json: f.Json = False,
) -> None:
    from gas.backends.registry import Registry
    from gas.backends.roles import PLURALS
    from gas.errors import UsageError
    from gas_cli import listing

    registry = Registry.discover()
    if what == "show":
        if name is None:
            raise UsageError("gas backends show needs a backend's name", "see: gas backends")
        listing.print_show(registry, name, f.open_session({"profile": profile}).settings, as_json=as_json)
    elif what is None or (what in PLURALS and name is None):
        listing.print_backends(registry, what, as_json=as_json)
    else:
        raise UsageError(f"{what!r} is not a role that gas backends lists", f"use {', '.join(PLURALS)}, or: show NAME")


def doctor(
    profile: f.Profile = None,
    device: f.Device = None,
    as_json: f.Json = False,
) -> None:
    from gas_cli.doctor import print_doctor

    session = f.open_session({"profile": profile, "device": device})
    print_doctor(session.registry, session.settings, session.runtime, as_json=as_json)
