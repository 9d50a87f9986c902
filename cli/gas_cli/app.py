"""The `gas` command: thin commands that choose, call and show. What they do is in `gas`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any

import typer

from gas_cli.lazy import LazyGroup, built

COMMANDS = {
    "edit": ("editing", 'Edit a photograph: gas edit photo.jpg "make the dog a tiger and the grass snow".'),
    "plan": (
        "steps",
        "Split a request into subtasks and write the plan, to be read, changed and given to gas edit --plan.",
    ),
    "ground": ("steps", "Find the regions of a plan: masks as PNG files, boxes and scores, and an overlay to look at."),
    "place": ("steps", "Put a saved layer onto a picture of the same size, moved or scaled."),
    "mask": ("steps", "Make a mask of others: union, minus, inverted, grown, shrunk, feathered, in this order."),
    "suggest": ("steps", "Let a planner that can see propose edits for a picture."),
    "compare": (
        "editing",
        "Edit with several editors: same plan, same regions, same seed, side by side in one picture.",
    ),
    "batch": (
        "batches",
        'Edit many pictures: gas batch photos/ "make the sky a sunset" -o out/. Run again, it does what is missing.',
    ),
    "replay": ("editing", "Make an output again from its record: the same bytes on the same machine, or what drifted."),
    "info": (
        "telling",
        "Show how a picture was made: the record of an edit, or what another's picture says of itself.",
    ),
    "diff": ("telling", "Say in words what differs between two plans or two edits, from A to B."),
    "backends": (
        "telling",
        "List what is installed, broken, and known but not installed; gas backends show NAME lists its options.",
    ),
    "doctor": ("telling", "Check device, memory, plugins, services and weights, and say what is missing."),
    "ui": ("page", "Open a page on this machine: drop a photograph, see plan and regions, edit, compare."),
    "models": ("models", "The models of the profiles: what is here, getting the rest."),
    "cache": ("cache", "What is kept of runs to be reused: plans, regions, edits."),
    "bench": ("bench", "Measured tables; each suite is a command of its own."),
    "keys": ("keys", "Keys of services, in a file that only you can read."),
}
"""The commands in the order of the help: where each lies in `gas_cli.commands`, and what it is for."""


class Commands(LazyGroup):
    """The commands of `gas`."""

    def summaries(self) -> Mapping[str, str]:
        return {name: summary for name, (_, summary) in COMMANDS.items()}

    def load(self, name: str) -> Any:
        place, summary = COMMANDS[name]
        return built(name, getattr(import_module(f"gas_cli.commands.{place}"), name), summary)


app = typer.Typer(
    cls=Commands,
    name="gas",
    help="Change several things in one photograph, each where it belongs, and nothing else.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from gas.version import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _gas(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="say nothing but warnings, errors and data")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="stay off the network, whatever the command")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="print the version and exit", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Change several things in one photograph, each where it belongs, and nothing else. The flags below may stand after
    the command too."""
    from gas_cli.output import choose, libraries_offline

    choose(quiet=quiet, offline=offline)
    if offline:
        context.with_resource(libraries_offline())


def main() -> None:
    """The console script: runs a command and turns its outcome into an exit code."""
    from gas_cli.run import run
    from gas_cli.stdout import keep_for_data

    keep_for_data()
    run(app)
