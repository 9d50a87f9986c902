"""The cache's folder: entries by kind and key, no larger than a limit, what was not used for longest removed first.

Two processes may use one folder, and either may be killed at any moment: an entry is written beside its name and
renamed, and whatever cannot be read is a miss. Nothing here ever fails an edit.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gas import files, notes
from gas.cache.entry import MAX_BYTES, Entry, packed, unpacked
from gas.errors import GasError, UsageError
from gas.reserve import remove_abandoned

SUFFIX = ".gas-entry"
KINDS: Mapping[str, str] = {
    "plans": "answers of planners",
    "regions": "what grounders found",
    "edits": "what editors made of a picture, whole or one change of it",
    "sizes": "at which size an editor works",
    "seen": "which pictures were edited, to say why one is edited anew",
}
"""The kinds of entries, and what they hold."""
_KEY = re.compile(r"[0-9a-f]{64}")
_OTHER_FOLDER = "look at it, or name another folder in GAS_CACHE_FOLDER"


class Kept(NamedTuple):
    """An entry's file: its kind, its size in bytes, and when it was last used (seconds since 1970)."""

    path: Path
    kind: str
    bytes: int
    used: float


@dataclass
class Store:
    """The entries in `folder`, which belongs to its user alone (0700), `limit` bytes of them at most."""

    folder: Path
    limit: int
    _closed: bool = False
    _swept: bool = False

    def get(self, kind: str, key: str) -> Entry | None:
        """The entry; None where there is none, or it cannot be used, which removes it."""
        path = self._path(kind, key)
        if not self._is_private():
            return None
        try:
            data = _read(path)
        except (OSError, ValueError):
            return None
        try:
            entry = unpacked(data, kind, key)
        except Exception:  # noqa: BLE001 - whatever is wrong with an entry, it is a miss
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)
        return entry

    def put(self, kind: str, key: str, entry: Entry) -> None:
        """Keeps the entry, and removes what was not used for longest where all are more than the limit. One that
        cannot be written is not kept; a warning says so once, and the store keeps nothing more."""
        path = self._path(kind, key)
        if self._closed:
            return
        try:
            data = packed(entry, kind, key)
        except (ValueError, TypeError):  # no plain values: an answer that its reader will refuse
            return
        if len(data) > self.limit:
            return
        try:
            self._open(path.parent)
            files.write_bytes(path, data, overwrite=True)
        except (GasError, OSError, ValueError) as error:
            self._closed = True
            words = error.message if isinstance(error, GasError) else str(error)
            notes.warn(f"nothing more is kept in the cache: {words[:300]}", stacklevel=3)
            return
        self._shrink(path)

    def entries(self) -> list[Kept]:
        """All entries, whole or broken, as far as they can be seen."""
        found: list[Kept] = []
        for kind in KINDS:
            with suppress(OSError):
                found += self._of_kind(kind)
        return found

    def listed(self) -> list[Kept]:
        """All entries, whole or broken; none where there is no folder yet. UsageError (exit 2) for a folder that cannot
        be listed, or that is not used: no folder, a link to one, or somebody else's."""
        try:
            if os.name == "posix" and not _is_own(self.folder):
                raise UsageError(f"{self.folder} is not used: it is no folder of your own", _OTHER_FOLDER)
            with os.scandir(self.folder):
                pass
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(error) from None
        found: list[Kept] = []
        for kind in KINDS:
            try:
                found += self._of_kind(kind)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _unreadable(error) from None
        return found

    def _of_kind(self, kind: str) -> Iterator[Kept]:
        with os.scandir(self.folder / kind) as there:
            for one in there:
                with suppress(OSError):
                    if one.name.endswith(SUFFIX) and one.is_file(follow_symlinks=False):
                        told = one.stat(follow_symlinks=False)
                        yield Kept(Path(one.path), kind, told.st_size, told.st_mtime)

    def clear(self, kind: str | None = None) -> list[Kept]:
        """The entries that were removed: all of a kind (None: of every kind), and what killed processes left."""
        removed = []
        for one in self.entries():
            if kind in {None, one.kind}:
                with suppress(OSError):
                    one.path.unlink()
                    removed.append(one)
        self._sweep()
        return removed

    def _path(self, kind: str, key: str) -> Path:
        if kind not in KINDS or not _KEY.fullmatch(key):
            raise ValueError(f"no kind and key of entries: {kind!r}, {key!r}")
        return self.folder / kind / f"{key}{SUFFIX}"

    def _open(self, folder: Path) -> None:
        """Makes the folders. ValueError for one that others could read or write, and that cannot be closed to them."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.name == "posix" and _is_own(self.folder):
            mode = stat.S_IMODE(self.folder.lstat().st_mode)
            if mode != 0o700:
                os.chmod(self.folder, 0o700)
            if mode & 0o022:  # others may have put something there
                self.clear()
        if not self._is_private():
            raise ValueError(f"{self.folder} does not belong to you alone")
        folder.mkdir(exist_ok=True, mode=0o700)
        if not self._swept:
            self._swept = True
            self._sweep()

    def _is_private(self) -> bool:
        """Whether nobody else can put entries there, or look at pictures in them."""
        if os.name != "posix":
            return self.folder.is_dir()
        with suppress(OSError):
            return _is_own(self.folder) and not stat.S_IMODE(self.folder.lstat().st_mode) & 0o077
        return False

    def _sweep(self) -> None:
        for kind in KINDS:
            remove_abandoned(self.folder / kind)

    def _shrink(self, newest: Path) -> None:
        there = self.entries()
        total = sum(one.bytes for one in there)
        for one in sorted(there, key=lambda one: one.used):
            if total <= self.limit:
                return
            if one.path != newest:
                with suppress(OSError):
                    one.path.unlink()
                total -= one.bytes


def _unreadable(error: OSError) -> UsageError:
    return UsageError(f"the cache cannot be listed: {error.filename}: {error.strerror}", _OTHER_FOLDER)


def _is_own(folder: Path) -> bool:
    """Whether it is a folder, and no link to one, of this user."""
    told = folder.lstat()
    return stat.S_ISDIR(told.st_mode) and told.st_uid == os.getuid()


def _read(path: Path) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as stream:
        told = os.fstat(stream.fileno())
        if not stat.S_ISREG(told.st_mode) or told.st_size > MAX_BYTES:
            raise ValueError("no entry")
        return stream.read()


def by_kind(entries: list[Kept]) -> Iterator[tuple[str, int, int, float, float]]:
    """For each kind that has entries: its name, how many, their bytes, and the seconds since the last and the first of
    them was used."""
    now = time.time()
    for kind in KINDS:
        own = [one for one in entries if one.kind == kind]
        if own:
            ages = [max(now - one.used, 0.0) for one in own]
            yield kind, len(own), sum(one.bytes for one in own), min(ages), max(ages)
