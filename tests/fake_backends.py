"""Backends without models under names of their own, so that each has an options table to itself."""

from __future__ import annotations

from gas.backends.hookspecs import hookimpl
from gas.backends.registry import Registry
from gas.backends.spec import BackendSpec


@hookimpl
def gas_register_planners() -> tuple[BackendSpec, ...]:
    return (BackendSpec("arrows", "gas.testing.fakes:FakePlanner", "reads source -> target"),)


@hookimpl
def gas_register_grounders() -> tuple[BackendSpec, ...]:
    return (BackendSpec("places", "gas.testing.fakes:FakeGrounder", "knows some places by heart"),)


@hookimpl
def gas_register_editors() -> tuple[BackendSpec, ...]:
    return (BackendSpec("painter", "gas.testing.fakes:FakeEditor", "paints the regions"),)


@hookimpl
def gas_register_verifiers() -> tuple[BackendSpec, ...]:
    return (BackendSpec("colour-eye", "gas.testing.fakes:FakeVerifier", "looks for one colour"),)


def registry() -> Registry:
    """The toolkit's own backends and these."""
    import sys

    return Registry(plugins="none").add(sys.modules[__name__])
