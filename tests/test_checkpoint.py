"""The file of an unfinished run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gas.checkpoint import load_record, load_state, run_digest, save_state
from gas.errors import InputRefused

STATE = {
    "z": torch.arange(6.0).reshape(1, 2, 3),
    "rng": torch.Generator().manual_seed(3).get_state(),
    "step": 7,
    "w": 0.1,
}


def test_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "x.gas-state"
    save_state(path, STATE, digest="d", record='{"a": 1}')
    back = load_state(path, digest="d")
    assert torch.equal(back["z"], STATE["z"]) and torch.equal(back["rng"], STATE["rng"])
    assert back["step"] == 7 and back["w"] == 0.1
    assert load_record(path) == '{"a": 1}'


def test_state_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gas-state"
    save_state(path, STATE, digest="d", record="{}")
    with pytest.raises(InputRefused, match="another run"):
        load_state(path, digest="e")


def test_state_of_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.gas-state"
    monkeypatch.setattr("gas.checkpoint._VERSION", 99)
    save_state(path, STATE, digest="d", record="{}")
    monkeypatch.undo()
    with pytest.raises(InputRefused, match="99"):
        load_state(path, digest="d")


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 64, b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_file_that_is_no_state_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.gas-state"
    path.write_bytes(content)
    with pytest.raises(InputRefused, match=r"x\.gas-state"):
        load_state(path, digest="d")


def test_digest_depends_on_every_part_and_its_name() -> None:
    base = run_digest(plan={"a": 1}, seed=1)
    assert base == run_digest(seed=1, plan={"a": 1})
    others = [run_digest(plan={"a": 2}, seed=1), run_digest(plan={"a": 1}, seed=2), run_digest(plans={"a": 1}, seed=1)]
    assert base not in others and len(set(others)) == 3
    assert run_digest(a=b"xy", b=b"") != run_digest(a=b"x", b=b"y")
