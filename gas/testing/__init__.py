"""For tests: contracts to subclass, fakes, and models small enough for a unit test.

Names are loaded when first used: the contracts need pytest, the fakes numpy, GaussianDenoiser torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "BackboneContract": "gas.testing.backbones",
    "EditorContract": "gas.testing.contracts",
    "FakeEditor": "gas.testing.fakes",
    "FakeGrounder": "gas.testing.fakes",
    "FakePlanner": "gas.testing.fakes",
    "FakeVerifier": "gas.testing.fakes",
    "GaussianDenoiser": "gas.testing.gaussian",
    "GrounderContract": "gas.testing.contracts",
    "PlannerContract": "gas.testing.contracts",
    "VerifierContract": "gas.testing.contracts",
}
__all__ = [  # noqa: RUF022 - in the order of reading
    "PlannerContract",
    "GrounderContract",
    "EditorContract",
    "VerifierContract",
    "BackboneContract",
    "FakePlanner",
    "FakeGrounder",
    "FakeEditor",
    "FakeVerifier",
    "GaussianDenoiser",
]

if TYPE_CHECKING:
    from gas.testing.backbones import BackboneContract
    from gas.testing.contracts import EditorContract, GrounderContract, PlannerContract, VerifierContract
    from gas.testing.fakes import FakeEditor, FakeGrounder, FakePlanner
    from gas.testing.gaussian import GaussianDenoiser


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gas.testing' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
