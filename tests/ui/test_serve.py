"""The server as a process: its address, its end, and what it leaves behind."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import figures
import pytest

from gas.errors import UsageError
from gas_ui import scratch
from gas_ui.guard import Door
from gas_ui.picture import Picture
from gas_ui.scratch import Scratch, remove_abandoned
from gas_ui.serve import _listening, address_of


def test_it_says_its_address_and_removes_everything_when_it_is_ended(tmp_path: Path) -> None:
    env = {**os.environ, "GAS_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path), "GAS_PLUGINS": "none"}
    process = subprocess.Popen(
        [sys.executable, "-m", "gas_cli", "ui", "--no-browser"], env=env, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    address = process.stderr.readline().split()[-1]
    assert address.startswith("http://127.0.0.1:") and "token=" in address
    page = urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(address, timeout=60).read().decode()
    assert "<title>gas</title>" in page
    assert list(tmp_path.glob("gas-ui-*"))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0 and not list(tmp_path.glob("gas-ui-*"))


def test_it_is_ready_soon_and_loads_no_torch_for_that() -> None:
    seconds, torch = figures.start()
    assert not torch
    assert seconds < 15  # 0.6 s on an idle machine; this one may be busy


def test_a_large_photograph_is_read_and_made_small_soon(tmp_path: Path) -> None:
    (tmp_path / "large.jpg").write_bytes(figures.photograph())
    began = time.process_time()
    picture = Picture(tmp_path / "large.jpg", 1)
    assert time.process_time() - began < 3
    assert picture.size == (4000, 3000) and len(picture.view) < 2e6


def test_a_killed_servers_files_are_removed_and_a_living_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    living, killed = Scratch(), Scratch()
    (killed.folder / "photo.png").write_bytes(b"x")
    (tmp_path / "gas-ui-other").mkdir()  # no lock in it: not ours
    os.close(killed._lock)
    remove_abandoned(tmp_path)
    assert living.folder.exists() and not killed.folder.exists() and (tmp_path / "gas-ui-other").exists()
    assert living.folder.stat().st_mode & 0o077 == 0
    living.close()
    assert not living.folder.exists() and scratch.PREFIX == "gas-ui-"


def test_a_port_that_is_taken_is_said_and_the_default_goes_on_to_the_next() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port}"):
            _listening("127.0.0.1", port)
    with _listening("127.0.0.1", None) as first, _listening("127.0.0.1", None) as second:
        assert first.getsockname()[1] != second.getsockname()[1]
    with pytest.raises(UsageError, match="cannot listen on 203"):
        _listening("203.0.113.7", None)


def test_the_address_is_one_that_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door("127.0.0.1", 8000)
    assert address_of(door, with_token=True) == f"http://127.0.0.1:8000/?token={door.secret}"
    assert address_of(door, with_token=False) == "http://127.0.0.1:8000/"
    assert address_of(Door("::1", 80), with_token=False) == "http://[::1]:80/"
    monkeypatch.setattr(socket, "gethostname", lambda: "studio")
    assert address_of(Door("0.0.0.0", 80), with_token=False) == "http://studio:80/"


@pytest.mark.parametrize(
    ("set_to", "piped", "words"),
    [("short", "", "5 characters"), (None, "", "no password is given"), (None, "tiny\n", "4 characters")],
)
def test_a_missing_or_short_password_is_refused(
    monkeypatch: pytest.MonkeyPatch, set_to: str | None, piped: str, words: str
) -> None:
    from gas_cli.ui import ui

    monkeypatch.delenv("GAS_UI_PASSWORD", raising=False)
    if set_to is not None:
        monkeypatch.setenv("GAS_UI_PASSWORD", set_to)
    monkeypatch.setattr(sys, "stdin", io.StringIO(piped))
    with pytest.raises(UsageError, match=words):
        ui(port=None, host="127.0.0.1", auth=True, browser=False)
