"""`gas bench`: a command for each suite that is registered."""

from __future__ import annotations

import typer

from gas_cli.bench import SuiteGroup

bench = typer.Typer(cls=SuiteGroup, add_completion=False)


@bench.callback(invoke_without_command=True)
def _bench(ctx: typer.Context) -> None:
    """Run a suite of benchmarks; without a name the suites that there are. Their options: gas bench NAME --help."""
    if ctx.invoked_subcommand is None:
        from gas.backends.registry import Registry
        from gas.backends.roles import SUITES
        from gas_cli.listing import print_backends

        print_backends(Registry.discover(), SUITES.plural)
