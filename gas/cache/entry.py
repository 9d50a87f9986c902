"""One entry of the cache as bytes: a line with a checksum, then an npz file of arrays and a JSON text.

Nothing in it can run. An entry says its own kind and key, so one that was renamed or copied is not taken for another.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_HEAD = b"gas-cache 1 "
_HEAD_BYTES = len(_HEAD) + 64 + 1
_VALUES = "values.json"
_DTYPES = "biuf"
MAX_BYTES = 2**28
"""The most that an entry may unpack to: pictures of some thirty megapixels and more would cost memory that an edit has
promised not to take."""


@dataclass(frozen=True)
class Entry:
    """What is kept: plain JSON `values`, and `arrays` of numbers by name."""

    values: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


def packed(entry: Entry, kind: str, key: str) -> bytes:
    """The entry's bytes. ValueError or TypeError for what is neither JSON nor an array of numbers, or is too large."""
    if sum(array.nbytes for array in entry.arrays.values()) > MAX_BYTES:
        raise ValueError("it is larger than an entry may be")
    told = json.dumps({"kind": kind, "key": key, "values": dict(entry.values)}, allow_nan=False)
    stream = io.BytesIO()
    # Level 1: an edit of many megapixels must not wait for the last tenth of its size.
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(_VALUES, told)
        for name, array in entry.arrays.items():
            if array.dtype.kind not in _DTYPES:
                raise TypeError(f"{name} is an array of {array.dtype}")
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
    body = stream.getvalue()
    return _HEAD + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def unpacked(data: bytes, kind: str, key: str) -> Entry:
    """The entry in `data`. ValueError for one that is broken, cut off, of another format, or of another kind or key."""
    head, body = data[:_HEAD_BYTES], data[_HEAD_BYTES:]
    if head != _HEAD + hashlib.sha256(body).hexdigest().encode() + b"\n":
        raise ValueError("its checksum differs, or it is no entry")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
            raise ValueError("it unpacks to more than an entry may")
        told = json.loads(archive.read(_VALUES))
        if (told["kind"], told["key"]) != (kind, key):
            raise ValueError("it is another entry")
        arrays = {}
        for name in archive.namelist():
            if name != _VALUES:
                with archive.open(name) as member:
                    arrays[name.removesuffix(".npy")] = np.lib.format.read_array(member, allow_pickle=False)
    return Entry(told["values"], arrays)
