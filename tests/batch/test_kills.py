"""Kills at a few random moments; `python tests/batch/kills.py --moments 20` makes more."""

from __future__ import annotations

from pathlib import Path

import kills
import pytest

from gas.process import random_states_kept


@pytest.mark.parametrize(("who", "moments"), [("parent", 3), ("worker", 3), ("actor", 1)])
def test_nothing_is_lost_done_twice_or_left_half(who: str, moments: int, tmp_path: Path) -> None:
    if who == "actor":
        with random_states_kept():
            pytest.importorskip("ray")
    kills.killed(tmp_path, who, moments, items=10, seed=7)
