"""Reserved names, and what killed runs have left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gas import files, locks
from gas.errors import UsageError
from gas.files import OutputExists
from gas.reserve import remove_abandoned, reserved

HOLDS = """
import sys, time
from pathlib import Path
from gas import files
from gas.reserve import reserved
with reserved(Path(sys.argv[1])), files.atomic(Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    print("ready", flush=True)
    time.sleep(60)
"""


def holder(path: Path) -> subprocess.Popen[bytes]:
    """A process that has reserved `path` and is writing it."""
    child = subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    return child


def kill(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert child.stdout is not None
    child.stdout.close()


def test_a_reserved_name_is_refused_to_others_and_free_again_afterwards(tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    with reserved(out):
        for again in (out, tmp_path / "." / "out.png"):
            with pytest.raises(OutputExists, match="another run is writing it") as refused, reserved(again):
                raise AssertionError("it was given twice")
            assert refused.value.exit_code == 2
        with reserved(tmp_path / "other.png"):
            pass
    with reserved(out):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_a_reserved_name_is_reserved_too(tmp_path: Path) -> None:
    (tmp_path / "out.png").write_bytes(b"")
    (tmp_path / "link.png").symlink_to("out.png")
    with reserved(tmp_path / "out.png"), pytest.raises(OutputExists), reserved(tmp_path / "link.png"):
        raise AssertionError("it was given twice")


def test_a_reservation_ends_with_its_process_and_what_that_has_left_is_removed(tmp_path: Path) -> None:
    out, state = tmp_path / "out.png", tmp_path / "out.png.gas-state"
    state.write_bytes(b"to resume from")
    child = holder(out)
    try:
        with pytest.raises(OutputExists), reserved(out):
            raise AssertionError("another process has it")
        assert remove_abandoned(tmp_path) == [], "what is in use stays"
        left = {path.name for path in tmp_path.iterdir()} - {state.name}
        assert len(left) == 2
    finally:
        kill(child)
    assert {path.name for path in remove_abandoned(tmp_path)} == left
    assert list(tmp_path.iterdir()) == [state], "a state is never removed"
    with reserved(out):
        pass


def test_only_files_of_ours_are_removed(tmp_path: Path) -> None:
    names = ["a.gas-tmp", ".a.gas-tmp", ".a.0123456789ab.tmp", ".b.gas-lock.txt", "out.png.gas-state", ".hidden"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".d.0123456789ab.gas-tmp").mkdir()
    (tmp_path / ".e.0123456789ab.gas-tmp").symlink_to("a.gas-tmp")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert remove_abandoned(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert remove_abandoned(tmp_path / "nowhere") == []


def test_a_file_that_was_removed_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making a file and locking it another process may take it for abandoned."""
    hold, stolen = locks.hold, []

    def meanwhile(descriptor: int) -> bool:
        if not stolen:
            stolen.extend(path for path in tmp_path.iterdir())
            for path in stolen:
                path.unlink()
        return hold(descriptor)

    monkeypatch.setattr(locks, "hold", meanwhile)
    files.write_bytes(tmp_path / "a.bin", b"whole")
    assert stolen and (tmp_path / "a.bin").read_bytes() == b"whole"
    stolen.clear()
    with reserved(tmp_path / "b.bin"):
        assert stolen and (tmp_path / ".b.bin.gas-lock").exists()


def test_a_lock_that_is_held_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / ".a.bin.gas-lock"
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT)
    assert locks.hold(descriptor)
    timer = threading.Timer(0.05, os.close, [descriptor])
    timer.start()
    with reserved(tmp_path / "a.bin"):
        pass
    timer.join()


def test_without_locks_nothing_is_reserved_and_everything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(descriptor: int) -> bool:
        raise OSError(95, "no locks here")

    monkeypatch.setattr(locks, "hold", none)
    with reserved(tmp_path / "a.bin"), reserved(tmp_path / "a.bin"):
        files.write_bytes(tmp_path / "a.bin", b"abc")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"), reserved(tmp_path / "nowhere" / "a.bin"):
        raise AssertionError("there is no such folder")
