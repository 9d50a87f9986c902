"""`gas bench`: a command for each suite that is registered, with the suite's options as its own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gas.errors import UsageError
from gas_cli import flags as f
from gas_cli.lazy import LazyGroup, built

if TYPE_CHECKING:
    from gas.backends.registry import Registry
    from gas.interfaces import Options

_COMMON: dict[str, Any] = {"o": f.Out, "device": f.Device, "dtype": f.DType, "as_json": f.Json}
"""The parameters of every suite's command; a suite's option of such a name is set with `-o name=value`."""
_TAKEN = {*_COMMON, "output", "option", "json"}


class SuiteGroup(LazyGroup):
    """The suites that are registered; one is loaded when it is run."""

    def summaries(self) -> Mapping[str, str]:
        from gas.backends.registry import Registry
        from gas.backends.roles import SUITES

        return {spec.name: spec.summary for spec in Registry.discover().specs(SUITES.plural)}

    def load(self, name: str) -> Any:
        return suite_command(name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is to run, with its options. UsageError (2) with the nearest name for an unknown suite."""
        name, *rest = args
        return name, self.load(name), rest


def suite_command(name: str) -> Any:
    """The command that runs the suite `name`. Errors as `Registry.load`."""
    from gas.backends.registry import Registry
    from gas.backends.roles import SUITES

    registry = Registry.discover()
    options_type = registry.load(SUITES.plural, name).options_type

    def call(**given: Any) -> None:
        run(registry, name, {key: given.pop(key) for key in _own(options_type)}, **given)

    parameters = {**_own(options_type), **_COMMON}
    call.__annotations__ = parameters
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                key,
                inspect.Parameter.KEYWORD_ONLY,
                default=False if kind is f.Json else None,
                annotation=kind,
            )
            for key, kind in parameters.items()
        ]
    )
    return built(name, call, registry.find(SUITES.plural, name).spec.summary)


def run(
    registry: Registry,
    name: str,
    given: Mapping[str, Any],
    *,
    o: list[str] | None,
    device: str | None,
    dtype: str | None,
    as_json: bool,
) -> None:
    """Runs a suite with the options `given` (None: not given) and prints its tables."""

    from gas.backends.options import Layer
    from gas.backends.roles import SUITES
    from gas.suites import Suite, SuiteJob
    from gas_cli.output import output_console, people, print_json
    from gas_cli.progress import count_bar

    out, options = f.split_o(o)
    for backend, option, _ in options:
        if backend not in {None, name}:
            raise UsageError(f"-o {backend}.{option}: {backend!r} is not in use", f"in use: {name}")
    session = f.open_session({"device": device, "dtype": dtype})
    layers = [
        *session.settings.option_layers(SUITES.plural, name),
        *(Layer(_flag(key), {key: value}) for key, value in given.items() if value is not None),
        Layer("-o", {option: value for _, option, value in options}),
    ]
    suite: Suite[Any] = registry.create(SUITES.plural, name, {}, session.runtime, below=layers)
    with count_bar(people(), show=not as_json) as progress, registry.calling(SUITES.plural, name):
        report = suite.run(SuiteJob(registry, out, progress))
    if as_json:
        print_json(f"bench {name}", report.as_json())
    else:
        output_console().print(report.tables())
    for note in report.notes:
        people().print(note, markup=False, soft_wrap=True)


def _own(options_type: type[Options]) -> dict[str, Any]:
    """The parameters of a suite's own options, by name; their values are read as those of `-o` are."""
    from gas_cli.listing import option_type, shown

    found: dict[str, Any] = {}
    for name, info in options_type.model_fields.items():
        if name in _TAKEN:
            continue
        default = info.get_default(call_default_factory=True, validated_data={})
        words = [info.description or "", f"default: {shown(default)}" if default not in (None, False, ()) else ""]
        text = "; ".join(filter(None, words))
        if info.annotation is bool:
            switch = typer.Option(f"{_flag(name)}/--no-{_flag(name)[2:]}", help=text)
            found[name] = Annotated[bool | None, switch]
        else:
            option = typer.Option(_flag(name), help=text, metavar=option_type(options_type, name))
            found[name] = Annotated[str | None, option]
    return found


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
