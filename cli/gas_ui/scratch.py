"""The folder of a server's files: photographs, masks and results, for this user alone, and gone when the server is.

A server that was killed leaves its folder behind; the next one removes it. A lock that ends with its process says which
folder is in use.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from gas.locks import hold

PREFIX = "gas-ui-"
LOCK = "lock"


class Scratch:
    """A new folder in the system's folder for temporary files, readable by this user alone."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        hold(self._lock)
        remove_abandoned(self.folder.parent)

    def close(self) -> None:
        """Removes the folder with all that is in it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        shutil.rmtree(self.folder, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Removes the folders of servers that are gone. What is somebody else's, or no such folder, is left alone."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            descriptor = os.open(folder / LOCK, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        except OSError:
            continue
        try:
            free = hold(descriptor)
        except OSError:
            free = False
        os.close(descriptor)
        if free:
            shutil.rmtree(folder, ignore_errors=True)
