"""Where a batch reads and writes: files of this machine, or objects behind an address that fsspec knows.

What a manifest names stays inside its folder, and what is written inside the output folder, links included.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gas import files
from gas.errors import InputRefused, ServiceUnavailable, UsageError
from gas.remedies import Remedy, Setting, install
from gas.validation import shown

_URL = re.compile(r"[a-z][a-z0-9+.-]{1,20}://", re.IGNORECASE)
_ALLOW = Remedy("allow_outside", "to allow that: {flag}", flag=Setting("allow_outside", True))
OWN_NAMES = {"ledger", "report", "index.html"}
"""What the output folder has of the batch's own; no picture is written there."""


def is_url(place: str) -> bool:
    """Whether `place` is an address (`s3://…`) and no path."""
    return _URL.match(place) is not None


def inside(root: str, name: str, *, anywhere: bool = False) -> str:
    """The absolute place of `name`, which a manifest in the folder `root` names.

    InputRefused (exit 3) for one that is outside of `root`, by its name or behind a link, unless it may be `anywhere`.
    """
    if "\0" in name:
        raise InputRefused(f"{shown(name)} is not a file name", "check the name")
    if is_url(name) or is_url(root):
        place = name if is_url(name) else f"{root.rstrip('/')}/{posixpath.normpath(name)}"
        within = place.startswith(f"{root.rstrip('/')}/") and ".." not in place.split("/")
    else:
        place = os.path.join(root, name)
        real, folder = os.path.realpath(place), os.path.realpath(root)
        within = real == folder or real.startswith(folder.rstrip(os.sep) + os.sep)
    if not (within or anywhere):
        raise InputRefused(f"{shown(name)} is outside the manifest's folder", _ALLOW)
    return place


def check_out(name: str, folder: Path) -> str:
    """The output's name within the output `folder`, with `/`. InputRefused (exit 3) for one that would be elsewhere, or
    that the batch needs for itself."""
    from gas.picture.containers import output_format

    parts = PurePosixPath(name).parts
    if is_url(name) or "\\" in name or ":" in name or not parts or parts[0] == "/" or ".." in parts:
        raise InputRefused(f"out {shown(name)} is not inside the output folder", "give a relative name")
    if parts[0].casefold() in OWN_NAMES:
        raise InputRefused(f"out {shown(name)}: {parts[0]} is reserved for the batch", "choose another name")
    try:
        for part in parts:
            files.check_output_name(Path(part))
        output_format(Path(parts[-1]))
    except UsageError as error:
        raise InputRefused(error.message, error.hint) from None
    try:
        inside(str(folder), "/".join(parts))
    except InputRefused:
        raise InputRefused(f"out {shown(name)}: a link leads out of the output folder", "choose another name") from None
    return "/".join(parts)


@dataclass(frozen=True)
class Seen:
    """What tells quickly whether a file is the same as before, and the SHA-256 of its bytes. Of an object behind an
    address `sha256` is that of what its service says of it (size, entity tag)."""

    size: int
    time: int
    sha256: str


def look(place: str) -> tuple[int, int] | None:
    """Size in bytes and time of the last change in nanoseconds; None for what is not there, or behind an address."""
    if is_url(place):
        return None
    try:
        found = os.stat(place)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


def seen(place: str) -> Seen:
    """The file or object at `place`, looked at and hashed. InputRefused (exit 3) where it cannot be read;
    ServiceUnavailable (exit 8) for a service that does not answer."""
    if is_url(place):
        system, path = _system(place)
        with _explained(place):
            said = system.info(path)
            token = f"{system.ukey(path)} {said.get('size')} {said.get('ETag') or said.get('etag') or ''}"
        return Seen(int(said.get("size") or 0), 0, hashlib.sha256(token.encode()).hexdigest())
    with files.open_regular(Path(place)) as stream:
        found = os.fstat(stream.fileno())
        return Seen(found.st_size, found.st_mtime_ns, files.sha256(stream))


@contextlib.contextmanager
def local(place: str) -> Iterator[Path]:
    """Gives the path of the file at `place`; of an object that of a copy, which is removed afterwards."""
    if not is_url(place):
        yield Path(place)
        return
    system, path = _system(place)
    with tempfile.TemporaryDirectory(prefix="gas-batch-") as folder:
        copy = Path(folder) / (files.slug(Path(path).stem, empty="picture") + Path(path).suffix.lower()[:10])
        with _explained(place):
            system.get_file(path, str(copy))
        yield copy


def put(path: Path, place: str) -> None:
    """Writes the file `path` to the object behind the address `place`. Errors as `seen`."""
    system, target = _system(place)
    with _explained(place):
        system.makedirs(posixpath.dirname(target), exist_ok=True)
        system.put_file(str(path), target)


def _system(place: str) -> tuple[Any, str]:
    """fsspec's file system for an address, and the path in it."""
    from gas.errors import ModelUnavailable

    try:
        from fsspec.core import url_to_fs

        found: tuple[Any, str] = url_to_fs(place)
        return found
    except ImportError as error:
        raise ModelUnavailable(
            f"{shown(place)} needs a package that is missing: {error}", install("gas-edit[batch]")
        ) from None
    except ValueError as error:
        raise UsageError(f"{shown(place)} cannot be used: {error}", "give a path, or an address fsspec knows") from None


@contextlib.contextmanager
def _explained(place: str) -> Iterator[None]:
    """Within it what a service says against reading or writing `place` becomes the error that it means."""
    try:
        yield
    except FileNotFoundError:
        raise InputRefused(f"{shown(place)}: there is no such object", "check the address") from None
    except (OSError, TimeoutError) as error:
        raise ServiceUnavailable(f"{shown(place)}: {error}", "check the network and your login") from None
