"""Processes that train together: the same weights as one that takes all their batches, and one log."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from gas_diorama.train import train
from gas_diorama.train.training import fit, load_checkpoint

pytestmark = pytest.mark.seeded  # libraries draw the first weights of the networks in here


STEPS = 3


@dataclass(frozen=True)
class _Settings:
    steps: int = STEPS
    batch: int = 4
    peak: float = 0.1
    warm_up: int = 1
    decay: float = 0.0
    average: float = 0.9
    save_every: int = STEPS


def _network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def _loss(network: nn.Module, number: int) -> torch.Tensor:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(number))
    return (network(x) - x.sum(1, keepdim=True)).square().mean()


def together(folder: Path) -> None:
    """What each of the processes does."""
    torch.distributed.init_process_group("gloo")
    network, saved = _network(), []
    average = fit(
        folder / "two.pt", network, _Settings(), lambda n: _loss(network, n), lambda n, w, last: saved.append((n, last))
    )
    rank = torch.distributed.get_rank()
    torch.save({"network": network.state_dict(), "average": average, "saved": saved}, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_processes_train_together_as_one_that_takes_all_their_batches(tmp_path: Path) -> None:
    from warm_program import start  # not where this file is the program

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    workers = [start(__file__, tmp_path, cwd=tmp_path, env={**shared, "RANK": str(rank)}) for rank in range(2)]
    assert [worker.wait(120) for worker in workers] == [0, 0]
    network = _network()
    expected = fit(
        tmp_path / "one.pt", network, _Settings(), lambda n: (_loss(network, 2 * n) + _loss(network, 2 * n + 1)) / 2
    )
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for name, value in network.state_dict().items():
        assert torch.equal(first["network"][name], second["network"][name])
        assert torch.allclose(first["network"][name], value, atol=1e-6)
        assert torch.allclose(first["average"][name], expected[name], atol=1e-6)
    assert first["saved"] == [(STEPS, True)] and second["saved"] == []
    state = load_checkpoint(tmp_path / "two.pt")
    assert state is not None and state["step"] == STEPS


def test_a_stage_that_cannot_be_shared_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(SystemExit):
        train.main(["vae", "--out", str(tmp_path)])
    assert "torchrun trains instruct, instruct-remove, clip, not vae" in capsys.readouterr().err


if __name__ == "__main__":
    together(Path(sys.argv[1]))
