"""Tries of what is not done, reused: the first edit and each attempt at one change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_retry import ASKED, job, nobody_asked, picture  # noqa: F401 (the last two are fixtures)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(autouse=True)
def a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAS_CACHE_FOLDER", str(tmp_path / "cache"))


def run(path: Path, **flags: Any) -> Any:
    ASKED.clear()
    return job(path, cache=True, **flags).edit()


def editors() -> list[str]:
    return [who for who, _ in ASKED if who != "verifier"]


def test_more_tries_begin_where_the_last_run_ended(picture: Path) -> None:  # noqa: F811
    first = run(picture, retry_editors=("blue", "redder"), tries=2)
    assert editors() == ["half", "blue"] and first.verified.undone == (1,)
    second = run(picture, retry_editors=("blue", "redder"), tries=3)
    assert editors() == ["red"] and not second.verified.undone
    assert [one.by for one in second.reused] == ["half", "blue"]
    plain = job(picture, retry_editors=("blue", "redder"), tries=3).edit()
    assert (plain.image == second.image).all() and plain.verified == second.verified


def test_rows_count_for_the_budget_as_in_a_fresh_run(picture: Path) -> None:  # noqa: F811
    """A budget of rows ends a run where it ended without a cache, so that the picture is the same."""
    flags: dict[str, Any] = {"retry_editors": ("blue", "redder"), "budget": "105rows"}
    first, second = run(picture, **flags), run(picture, **flags)
    assert editors() == [] and second.verified == first.verified and len(second.verified.attempts) == 1


def test_a_verifier_is_asked_each_time(picture: Path) -> None:  # noqa: F811
    run(picture)
    run(picture)
    assert [who for who, _ in ASKED] == ["verifier", "verifier"]
