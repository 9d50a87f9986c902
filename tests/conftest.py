"""Fixtures that several test files share."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
from pathlib import Path

import pytest

pytest.register_assert_rewrite("sampling_guards")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models are many times faster on one thread
# Which profile is the default, and what is missing, must not depend on what this machine has downloaded.
os.environ["GAS_CACHE"] = "false"  # what one test has computed is nothing that another may find
os.environ["HF_HUB_CACHE"] = str(Path(tempfile.gettempdir()) / "gas-tests-have-no-hub-cache")


# The libraries make a million objects that stay; with the usual thresholds a tenth of the time goes into looking for
# rubbish among them. While tests are collected there is next to none.
gc.disable()
gc.set_threshold(20_000, 20, 20)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    with contextlib.suppress(ImportError):
        import httpx  # noqa: F401 - it draws a random number when it is imported, which no test is to blame for
    from random_state import RandomStateGuard

    if hasattr(config.option, "randomly_reset_seed"):
        config.option.randomly_reset_seed = False  # the order is random; the state is the guard's affair
    config.pluginmanager.register(RandomStateGuard(), "random-state-guard")


@pytest.fixture(scope="session")
def tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in Stable Diffusion's layout with random weights (factor 8, 128 pixels), a layer a block. Do not change
    it: copy it."""
    from gas.testing.tiny import build_tiny_stable_diffusion

    return build_tiny_stable_diffusion(tmp_path_factory.mktemp("tiny") / "sd", layers=1)


@pytest.fixture(scope="session")
def whole_tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `tiny_sd`, with all the layers of Stable Diffusion 1.x: for tests that name layers, or count them."""
    from gas.testing.tiny import build_tiny_stable_diffusion

    return build_tiny_stable_diffusion(tmp_path_factory.mktemp("tiny") / "whole")
