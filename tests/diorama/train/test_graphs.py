"""A loss in two parts trains as one does; it is recorded as a CUDA graph on a GPU alone, and gives the same there."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gas_diorama.train.graphs import Loss, replayed
from gas_diorama.train.training import fit

pytestmark = pytest.mark.seeded
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@dataclass(frozen=True)
class _Settings:
    steps: int = 4
    batch: int = 4
    peak: float = 0.1
    warm_up: int = 1
    decay: float = 0.0
    average: float = 0.9
    save_every: int = 9


def _loss(network: nn.Module, device: str = "cpu") -> Loss:
    def batch_at(number: int) -> tuple[Tensor, ...]:
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(number)).to(device)
        return x, x.sum(1, keepdim=True)

    return Loss(batch_at, lambda x, y: (network(x) - y).square().mean())


def _network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def test_a_loss_in_two_parts_trains_as_one_does(tmp_path: Path) -> None:
    whole, parts = _network(), _network()
    in_two = _loss(parts)
    other = _loss(whole)
    expected = fit(tmp_path / "one.pt", whole, _Settings(), lambda n: other(n))
    found = fit(tmp_path / "two.pt", parts, _Settings(), in_two)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_nothing_is_recorded_without_a_gpu() -> None:
    network = _network()
    assert replayed(_loss(network), list(network.parameters()), 0) is None


@GPU
def test_a_graph_gives_the_gradients_of_each_batch() -> None:
    network = _network().cuda()
    twin = copy.deepcopy(network)
    loss, plain = _loss(network, "cuda"), _loss(twin, "cuda")
    graph = replayed(loss, list(network.parameters()), 0)
    assert graph is not None
    for number in (3, 4):
        twin.zero_grad()
        value = plain(number)
        value.backward()
        assert torch.allclose(graph(number), value)
        for one, other in zip(network.parameters(), twin.parameters(), strict=True):
            assert one.grad is not None and other.grad is not None and torch.allclose(one.grad, other.grad, atol=1e-6)
