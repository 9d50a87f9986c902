"""Parts of a batch: which items are whose, what Slurm's variables mean, and how an array is sent."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from gas.batch.shards import Shard, shard_of, submit_array
from gas.errors import ServiceUnavailable, UsageError


@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_every_item_is_in_one_part(count: int) -> None:
    parts = [[i for i in range(100) if Shard(number, count).has(i)] for number in range(1, count + 1)]
    assert sorted(i for part in parts for i in part) == list(range(100))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_whole_and_its_parts_write_other_files() -> None:
    assert [shard_of(text, {}).part for text in (None, "1/1", "1/3", "3/3")] == [0, 0, 1, 3]


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/2", "1/2/3", ""])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not of the form i/n"):
        shard_of(text, {})


@pytest.mark.parametrize(("first", "step", "id", "said"), [
    ("0", "1", "0", "1/16"), ("0", "1", "15", "16/16"), ("1", "1", "16", "16/16"), ("0", "2", "4", "3/16"),
])  # fmt: skip
def test_the_default_is_the_slurm_arrays(first: str, step: str, id: str, said: str) -> None:
    environment = {"SLURM_ARRAY_TASK_ID": id, "SLURM_ARRAY_TASK_COUNT": "16"}
    environment |= {"SLURM_ARRAY_TASK_MIN": first, "SLURM_ARRAY_TASK_STEP": step}
    assert str(shard_of(None, environment)) == said
    assert str(shard_of("2/4", environment)) == "2/4"


def test_slurm_variables_that_are_none_are_named() -> None:
    with pytest.raises(UsageError, match="not numbers"):
        shard_of(None, {"SLURM_ARRAY_TASK_ID": "one"})


def test_an_array_is_sent_a_command_for_each_part(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    program = f"import pathlib, sys; pathlib.Path({str(tmp_path)!r}, sys.argv[-1].replace('/', '-')).touch()"
    ids = submit_array([sys.executable, "-c", program], 3, tmp_path / "logs", {"timeout_min": 5}, cluster="local")
    assert len(set(ids)) == 3
    until = time.monotonic() + 60
    while len(list(tmp_path.glob("*-3"))) < 3:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert {path.name for path in tmp_path.glob("*-3")} == {"1-3", "2-3", "3-3"}


def test_an_array_that_slurm_does_not_take_is_named(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    with pytest.raises(ServiceUnavailable, match="cannot be sent"):
        submit_array([sys.executable], 2, tmp_path / "logs", {}, cluster="slurm")
