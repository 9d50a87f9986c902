"""What gas borrows from the process, and gives back."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from gas import process
from gas.errors import Interrupted
from gas.process import check_loading, loading_models, loading_stops_when, random_states_kept
from gas.runtime import Runtime


def test_random_states_are_put_back_whatever_a_loader_does() -> None:
    torch = pytest.importorskip("torch")
    before = random.getstate(), np.random.get_state()[1].tobytes(), torch.random.get_rng_state()
    with random_states_kept():
        random.seed(3)
        np.random.seed(4)
        torch.manual_seed(5)
        random.random(), np.random.rand(), torch.rand(1)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tobytes() == before[1]
    assert torch.equal(torch.random.get_rng_state(), before[2])


def test_a_library_that_a_loader_imports_first_is_left_as_imported() -> None:
    pytest.importorskip("torch")
    code = (
        "from gas.runtime import Runtime\n"
        "def load():\n    import torch\n    return torch.rand(3)\n"
        "Runtime().shared('network', load)\n"
        "import torch\nfirst = torch.rand(3)\n"
        "torch.default_generator.manual_seed(torch.default_generator.initial_seed())\n"
        "print(torch.equal(first, torch.rand(3)))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "True"


def test_one_thread_loads_at_a_time_and_each_thing_once() -> None:
    runtimes, inside, most, loads = [Runtime(), Runtime()], [], [], []

    def load() -> str:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        loads.append(1)
        inside.pop()
        return "network"

    def work(runtime: Runtime) -> None:
        for key in range(5):
            assert runtime.shared(key, load) == "network"

    threads = [threading.Thread(target=work, args=(runtime,)) for runtime in runtimes for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(loads) == 10


def test_a_loader_may_load_what_it_needs_itself() -> None:
    runtime = Runtime()
    assert runtime.shared("outer", lambda: runtime.shared("inner", lambda: 1) + 1) == 2


def test_an_error_while_loading_leaves_the_next_load_free() -> None:
    with pytest.raises(ValueError, match="broken"), loading_models():
        raise ValueError("broken")
    assert Runtime().shared("x", lambda: 1) == 1


# --- a user who asks to stop while models are loaded ------------------------------------------------------------------


def test_loading_can_be_stopped_before_each_model_and_between_its_parts() -> None:
    stop: list[bool] = []
    runtime = Runtime()

    def load() -> str:
        check_loading()
        stop.append(True)
        check_loading()
        return "network"

    with loading_stops_when(lambda: bool(stop)):
        with pytest.raises(Interrupted) as caught:
            runtime.shared("network", load)
        assert caught.value.exit_code == 130
        with pytest.raises(Interrupted):
            runtime.shared("another", lambda: pytest.fail("it was loaded all the same"))
    assert runtime.shared("another", lambda: 1) == 1, "outside nobody is asked"


def test_what_was_loaded_when_the_stop_came_stays() -> None:
    stop: list[bool] = []
    runtime = Runtime()
    with loading_stops_when(lambda: bool(stop)):
        with pytest.raises(Interrupted):
            runtime.shared("network", lambda: stop.append(True) or "network")
        assert runtime.shared("network", lambda: pytest.fail("loaded twice")) == "network", (
            "what is there is no loading"
        )


def test_another_threads_stop_is_not_asked() -> None:
    with loading_stops_when(lambda: True):
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(Runtime().shared("x", lambda: 1)))
        thread.start()
        thread.join()
    assert found == [1]


@pytest.mark.timeout(20)
def test_messages_may_be_hidden_within_a_part_in_which_they_are_hidden(capfd: pytest.CaptureFixture[str]) -> None:
    with process.own_process(), process.native_messages_hidden():
        with process.native_messages_hidden():
            os.write(2, b"inner")
        os.write(2, b"outer")
    os.write(2, b"shown")
    assert capfd.readouterr().err == "shown"
