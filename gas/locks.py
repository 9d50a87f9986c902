"""Locks on open files, which end with the process that holds them, however it ends."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path


def hold(descriptor: int) -> bool:
    """Whether the open file is now locked by this descriptor; False: somebody else holds it, in this process or not.

    The lock ends when every copy of the descriptor is closed. OSError where the file system knows no locks.
    """
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_named(descriptor: int, path: Path) -> bool:
    """Whether the open file still is the one under this name.

    Whoever removes a file holds its lock. So one that was opened before and locked after that has no name any more.
    """
    try:
        there = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISREG(there.st_mode) and os.path.samestat(there, os.fstat(descriptor))
