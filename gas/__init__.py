"""gas: text-guided photograph editing from interchangeable planners, grounders and editors.

Names are loaded when first used, so that `import gas` stays light: neither torch nor numpy nor PIL is imported here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "BackendSpec": "gas.backends.registry",
    "EditJob": "gas.types",
    "EditPlan": "gas.types",
    "EditRequest": "gas.types",
    "EditResult": "gas.types",
    "Edited": "gas.types",
    "Editor": "gas.interfaces",
    "GasError": "gas.errors",
    "Grounder": "gas.interfaces",
    "Options": "gas.interfaces",
    "Planner": "gas.interfaces",
    "Profile": "gas.backends.profiles",
    "Region": "gas.types",
    "Registry": "gas.backends.registry",
    "Runtime": "gas.runtime",
    "Session": "gas.run.session",
    "Step": "gas.types",
    "Subtask": "gas.types",
    "Watch": "gas.types",
    "edit": "gas.run.session",
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
    "GasError",
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
    "Watch",
    "edit",
    "hookimpl",
]

if TYPE_CHECKING:
    from gas.backends.hookspecs import hookimpl
    from gas.backends.profiles import Profile
    from gas.backends.registry import BackendSpec, Registry
    from gas.errors import GasError
    from gas.interfaces import Editor, Grounder, Options, Planner
    from gas.run.session import Session, edit
    from gas.runtime import Runtime
    from gas.types import Edited, EditJob, EditPlan, EditRequest, EditResult, Region, Step, Subtask, Watch


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gas' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
