"""Programs that start with the model libraries in place: importing them takes longer than what such a test looks at.

One process imports the libraries, and nothing of ours. Each program is a fork of it: a process of its own, with its own
folder, environment, output, signals and exit code, that imports gas as `python -m gas_cli` does. A test of what is
imported, or when, starts a program in the ordinary way.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


def gas(*arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """What `gas` with these arguments ended with, in the folder `cwd`; `env` is added to the environment."""
    program = start("-m", "gas_cli", *arguments, cwd=cwd, env=env)
    out, err = program.communicate(timeout=240)
    return subprocess.CompletedProcess(list(map(str, arguments)), program.wait(), out, err)


def run(command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
    """In the place of `subprocess.run` where what is under test starts Python programs, `[sys.executable, ...]`, and
    reads what they write."""
    program = start(*command[1:], cwd=Path.cwd())
    out, err = program.communicate()
    return subprocess.CompletedProcess(command, program.wait(), out, err)


def start(*arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> Program:
    """The running program `python ARGUMENTS`: `-m MODULE ...` or `FILE ...`. It is the leader of a session."""
    global _parent
    if _parent is None:
        _parent = _Parent()
    asked = {"arguments": list(map(str, arguments)), "cwd": str(cwd), "env": {**os.environ, **(env or {})}}
    return Program(_parent, asked)


class Program:
    """A running program, with those names of `subprocess.Popen` that tests use."""

    def __init__(self, parent: _Parent, asked: Mapping[str, Any]) -> None:
        self._out, self._err = (tempfile.TemporaryFile("w+") for _ in range(2))  # noqa: SIM115 - kept as long as it
        self._said, theirs = socket.socketpair()
        with theirs:
            parent.ask(asked, [self._out.fileno(), self._err.fileno(), theirs.fileno()])
        self.pid = self._number()
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, as in `subprocess`; None while it runs."""
        if self.returncode is None and select.select([self._said], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float = 240) -> int:
        """The exit code. It is killed, and TimeoutExpired raised, after so many seconds."""
        if self.returncode is None:
            if not select.select([self._said], [], [], timeout)[0]:
                self.send_signal(signal.SIGKILL)
                raise subprocess.TimeoutExpired("a program", timeout)
            self.returncode = self._number()
            self._said.close()
        return self.returncode

    def communicate(self, timeout: float = 240) -> tuple[str, str]:
        """What it wrote to standard output and standard error until its end."""
        self.wait(timeout)
        texts = []
        for stream in (self._out, self._err):
            stream.seek(0)
            texts.append(stream.read())
        return texts[0], texts[1]

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def _number(self) -> int:
        line = b""
        while not line.endswith(b"\n"):
            more = self._said.recv(1)
            if not more:
                raise RuntimeError("the process that starts programs has ended")
            line += more
        return int(line)


class _Parent:
    """The process with the libraries; it ends when this one does."""

    def __init__(self) -> None:
        from gas_cli.run import QUIET  # libraries look at it when they are imported

        self._asks, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **QUIET, "PYTHONPATH": os.pathsep.join(_SEARCH_PATH)},
            )
        atexit.register(self.end)

    def ask(self, asked: Mapping[str, Any], streams: Sequence[int]) -> None:
        text = json.dumps(asked).encode()
        socket.send_fds(self._asks, [len(text).to_bytes(8, "big")], streams)
        self._asks.sendall(text)

    def end(self) -> None:
        self._asks.close()
        self.process.wait(60)


_parent: _Parent | None = None


_SEARCH_PATH = tuple(entry for entry in sys.path if entry and not Path(entry).is_relative_to(_FOLDER))
"""Where this process finds modules, but for the folders of the tests, before a test puts a plugin of its own there."""


# --- the process with the libraries -----------------------------------------------------------------------------------


def _import_libraries() -> None:
    import threading

    import PIL.Image  # noqa: F401
    import pydantic  # noqa: F401
    from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel  # noqa: F401
    from transformers import CLIPTextModel, CLIPTokenizer, GroundingDinoForObjectDetection, SamModel  # noqa: F401

    assert threading.active_count() == 1, "a fork has the thread that forks alone"
    assert not any(name.partition(".")[0].startswith("gas") for name in sys.modules), "a program imports gas itself"


def _wait_for_asks(asks: socket.socket) -> dict[str, Any]:
    """Returns in each program alone, with what it is to be; the process itself ends here."""
    signal.signal(signal.SIGCHLD, _reap)
    while True:
        length, streams, _, _ = socket.recv_fds(asks, 8, 3)
        if not length:
            os._exit(0)
        text = b""
        while len(text) < int.from_bytes(length, "big"):
            text += asks.recv(int.from_bytes(length, "big") - len(text))
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            asks.close()
            _start_and_report(streams)
            return json.loads(text)  # type: ignore[no-any-return]
        for stream in streams:
            os.close(stream)


def _reap(*_: object) -> None:
    """Waits for every child that has ended, so that its time counts as that of this process."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _start_and_report(streams: Sequence[int]) -> None:
    """Forks once more: the program returns from here, its parent says its number and its exit code and ends."""
    pid = os.fork()
    if pid:
        os.write(streams[2], b"%d\n" % pid)
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(OSError):  # nobody may be listening any more
            os.write(streams[2], b"%d\n" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests are a job in the background
    for number, stream in enumerate(streams[:2], 1):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)


def _become(asked: Mapping[str, Any]) -> None:
    """Runs what is asked for as the main program of this process."""
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    sys.path[1:1] = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place not in sys.path]
    code: object = 0
    try:
        if asked["arguments"][0] == "-m":
            _, module, *rest = asked["arguments"]
            sys.argv, sys.path[0] = [module, *rest], asked["cwd"]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            file, *rest = sys.argv = asked["arguments"]
            sys.path[0] = str(Path(file).parent)
            runpy.run_path(file, run_name="__main__")
    except SystemExit as exit_:
        code = 0 if exit_.code is None else exit_.code
    if not isinstance(code, int):
        sys.exit(code)
    _end(code)


def _end(code: int) -> None:
    """Ends as an interpreter does, but does not take the libraries apart: that takes longer than most programs do."""
    import threading

    threading._shutdown()  # type: ignore[attr-defined]  # waits for its threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)


if __name__ == "__main__":
    _import_libraries()
    gc.freeze()  # a fork that looked for rubbish among them would copy them all
    _become(_wait_for_asks(socket.socket(fileno=int(sys.argv[1]))))
