"""Fails a test, or a fixture, that draws from the random state of the process.

What such a test sees depends on whatever ran before it in the same worker. Draw from a generator of your own instead
(`np.random.default_rng(0)`, `generator(0)`). Where a library itself initialises weights, or a program under test seeds
the process that it owns, mark the test or its module with `pytest.mark.seeded`: it then begins at a fixed state,
whatever ran before, and the state is put back after it.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from gas.process import random_states_kept

if TYPE_CHECKING:
    import torch


def generator(seed: int) -> torch.Generator:
    """A random generator of the test's own."""
    import torch

    return torch.Generator().manual_seed(seed)


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


def _watched(who: str, seeded: bool) -> Generator[None, Any, Any]:
    if not seeded:
        before = _states()
        made = yield
        _refuse_draws(before, who)
        return made
    with random_states_kept():
        random.seed(0)
        for name, seed in (("numpy.random", "seed"), ("torch.random", "manual_seed")):
            if name in sys.modules:
                getattr(sys.modules[name], seed)(0)
        return (yield)


class RandomStateGuard:
    """The plugin that holds the guard; `conftest.py` registers it."""

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Generator[None, Any, Any]:
        seeded = request.node.get_closest_marker("seeded") is not None
        return (yield from _watched(f"the fixture {fixturedef.argname}", seeded))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        return (yield from _watched("this test", item.get_closest_marker("seeded") is not None))
