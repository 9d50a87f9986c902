"""Marks of third parties' backends at work, so that one that ends the process without a word is named afterwards.

A mark is a locked file. The system ends the lock with the process: a mark that nobody holds is of a run that never came
back from its backend.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gas import locks
from gas.backends.roles import find_role
from gas.notes import plain

if TYPE_CHECKING:
    from gas.backends.registry import Registered

_SUFFIX = ".at-work"
_MAX_BYTES = 4096


@contextlib.contextmanager
def marked(folder: Path | None, entry: Registered) -> Iterator[None]:
    """Within it the backend `entry` is marked in `folder` as being at work (None, or where nothing can be written:
    nowhere)."""
    path, descriptor = _mark(folder, entry) if folder is not None else (None, None)
    try:
        yield
    finally:
        if path is not None and descriptor is not None:
            with contextlib.suppress(OSError):
                path.unlink()
            with contextlib.suppress(OSError):  # a backend may have closed what is not its own
                os.close(descriptor)


def unfinished(folder: Path) -> list[str]:
    """A sentence for each run that ended within a backend; the marks are removed, so each is said once."""
    said = []
    with contextlib.suppress(OSError):
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
                try:
                    if locks.hold(descriptor) and locks.is_named(descriptor, path):
                        said.append(_sentence(os.read(descriptor, _MAX_BYTES)))
                        path.unlink()
                finally:
                    os.close(descriptor)
    return said


def _mark(folder: Path, entry: Registered) -> tuple[Path | None, int | None]:
    plugin = entry.plugin
    told = {"role": find_role(entry.role).name, "name": entry.spec.name, "from": plugin.distribution}
    path = folder / f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        locks.hold(descriptor)
        os.write(descriptor, json.dumps({**told, "version": plugin.version}).encode()[:_MAX_BYTES])
    except OSError:
        return None, None
    return path, descriptor


def _sentence(content: bytes) -> str:
    try:
        told = json.loads(content)
        who = f"{told['role']} {told['name']!r} of {told['from']} {told['version']}".rstrip()
    except (ValueError, KeyError, TypeError):
        who = "a plugin's backend"
    return plain(
        f"a run before this one ended without a word while {who} was at work: that backend ended the process, or "
        "something killed it"
    )
