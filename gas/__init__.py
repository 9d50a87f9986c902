"""gas: text-guided photograph editing from interchangeable planners, grounders and editors.

Names are loaded when first used, so that `import gas` stays light: neither torch nor numpy nor PIL is imported here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gas.version import __version__ as __version__

_HOME = {
    "BackendSpec": "gas.backends.spec",
    "EditJob": "gas.interfaces",
    "EditPlan": "gas.types",
    "EditRequest": "gas.types",
    "EditResult": "gas.run.result",
    "Evidence": "gas.types",
    "Finding": "gas.types",
    "Edited": "gas.interfaces",
    "Editor": "gas.interfaces",
    "GasError": "gas.errors",
    "GroundJob": "gas.interfaces",
    "Grounder": "gas.interfaces",
    "Options": "gas.interfaces",
    "Planner": "gas.interfaces",
    "Profile": "gas.backends.profiles",
    "Region": "gas.types",
    "Registry": "gas.backends.registry",
    "Runtime": "gas.runtime",
    "Session": "gas.run.session",
    "Step": "gas.interfaces",
    "Subtask": "gas.types",
    "Suite": "gas.suites",
    "Verifier": "gas.interfaces",
    "VerifyJob": "gas.interfaces",
    "Watch": "gas.interfaces",
    "batch": "gas.batch.call",
    "edit": "gas.run.edit",
    "hookimpl": "gas.backends.hookspecs",
}
__all__ = [
    "BackendSpec",
    "EditJob",
    "EditPlan",
    "EditRequest",
    "EditResult",
    "Edited",
    "Editor",
    "Evidence",
    "Finding",
    "GasError",
    "GroundJob",
    "Grounder",
    "Options",
    "Planner",
    "Profile",
    "Region",
    "Registry",
    "Runtime",
    "Session",
    "Step",
    "Subtask",
    "Suite",
    "Verifier",
    "VerifyJob",
    "Watch",
    "batch",
    "edit",
    "hookimpl",
]

if TYPE_CHECKING:
    from gas.backends.hookspecs import hookimpl
    from gas.backends.profiles import Profile
    from gas.backends.registry import Registry
    from gas.backends.spec import BackendSpec
    from gas.batch.call import batch
    from gas.errors import GasError
    from gas.interfaces import (
        Edited,
        EditJob,
        Editor,
        Grounder,
        GroundJob,
        Options,
        Planner,
        Step,
        Verifier,
        VerifyJob,
        Watch,
    )
    from gas.run.edit import edit
    from gas.run.result import EditResult
    from gas.run.session import Session
    from gas.runtime import Runtime
    from gas.suites import Suite
    from gas.types import EditPlan, EditRequest, Evidence, Finding, Region, Subtask


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gas' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
