"""The commands under `gas models`."""

from __future__ import annotations

from typing import Annotated

import typer

from gas_cli import flags as f

models = typer.Typer(add_completion=False, no_args_is_help=True)
ModelNames = Annotated[list[str] | None, typer.Argument(metavar="[PROFILE|MODEL]...", help="profiles, models, hub ids")]


@models.command("ls")
def models_ls(as_json: f.Json = False) -> None:
    """List the models that profiles name: size, licence, gate, revision, and what is here already."""
    from gas.backends.registry import Registry
    from gas_cli import models as command

    command.ls(Registry.discover(), as_json=as_json)


@models.command("pull")
def models_pull(
    names: ModelNames = None,
    variant: Annotated[str | None, typer.Option(help="weights of this kind instead, e.g. fp16")] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help=".bin weights where there are no others; only tensors are read")
    ] = False,
    repair: Annotated[bool, typer.Option("--repair", help="remove damaged files first")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be downloaded")] = False,
    as_json: f.Json = False,
) -> None:
    """Download what a profile or model needs, at its pinned revision; run it again to go on after an interruption."""
    from gas_cli import models as command

    session = f.open_session({})
    command.pull(
        session.registry,
        session.settings,
        names or [],
        variant=variant,
        allow_pickle=allow_pickle,
        repair=repair,
        dry_run=dry_run,
        as_json=as_json,
    )


@models.command("rm")
def models_rm(names: ModelNames = None, as_json: f.Json = False) -> None:
    """Remove downloaded models from this machine; gas models pull gets them again."""
    from gas.backends.registry import Registry
    from gas_cli import models as command

    command.rm(Registry.discover(), names or [], as_json=as_json)


@models.command("verify")
def models_verify(names: ModelNames = None, as_json: f.Json = False) -> None:
    """Compare the files that are here with their checksums; offline."""
    from gas.backends.registry import Registry
    from gas_cli import models as command

    command.verify(Registry.discover(), names or [], as_json=as_json)
