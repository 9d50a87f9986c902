"""Names that are reserved while a run is under way, and what runs that were killed have left behind.

A name is reserved by a locked file beside it, `.NAME.gas-lock`. The system ends the lock with the process, so a
reservation never outlives its run, and what nobody has locked is in nobody's use.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from gas import files, locks
from gas.files import OutputExists

_LOCK = ".gas-lock"
_OURS = re.compile(rf"\..+({re.escape(_LOCK)}|\.[0-9a-f]{{12}}{re.escape(files.TEMPORARY)})")
_DAY = 24 * 3600
_TRIES, _MOMENT = 10, 0.02


@contextlib.contextmanager
def reserved(path: Path) -> Iterator[None]:
    """Within it nobody else who asks in this way gets the name `path`, which need not exist.

    OutputExists (exit 2) where somebody else has it, in this process or another. Errors of the folder as
    `files.check_target` and `files.atomic`. On a file system without locks nothing is reserved.
    """
    path = files.real_path(path)
    lock = path.with_name(f".{path.name}{_LOCK}")
    with files.explained(path):
        descriptor = _take(lock)
    if descriptor is None:
        raise OutputExists(f"{path}: another run is writing it now", "choose another name, or wait until it has ended")
    try:
        yield
    finally:
        _remove(lock, descriptor)


def remove_abandoned(folder: Path) -> list[Path]:
    """The files that were removed from `folder`: temporary ones and reservations of processes that are gone.

    States to resume from are never among them, nor is anything that a running process uses. What cannot be removed
    stays, without an error.
    """
    removed = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries if _OURS.fullmatch(entry.name)]:
            path = folder / name
            with contextlib.suppress(OSError):
                if _abandoned(path):
                    removed.append(path)
    return removed


def _abandoned(path: Path) -> bool:
    """Whether nobody used the file, which is then removed."""
    if os.name == "nt":  # names are changed there only after the file was closed, so a young one may be in use
        if time.time() - path.stat().st_mtime < _DAY:
            return False
        path.unlink()
        return True
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        unused = locks.hold(descriptor) and locks.is_named(descriptor, path)
        if unused:
            path.unlink()
        return unused
    finally:
        os.close(descriptor)


def _take(lock: Path) -> int | None:
    """The descriptor that holds the lock file, made if need be; None where another one holds it."""
    for _ in range(_TRIES):
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            if locks.hold(descriptor):
                if locks.is_named(descriptor, lock):
                    return descriptor
            else:  # `remove_abandoned` holds every file that it meets for a moment
                time.sleep(_MOMENT)
        except OSError:
            return descriptor
        os.close(descriptor)
    return None


def _remove(lock: Path, descriptor: int) -> None:
    """Ends a reservation."""
    if os.name == "nt":  # an open file cannot be removed there
        os.close(descriptor)
    with contextlib.suppress(OSError):
        lock.unlink()
    if os.name != "nt":
        os.close(descriptor)
