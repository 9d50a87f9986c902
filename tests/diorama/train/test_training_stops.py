"""When training ends: at a signal, with a checkpoint, or at a time, with the rate fallen."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from gas_diorama.train import training
from gas_diorama.train.training import Average, Stopped, fit, load_checkpoint, stop, stop_at_signals

pytestmark = pytest.mark.seeded


@dataclass(frozen=True)
class _Settings:
    steps: int = 10**6
    batch: int = 1
    peak: float = 0.1
    warm_up: int = 0
    decay: float = 0.0
    average: float = 0.9
    save_every: int = 10**6


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Handlers as they were, and nothing asked for, after each test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    stop.asked = False


def _network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(2, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_training_after_its_step_with_a_checkpoint(number: int, tmp_path: Path) -> None:
    network, seen = _network(), []

    def loss_at(step: int) -> torch.Tensor:
        seen.append(step)
        if step == 3:
            os.kill(os.getpid(), number)
        return network(torch.ones(1, 2)).square().mean()

    stop_at_signals()
    with pytest.raises(Stopped) as stopped:
        fit(tmp_path / "x.pt", network, _Settings(), loss_at)
    assert stopped.value.code == 128 + signal.SIGTERM and seen == [0, 1, 2, 3]
    state = load_checkpoint(tmp_path / "x.pt")
    assert state is not None and state["step"] == 4
    assert torch.equal(state["network"]["weight"], network.weight)


def test_outside_of_steps_and_the_second_time_a_signal_is_obeyed_at_once() -> None:
    stop_at_signals()
    with pytest.raises(Stopped):
        os.kill(os.getpid(), signal.SIGTERM)
    with stop.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)


def test_training_ends_at_its_time_with_the_rate_fallen_and_goes_on_with_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, clock = _network(), [100.0]
    by_step: dict[int, float] = {}
    real = training.learning_rate

    def loss_at(step: int) -> torch.Tensor:
        clock[0] += 1.0
        return network(torch.ones(1, 2)).square().mean()

    def rate(*args: float) -> float:
        by_step[int(args[0])] = real(*args)  # type: ignore[arg-type]
        return by_step[int(args[0])]

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(training, "learning_rate", rate)
    last: list[tuple[int, bool]] = []
    fit(tmp_path / "x.pt", network, _Settings(), loss_at, lambda n, w, end: last.append((n, end)), until=140.0)
    rates = list(by_step.values())
    assert len(rates) == 40 and last == [(40, True)]
    assert rates[20] == pytest.approx(0.05, rel=0.15) and rates[-1] < 0.003
    assert rates[2:] == sorted(rates[2:], reverse=True)
    state = load_checkpoint(tmp_path / "x.pt")
    assert state is not None and state["spent"] == pytest.approx(40)
    by_step.clear()
    fit(tmp_path / "x.pt", network, _Settings(), loss_at, until=clock[0] + 40)
    rates = list(by_step.values())
    assert len(rates) == 40 and rates[0] == pytest.approx(0.05, rel=0.15), "half of the time is spent"
    by_step.clear()
    fit(tmp_path / "x.pt", network, _Settings(steps=82), loss_at, until=clock[0] + 40)
    assert len(by_step) == 2, "steps end it, too"


def test_a_loss_that_is_no_number_ends_training_and_keeps_the_checkpoint_of_before(tmp_path: Path) -> None:
    network, path = _network(), tmp_path / "x.pt"
    fit(path, network, _Settings(steps=3, save_every=1), lambda step: network(torch.ones(1, 2)).square().mean())

    def broken(step: int) -> torch.Tensor:
        return network(torch.full((1, 2), float("nan"))).square().mean()

    with pytest.raises(training.Diverged, match="x: the loss is nan at step 4"):
        fit(path, network, _Settings(steps=5, save_every=99), broken)
    state = load_checkpoint(path)
    assert state is not None and state["step"] == 3
    assert all(torch.isfinite(value).all() for value in state["average"].values())


def test_training_leaves_out_the_attention_of_cudnn_and_nothing_after_it_does(tmp_path: Path) -> None:
    network, before, during = _network(), torch.backends.cuda.cudnn_sdp_enabled(), []

    def loss_at(step: int) -> torch.Tensor:
        during.append(torch.backends.cuda.cudnn_sdp_enabled())
        return network(torch.ones(1, 2)).square().mean()

    fit(tmp_path / "x.pt", network, _Settings(steps=2), loss_at)
    assert during == [False, False] and torch.backends.cuda.cudnn_sdp_enabled() == before


def test_an_average_is_of_every_weight_and_half_precision_is_kept_in_full() -> None:
    network = _network().half()
    average = Average(network, 0.5)
    with torch.no_grad():
        network.weight.add_(1.0)
    before = {name: value.clone() for name, value in average.weights.items()}
    average.update(network, 100)
    assert average.weights["weight"].dtype == torch.float32
    expected = (before["weight"] + network.weight.float()) / 2
    assert torch.allclose(average.weights["weight"], expected)
    assert torch.equal(average.weights["bias"], before["bias"])
