"""The contract of engines: every task comes back once, whatever happens to the workers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gas.batch.engines.interface import Engine, Outcome, Task, WorkerSpec
from gas.batch.engines.local import LocalEngine
from gas.errors import ModelUnavailable, OutOfResources
from gas.process import random_states_kept

Make = Callable[..., Engine]


@pytest.fixture(params=["local", "ray"], scope="module")
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes an engine of two workers that obey (`engine_workers.Obedient`)."""
    if request.param == "local":
        yield lambda count=2, **setup: LocalEngine(WorkerSpec("engine_workers:Obedient", setup), count, depth=3)
        return
    with random_states_kept():
        ray = pytest.importorskip("ray")
    from gas.batch.engines.ray_actors import RayEngine

    here = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *([here] if here else [])])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with random_states_kept():
        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield lambda count=2, **setup: RayEngine(WorkerSpec("engine_workers:Obedient", setup), count, depth=3)
    finally:
        ray.shutdown()
        os.environ.pop("PYTHONPATH") if here is None else os.environ.update(PYTHONPATH=here)


def run(engine: Engine, tasks: list[Task], seconds: float = 60) -> dict[str, Outcome]:
    """What comes of all tasks, each of which must come back exactly once."""
    left, found = list(tasks), dict[str, Outcome]()
    until = time.monotonic() + seconds
    while len(found) < len(tasks):
        assert time.monotonic() < until, f"missing: {[task.id for task in tasks if task.id not in found]}"
        while left and engine.room():
            engine.submit(left.pop(0))
        for outcome in engine.results(0.2):
            assert outcome.id not in found
            found[outcome.id] = outcome
    assert not engine.results(0.1)
    return found


def ready(engine: Engine) -> Engine:
    """The engine, once all its workers are ready."""
    until = time.monotonic() + 60
    while not all(state.ready for state in engine.workers()):
        assert time.monotonic() < until and not engine.results(0.1)
    return engine


def test_every_task_comes_back_once_with_its_own_value(make: Make) -> None:
    tasks = [Task(f"t{i}", {"say": f"{i} ä\n"}) for i in range(40)]
    with make(colour="red") as engine:
        found = run(ready(engine), tasks)
        assert {id: outcome.value["said"] for id, outcome in found.items()} == {t.id: t.data["say"] for t in tasks}
        assert all(outcome.value["setup"] == {"colour": "red"} for outcome in found.values())
        assert len({outcome.value["process"] for outcome in found.values()}) == 2
        assert sum(state.done for state in engine.workers()) == 40 and engine.room() == 6
        assert all(state.ready and not state.tasks for state in engine.workers())


def test_what_a_task_raises_is_its_own_outcome(make: Make) -> None:
    with make() as engine:
        found = run(engine, [Task("bad", {"refuse": True}), Task("bug", {"bug": True}), Task("good", {"say": 1})])
    assert found["bad"].value["error"]["message"] == "the picture is broken"
    assert found["bad"].value["error"]["exit_code"] == 3
    assert "ZeroDivisionError: none of our errors" in found["bug"].value["error"]["message"]
    assert found["good"].value["said"] == 1


def test_a_dead_worker_is_replaced_and_its_tasks_come_back_as_died(make: Make) -> None:
    with make() as engine:
        found = run(ready(engine), [Task("killer", {"die": True}), *(Task(f"t{i}", {"say": i}) for i in range(20))])
        assert "died" in found["killer"].died or "SIGKILL" in found["killer"].died
        lost = [id for id, outcome in found.items() if outcome.died and id != "killer"]
        assert len(lost) <= 2  # at most what the same worker had beside it
        assert all(outcome.value["said"] == int(id[1:]) for id, outcome in found.items() if not outcome.died)
        again = run(engine, [Task(f"{id}-again", {"say": id}, alone=True) for id in lost] + [Task("more", {"say": 7})])
        assert not any(outcome.died for outcome in again.values())
        assert len(engine.workers()) == 2


def test_a_task_alone_has_its_worker_for_itself(make: Make) -> None:
    with make(1) as engine:
        tasks = [Task(f"t{i}", {"seconds": 0.1}, alone=i == 3) for i in range(7)]
        found = run(engine, tasks)
        assert found["t3"].value["together"] == 1
        assert max(outcome.value["together"] for outcome in found.values()) > 1


def test_a_worker_that_cannot_start_ends_the_batch_with_its_error(make: Make) -> None:
    with pytest.raises(ModelUnavailable, match="the model is not there") as caught, make(fault=True) as engine:
        run(engine, [Task("t", {})])
    assert caught.value.hint.code == "pull" and caught.value.remedy == 'name model="x"'


def test_workers_that_die_at_their_start_end_the_batch(make: Make) -> None:
    with pytest.raises(OutOfResources, match="died 3 times before it was ready"), make(1, dies_at_start=True) as engine:
        run(engine, [Task("t", {})])


def test_stopping_leaves_no_worker(make: Make, tmp_path: Path) -> None:
    mark = tmp_path / "processes"
    with make() as engine:
        run(ready(engine), [Task(f"t{i}", {"mark": str(mark), "seconds": 0.1}) for i in range(6)])
        for i in range(4):
            engine.submit(Task(f"slow{i}", {"seconds": 60}))
        engine.results(0.3)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    processes = {int(line) for line in mark.read_text().split()}
    assert len(processes) == 2
    until = time.monotonic() + 10
    while any(_runs(process) for process in processes):
        assert time.monotonic() < until
        time.sleep(0.05)


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    """The parent is killed: its workers end by themselves, even while a task is under way."""
    import signal
    import subprocess
    import sys

    mark = tmp_path / "processes"
    program = (
        "import time\n"
        "from gas.batch.engines.interface import Task, WorkerSpec\n"
        "from gas.batch.engines.local import LocalEngine\n"
        "with LocalEngine(WorkerSpec('engine_workers:Obedient', {}), 2) as engine:\n"
        "    while not all(state.ready for state in engine.workers()): engine.results(0.1)\n"
        f"    for i in range(2): engine.submit(Task(str(i), {{'mark': {str(mark)!r}}}))\n"
        "    for i in range(2, 4): engine.submit(Task(str(i), {'seconds': 60}))\n"
        "    while True: engine.results(1)\n"
    )
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": os.pathsep.join([p or "." for p in sys.path])}
    parent = subprocess.Popen([sys.executable, "-c", program], env=environment)
    until = time.monotonic() + 60
    while not mark.exists() or len(mark.read_text().split()) < 2:
        assert time.monotonic() < until and parent.poll() is None
        time.sleep(0.05)
    processes = {int(line) for line in mark.read_text().split()}
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while any(_runs(process) for process in processes):
        assert time.monotonic() < until
        time.sleep(0.05)
