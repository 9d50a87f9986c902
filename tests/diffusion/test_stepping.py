"""The one runner: it stops, reports, keeps states, resumes, refuses what is not finite and names short memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gas.checkpoint import load_state, save_state
from gas.diffusion.stepping import FORMAT, KEPT_EVERY, State, Stepping, Stopped, Work, same_size
from gas.errors import InputRefused, OutOfResources, ResultRefused
from gas.interfaces import Step, Watch


class Walk(Work):
    """Adds the step's number to a tensor, an array and a list; comes to its end at `end`, breaks at `broken`."""

    def __init__(self, end: int | None = None, broken: Callable[[int], float] = lambda i: 0.0) -> None:
        self.z = torch.zeros(2, dtype=torch.float64)
        self.seen = np.zeros(3)
        self.log: list[int] = []
        self.end, self.broken = end, broken
        self.asked: list[bool] = []

    def step(self, i: int) -> None:
        self.z = self.z + i + self.broken(i)
        self.seen = self.seen + i
        self.log.append(i)

    def state(self) -> State:
        return {"z": self.z, "seen": self.seen, "log": self.log}

    def restore(self, state: State) -> None:
        self.z, self.seen, self.log = same_size(state["z"], self.z), np.asarray(state["seen"]), list(state["log"])

    @property
    def finished(self) -> bool:
        return self.end is not None and len(self.log) >= self.end

    def numbers(self) -> Mapping[str, Tensor]:
        return {"steps": torch.tensor(len(self.log)), "z": self.z}

    def values(self, renewed: bool) -> Mapping[str, float]:
        self.asked.append(renewed)
        return {"sum": float(self.z[0])}


def stop_after(count: int) -> Callable[[], bool]:
    asked = iter(range(10**6))
    return lambda: next(asked) >= count


def test_steps_are_counted_and_reported_over_all_works() -> None:
    steps: list[Step] = []
    run = Stepping(Watch(on_step=steps.append), 25)
    first, second = Walk(), Walk()
    run.run("first", 13, first)
    run.skip(2)
    run.run("second", 10, second)
    assert first.log == list(range(13)) and second.log == list(range(10)) and run.done == 25
    assert [step.index for step in steps] == [*range(1, 14), *range(16, 26)] and {step.total for step in steps} == {25}
    assert steps[-1].values == {"sum": 45.0} and steps[-1].preview is None


def test_numbers_that_wait_for_the_device_are_new_at_first_at_last_and_every_tenth_step() -> None:
    walk = Walk()
    Stepping(Watch(on_step=lambda step: None), 23).run("walk", 23, walk)
    assert [i + 1 for i, renewed in enumerate(walk.asked) if renewed] == [1, 10, 20, 23]
    silent = Walk()
    Stepping(Watch(), 23).run("walk", 23, silent)
    assert not silent.asked, "nobody listens"


def test_a_work_may_come_to_its_end_early() -> None:
    steps: list[Step] = []
    walk = Walk(end=4)
    run = Stepping(Watch(on_step=steps.append), 20)
    run.run("walk", 20, walk)
    assert walk.log == [0, 1, 2, 3] and run.done == 4 and len(steps) == 4
    assert walk.asked[-1], "the last numbers are new"


def test_states_are_kept_every_tenth_step_and_when_it_stops() -> None:
    states: list[Any] = []
    run = Stepping(Watch(checkpoint=states.append, should_stop=stop_after(27)), 40)
    run.run("first", 15, Walk())
    with pytest.raises(Stopped):
        run.run("second", 25, Walk())
    assert KEPT_EVERY == 10
    assert [(state["first.step"], state.get("second.step")) for state in states] == [(10, None), (15, 5), (15, 12)]
    assert all(state["stepping"] == FORMAT for state in states)
    assert states[0]["first.log"] == list(range(10)), "a state that was given does not change any more"
    assert states[-1]["second.z"].tolist() == [66.0, 66.0]


@pytest.mark.parametrize("after", [0, 1, 9, 15, 16, 39])
def test_what_was_stopped_goes_on_to_the_same_numbers(after: int, tmp_path: Path) -> None:
    def both(watch: Watch) -> tuple[Walk, Walk, Stepping]:
        run = Stepping(watch, 40)
        first, second = Walk(), Walk(end=20)
        run.run("first", 15, first)
        run.run("second", 25, second)
        return first, second, run

    whole = both(Watch())
    states: list[Any] = []
    if after < 35:
        with pytest.raises(Stopped):
            both(Watch(checkpoint=states.append, should_stop=stop_after(after)))
    else:
        both(Watch(checkpoint=states.append))
    save_state(tmp_path / "x", states[-1], digest="d", record="{}")
    for state in (states[-1], load_state(tmp_path / "x", digest="d")):
        steps: list[Step] = []
        again = both(Watch(resume=state, on_step=steps.append))
        assert torch.equal(again[1].z, whole[1].z) and np.array_equal(again[1].seen, whole[1].seen)
        assert again[0].log == whole[0].log and again[2].done == whole[2].done == 35
        assert len(steps) == 35 - (min(after, 30)), "nothing is made twice"


@pytest.mark.parametrize(
    "change",
    [
        {"walk.z": torch.zeros(3)},
        {"walk.z": None},
        {"walk.step": 31},
        {"walk.step": -1},
        {"walk.step": "many"},
        {"walk.log": 3},
        {"stepping": 1},
        {"stepping": None},
    ],
)
def test_a_state_of_another_run_or_format_is_refused(change: dict[str, Any]) -> None:
    states: list[Any] = []
    Stepping(Watch(checkpoint=states.append), 30).run("walk", 30, Walk())
    with pytest.raises(InputRefused, match="does not belong to this run") as caught:
        Stepping(Watch(resume={**states[0], **change}), 30).run("walk", 30, Walk())
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("state", [{}, {"step": 25, "z": torch.zeros(2)}, {"inversion.step": 3}])
def test_states_of_the_time_before_formats_are_refused_not_misread(state: dict[str, Any]) -> None:
    walk = Walk()
    with pytest.raises(InputRefused, match="its format is None, not 2"):
        Stepping(Watch(resume=state), 30).run("walk", 30, walk)
    assert not walk.log


def test_a_name_stands_for_one_work() -> None:
    run = Stepping(Watch(), 4)
    run.run("walk", 2, Walk())
    with pytest.raises(ValueError, match="'walk'"):
        run.run("walk", 2, Walk())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused_in_its_step(value: float) -> None:
    steps: list[Step] = []
    walk = Walk(broken=lambda i: value if i == 3 else 0.0)
    with pytest.raises(ResultRefused, match=r"the walk is not a finite number any more \(z, step 4\)") as caught:
        Stepping(Watch(on_step=steps.append), 9).run("walk", 9, walk)
    assert caught.value.exit_code == 11 and "guidance_scale" in caught.value.remedy and len(steps) == 3


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("full"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_short_memory_is_named(error: RuntimeError) -> None:
    def full(i: int) -> float:
        raise error

    with pytest.raises(OutOfResources, match="step 1 of the walk") as caught:
        Stepping(Watch(), 9).run("walk", 9, Walk(broken=full))
    assert caught.value.exit_code == 7 and "bf16" in caught.value.remedy


def test_other_errors_are_left_as_they_are() -> None:
    def broken(i: int) -> float:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        Stepping(Watch(), 9).run("walk", 9, Walk(broken=broken))
