"""Groups of commands of which one is loaded when it is to run: their help needs names and summaries alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class LazyGroup(TyperGroup):
    """A group that says its `summaries`, and how to `load` a command."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.commands = {name: TyperCommand(name, help=summary) for name, summary in self.summaries().items()}

    def summaries(self) -> Mapping[str, str]:
        """The names of the commands, in the order of the help, with what each is for."""
        raise NotImplementedError

    def load(self, name: str) -> Any:
        """The command `name`, with its flags."""
        raise NotImplementedError

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is to run. A usage error, with the names that are near, for one that there is not."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, self.load(str(name)), rest


def built(name: str, what: Callable[..., None] | typer.Typer, summary: str) -> Any:
    """The command `name` that calls a function with its flags, or is a group; `summary` is its help."""
    if isinstance(what, typer.Typer):
        group = typer.main.get_command(what)
        group.help = summary
        return group
    app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})
    app.command(name, help=summary)(what)
    return typer.main.get_command(app)
