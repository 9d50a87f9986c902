"""Packages of extras that are kept out of the environment of the tests, since diffusers imports peft wherever it is
installed, which costs every program two seconds. `make test` puts them into a folder of their own;
`tests/diffusion/test_packages_apart.py` runs the tests that need them in one program that finds them there."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(sys.prefix) / "apart"


def needs(package: str) -> Callable[[Any], Any]:
    """Marks a test that needs `package`: left out where that is not installed."""
    missing = importlib.util.find_spec(package) is None
    left_out = pytest.mark.skipif(missing, reason=f"{package} is kept apart: tests/diffusion/test_packages_apart.py")
    return lambda test: pytest.mark.apart(left_out(test))
