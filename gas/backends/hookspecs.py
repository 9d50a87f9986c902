"""The hooks: all that a plugin can say to the toolkit fits on this page.

A plugin is a module, named by an entry point in the group `gas`, that implements any of these with `@gas.hookimpl`. A
hook returns specs, which *name* classes as strings; nothing heavy is imported until a backend is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from gas.backends.spec import BackendSpec

hookspec = pluggy.HookspecMarker("gas")
hookimpl = pluggy.HookimplMarker("gas")


@hookspec
def gas_register_planners() -> Iterable[BackendSpec]:  # type: ignore[empty-body]
    """Specs of planners; each target is a `gas.Planner`."""


@hookspec
def gas_register_grounders() -> Iterable[BackendSpec]:  # type: ignore[empty-body]
    """Specs of grounders; each target is a `gas.Grounder`."""


@hookspec
def gas_register_editors() -> Iterable[BackendSpec]:  # type: ignore[empty-body]
    """Specs of editors; each target is a `gas.Editor`."""


@hookspec
def gas_register_verifiers() -> Iterable[BackendSpec]:  # type: ignore[empty-body]
    """Specs of verifiers; each target is a `gas.Verifier`."""


@hookspec
def gas_register_profiles() -> Iterable[BackendSpec]:  # type: ignore[empty-body]
    """Specs of profiles; each target is a TOML file in a package, as `"package:file.toml"`."""


@hookspec
def gas_register_suites() -> Iterable[BackendSpec]:  # type: ignore[empty-body]
    """Specs of suites of benchmarks; each target is a `gas.Suite`."""
