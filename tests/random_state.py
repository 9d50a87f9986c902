"""Fails a test, or a fixture, that draws from the random state of the process.

What such a test sees depends on whatever ran before it in the same worker. Draw from a generator of your own instead
(`np.random.default_rng(0)`, `torch.Generator().manual_seed(0)`); where a library initialises weights by itself, build
them under `torch.random.fork_rng`.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Generator
from typing import Any

import pytest


def _states() -> dict[str, bytes]:
    found = {"random": repr(hash(random.getstate())).encode()}
    if "numpy" in sys.modules:
        import numpy as np

        kind, keys, position, has_gauss, cached = np.random.get_state()
        found["numpy.random"] = repr((kind, position, has_gauss, cached)).encode() + keys.tobytes()
    if "torch" in sys.modules:
        import torch

        found["torch"] = torch.random.get_rng_state().numpy().tobytes()
    return found


def _refuse_draws(before: dict[str, bytes], who: str) -> None:
    after = _states()
    drawn = [name for name, state in before.items() if after[name] != state]
    if drawn:
        pytest.fail(f"{who} draws from the random state of the process ({', '.join(drawn)}): see {__name__}", False)


class RandomStateGuard:
    """The plugin that holds the guard; `conftest.py` registers it."""

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, Any]:
        before = _states()
        made = yield
        _refuse_draws(before, f"the fixture {fixturedef.argname}")
        return made

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        before = _states()
        done = yield
        _refuse_draws(before, "this test")
        return done
