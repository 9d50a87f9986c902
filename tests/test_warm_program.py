"""Programs started from a process with libraries are programs like any other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import warm_program

PROGRAM = """
import atexit, os, signal, sys, time
print("began in", os.getcwd(), "with", sys.argv[1:], os.environ.get("ASKED"), flush=True)
print("torch" in sys.modules, any(name.startswith("gas") for name in sys.modules), __name__, file=sys.stderr)
atexit.register(print, "the end")
if "wait" in sys.argv:
    open("ready", "w").close()
    time.sleep(60)
if "raise" in sys.argv:
    raise ValueError("as asked")
sys.exit(7)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path / "program.py"


def test_it_has_its_own_folder_arguments_environment_output_and_exit_code(program: Path) -> None:
    pytest.importorskip("torch")
    folder = program.parent
    running = warm_program.start(program, "one", cwd=folder, env={"ASKED": "yes"})
    out, err = running.communicate()
    assert running.returncode == running.poll() == 7 and running.pid != os.getpid()
    assert out == f"began in {folder} with ['one'] yes\nthe end\n"
    assert err == "True False __main__\n", "the libraries are there, and nothing of gas"
    again = warm_program.start(program, "raise", cwd=folder)
    out, err = again.communicate()
    assert again.returncode == 1 and "ValueError: as asked" in err and "None\nthe end\n" in out


def test_it_can_be_interrupted_and_killed(program: Path) -> None:
    pytest.importorskip("torch")
    for number, code in ((signal.SIGINT, -signal.SIGINT), (signal.SIGKILL, -signal.SIGKILL)):
        (program.parent / "ready").unlink(missing_ok=True)
        running = warm_program.start(program, "wait", cwd=program.parent)
        deadline = time.monotonic() + 60
        while not (program.parent / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert running.poll() is None
        running.send_signal(number)
        assert running.wait() == code
    running = warm_program.start(program, "wait", cwd=program.parent)
    with pytest.raises(subprocess.TimeoutExpired):
        running.wait(0.1)


def test_the_command_line_is_the_same(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    for arguments in (("backends", "editors"), ("edit", "--nonsense")):
        warm = warm_program.gas(*arguments, cwd=tmp_path)
        cold = subprocess.run(
            [sys.executable, "-m", "gas_cli", *arguments], cwd=tmp_path, capture_output=True, text=True
        )
        assert (warm.returncode, warm.stdout, warm.stderr) == (cold.returncode, cold.stdout, cold.stderr)
