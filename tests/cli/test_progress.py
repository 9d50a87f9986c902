"""Watching and stopping a run."""

from __future__ import annotations

import io
import signal

import numpy as np
import pytest
from rich.console import Console

from gas.errors import Interrupted
from gas.interfaces import Step
from gas_cli.progress import Stages, count_bar, forecast, live_numbers, previews, stages, step_bar, stoppable


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_asks_to_stop_and_handlers_come_back(number: signal.Signals) -> None:
    before, out = signal.getsignal(number), console()
    with stoppable(out) as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop() and stop.signal == number
    assert signal.getsignal(number) is before
    assert "kept" in said(out)


def test_second_signal_quits() -> None:
    with pytest.raises(KeyboardInterrupt), stoppable(console()):
        signal.raise_signal(signal.SIGINT)
        # SIG_DFL would end this process; Python's own handler raises instead, which a test can see.
        original = signal.signal

        def keep(number: int, handler: object) -> object:
            return original(number, signal.default_int_handler if handler is signal.SIG_DFL else handler)  # type: ignore[arg-type]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(signal, "signal", keep)
            signal.raise_signal(signal.SIGINT)


def test_previews_are_decoded_only_when_shown() -> None:
    decoded, shown = [], []

    def decode(index: int) -> np.ndarray:
        decoded.append(index)
        return np.zeros((1, 1, 3), np.uint8)

    callback = previews(10, lambda index, image: shown.append(index))
    for index in range(1, 31):
        callback(Step(index, 30, preview=lambda index=index: decode(index)))
    assert decoded == shown == [10, 20]


def test_forecast_is_said_once() -> None:
    out = console()
    callback = forecast(out, after=3)
    for index in range(1, 20):
        callback(Step(index, 20))
    assert said(out).count("20 steps, about") == 1


def test_a_steps_numbers_stay_in_their_places_under_their_names() -> None:
    steps = [
        {"t": 999, "loss": 0.001234, "norm": 12345.678, "not shown": 1.0},
        {"t": 3, "loss": -1.5e-7, "norm": 0.0, "not shown": 1.0},
        {"t": 20.25, "loss": float("nan"), "norm": float("inf")},
    ]
    lines = [live_numbers(Step(1, 2, values=values)) for values in steps]
    assert len({(line.index("t "), line.index("loss "), line.index("norm ")) for line in lines}) == 1
    assert len({len(line) for line in lines}) == 1 and not any("not shown" in line for line in lines)
    assert lines[0].split() == ["t", "999", "loss", "0.00123", "norm", "1.23e+04"]
    assert live_numbers(Step(1, 2)) == ""


def test_the_bar_shows_them_beside_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    out = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    with step_bar(out, "dds", show=True) as bar:
        bar(Step(7, 20, values={"t": 500, "loss": 0.25}))
    assert "7/20" in said(out) and "t 500        loss 0.25" in said(out)


def test_no_bar_where_nobody_looks() -> None:
    out = console()
    with step_bar(out, "x", show=True) as bar:
        bar(Step(1, 2))
    with count_bar(out, show=False) as count:
        count("row", 1, 2)
    assert said(out) == ""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_whoever_notices_the_stop_first_it_ends_with_the_signals_code(number: int, code: int) -> None:
    with pytest.raises(Interrupted) as caught, stoppable(console()) as stop:
        signal.raise_signal(number)
        assert stop()
        raise Interrupted("stopped while a model was being loaded")
    assert caught.value.exit_code == code


def test_stages_say_what_is_going_on() -> None:
    shown: list[str] = []
    stage = Stages(shown.append)
    stage.begin("plan", "openai")
    stage.begin("ground", "")
    stage.step(Step(3, 20))
    assert shown == ["planning (openai) …", "looking for the things …", "looking for the things: 3 of 20 …"]
    out = console()
    with stages(out, show=True) as quiet:
        quiet.begin("plan", "openai")
    assert said(out) == "", "no spinner where nobody looks"
