"""The file of an unfinished run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gas.checkpoint import load_record, load_state, prefixed, run_digest, save_state, under
from gas.errors import InputRefused

STATE = {
    "z": torch.arange(6.0).reshape(1, 2, 3),
    "rng": torch.Generator().manual_seed(3).get_state(),
    "picture": np.arange(12, dtype=np.uint8).reshape(2, 2, 3)[:, ::-1],
    "step": 7,
    "w": 0.1,
    "logs": [{"turn": 1}],
}


def test_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "x.gas-state"
    save_state(path, STATE, digest="d", record='{"a": 1}')
    back = load_state(path, digest="d")
    assert torch.equal(back["z"], STATE["z"]) and torch.equal(back["rng"], STATE["rng"])
    assert isinstance(back["picture"], np.ndarray) and np.array_equal(back["picture"], STATE["picture"])
    assert back["step"] == 7 and back["w"] == 0.1 and back["logs"] == [{"turn": 1}]
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


def test_states_of_the_first_format_are_refused_by_name(tmp_path: Path) -> None:
    """What gas wrote before its states had one form: `plain` and tensors, no arrays."""
    from safetensors.torch import save_file

    header = {"version": 1, "digest": "d", "plain": {"step": 25}}
    save_file({"z": torch.zeros(1, 4, 2, 2)}, tmp_path / "x.gas-state", {"gas": json.dumps(header), "record": "{}"})
    with pytest.raises(InputRefused, match=r"another version of gas \(state version 1\)") as caught:
        load_state(tmp_path / "x.gas-state", digest="d")
    assert caught.value.exit_code == 3 and "resume" in caught.value.remedy


@pytest.mark.parametrize(
    "header",
    ["", "[]", "{", '{"version": 2, "digest": "d"}', '{"version": 2, "digest": "d", "arrays": ["y"], "plain": {}}'],
)
def test_a_state_with_damaged_metadata_is_refused(tmp_path: Path, header: str) -> None:
    from safetensors.torch import save_file

    save_file({"z": torch.zeros(2)}, tmp_path / "x.gas-state", {"gas": header, "record": "{}"})
    with pytest.raises(InputRefused, match=r"x\.gas-state is damaged"):
        load_state(tmp_path / "x.gas-state", digest="d")


def test_a_state_can_be_a_part_of_a_larger_one() -> None:
    whole = {"other": 1, **prefixed("turn.", {"z": 2, "turn.step": 3})}
    assert under(whole, "turn.") == {"z": 2, "turn.step": 3} and under(whole, "nothing.") == {}


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


BROKEN = {
    "no JSON": ("{", "malformed JSON"),
    "a list": ("[]", "holds no values"),
    "no values": ('{"version": 2, "digest": "d"}', "holds no values"),
    "values in a list": ('{"version": 2, "digest": "d", "plain": []}', "holds no values"),
    "version of another kind": ('{"version": {"a": "\\u001b[2J"}, "digest": "d", "plain": {}}', "state version {'a'"),
    "deep": ("[" * 5000 + "]" * 5000, "nested deeper"),
    "not a number": ('{"version": 2, "digest": "d", "plain": {"step": NaN}}', "NaN"),
    "twice": ('{"version": 1, "version": 2, "digest": "d", "plain": {}}', "twice"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_metadata_are_refused(tmp_path: Path, name: str) -> None:
    from safetensors.torch import save_file

    header, message = BROKEN[name]
    path = tmp_path / "x.gas-state"
    save_file({"z": torch.zeros(1)}, path, metadata={"gas": header, "record": "{}"})
    with pytest.raises(InputRefused, match=message) as caught:
        load_state(path, digest="d")
    assert "x.gas-state" in caught.value.message and "\x1b" not in caught.value.message


def test_a_pipe_is_no_state(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "x.gas-state")
    with pytest.raises(InputRefused, match="a pipe"):
        load_record(tmp_path / "x.gas-state")
