"""However a manifest is worked off, the pictures are the same, byte by byte."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from batch_backends import FLAGS, pictures, rows

import gas
from gas.process import random_states_kept

GRAIN = {**FLAGS, "options": {**FLAGS["options"], "painter": {"grain": 30}}}
"""An editor whose seed shows."""


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.endswith((".png", ".json"))}


def test_local_ray_and_four_shards_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listed = rows(pictures(tmp_path, 12))
    assert len(list(gas.batch(listed, out="local", workers=2, **GRAIN))) == 12
    expected = bytes_of(tmp_path / "local")
    assert len(expected) == 24 and len({data for name, data in expected.items() if name.endswith(".png")}) == 12
    for number in (3, 1, 4, 2):
        assert len(list(gas.batch(listed, out="shards", workers=1, shard=f"{number}/4", **GRAIN))) == 3
    assert bytes_of(tmp_path / "shards") == expected
    parts = {path.name for path in (tmp_path / "shards" / "ledger").glob("part-*")}
    assert parts == {f"part-{number}.jsonl" for number in (1, 2, 3, 4)}
    assert list(gas.batch(listed, out="shards", **GRAIN)) == []  # what its parts have done the whole knows

    with random_states_kept():
        pytest.importorskip("ray")
    here = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), here]))
    assert len(list(gas.batch(listed, out="ray", engine="ray", workers=2, **GRAIN))) == 12
    assert bytes_of(tmp_path / "ray") == expected
