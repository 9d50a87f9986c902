"""One task at a time for each device, the others in their order; previews that cost next to nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from gas.errors import InputRefused
from gas.interfaces import Step
from gas_ui.progress import SHARE, Progress
from gas_ui.tasks import Task, Tasks, lane


@pytest.fixture
def tasks() -> Iterator[Tasks]:
    tasks = Tasks()
    yield tasks
    tasks.close()


def over(task: Task) -> str:
    until = time.monotonic() + 10
    while not task.over:
        assert time.monotonic() < until
        time.sleep(0.002)
    return task.state


def test_tasks_of_a_device_run_one_after_the_other_and_know_their_place(tasks: Tasks) -> None:
    gate, running = threading.Event(), []

    def work(task: Task) -> None:
        running.append(task)
        assert len(running) == 1
        gate.wait(10)
        running.remove(task)

    first, second, third = (tasks.submit("main", "edit", work) for _ in range(3))
    while first.state == "waiting":
        time.sleep(0.002)
    assert [tasks.place(one) for one in (first, second, third)] == [0, 1, 2]
    other = tasks.submit("cuda:1", "edit", lambda task: None)
    assert over(other) == "done"  # another device does not wait
    gate.set()
    assert [over(one) for one in (first, second, third)] == ["done"] * 3


def test_a_waiting_task_is_stopped_at_once_and_never_begins(tasks: Tasks) -> None:
    gate, began = threading.Event(), []
    first = tasks.submit("main", "edit", lambda task: gate.wait(10))
    second = tasks.submit("main", "edit", began.append)
    tasks.stop(second)
    assert second.state == "stopped" and tasks.place(second) == 0
    gate.set()
    assert over(first) == "done" and not began


def test_a_running_task_is_asked_to_stop(tasks: Tasks) -> None:
    def work(task: Task) -> None:
        while not task.watch().should_stop():
            time.sleep(0.002)
        task.watch().check_stop()

    task = tasks.submit("main", "edit", work)
    tasks.stop(task)
    assert over(task) == "stopped" and task.error is None


def test_what_goes_wrong_is_kept_and_a_bug_says_nothing_of_what_it_saw(
    tasks: Tasks, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(task: Task) -> None:
        raise InputRefused("no picture", "give one")

    def bug(task: Task) -> None:
        raise ValueError("key sk-secret")

    task = tasks.submit("main", "edit", refuse)
    assert over(task) == "failed" and task.error is not None and task.error.message == "no picture"
    task = tasks.submit("main", "edit", bug)
    assert over(task) == "failed" and task.error is not None
    assert "ValueError" in task.error.message and "sk-secret" not in str(task.error)
    assert "Traceback" in capsys.readouterr().err


def test_closing_stops_what_runs(tasks: Tasks) -> None:
    task = tasks.submit("main", "edit", lambda task: [time.sleep(0.002) for _ in iter(task.watch().should_stop, True)])
    while task.state == "waiting":
        time.sleep(0.002)
    tasks.close(5)
    assert task.state == "stopped"


@pytest.mark.parametrize(
    ("device", "name"), [("auto", "main"), ("cpu", "main"), ("cuda:0", "main"), ("cuda:1", "cuda:1")]
)
def test_what_may_be_the_same_device_shares_a_lane(device: str, name: str) -> None:
    assert lane(device) == name


class Clock:
    """A clock that a run and its previews move on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.previews = 0.0

    def __call__(self) -> float:
        return self.now

    def preview(self) -> np.ndarray:
        self.now += 0.3
        self.previews += 0.3
        return np.zeros((8, 8, 3), np.uint8)


def test_previews_take_no_more_than_their_share_of_the_time() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.begin("edit", "dds")
    for index in range(1, 401):
        clock.now += 0.1
        progress.look()
        progress.step(Step(index, 401, {}, clock.preview))
    assert progress.previews >= 2 and clock.previews <= 0.05 * clock.now
    assert clock.previews >= 0.5 * SHARE * clock.now


def test_nobody_looks_so_nothing_is_decoded() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.begin("edit", "dds")
    for index in range(1, 100):
        clock.now += 0.1
        progress.step(Step(index, 100, {"size": 0.5}, clock.preview))
    assert clock.previews == 0
    look = progress.look()
    assert (look["index"], look["total"], look["values"]) == (99, 100, {"size": 0.5})
    assert look["left"] == pytest.approx(0.1, rel=0.05)
