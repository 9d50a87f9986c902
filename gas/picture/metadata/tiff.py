"""Tags of a TIFF file in the very bytes of the file (TIFF 6.0, section 2; BigTIFF)."""

from __future__ import annotations

import struct
from typing import BinaryIO

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
MOST = 2**24
"""Bytes of a tag that are read."""


def tag_bytes(stream: BinaryIO, tag: int) -> bytes:
    """What a tag of the first directory holds; nothing where it is missing, broken or longer than 16 MB.

    Numbers are not turned into the machine's order: IPTC data is often said to be made of 32-bit numbers.
    """
    try:
        return _tag_bytes(stream, tag)
    except struct.error:
        return b""


def _tag_bytes(stream: BinaryIO, tag: int) -> bytes:
    stream.seek(0)
    order = {b"II": "<", b"MM": ">"}.get(stream.read(2))
    if order is None:
        return b""

    def number(kind: str) -> int:
        value: int = struct.unpack(order + kind, stream.read(struct.calcsize(order + kind)))[0]
        return value

    big = number("H") == 43
    if big:
        stream.seek(8)
    offset, width = ("Q", 8) if big else ("I", 4)
    stream.seek(number(offset))
    for _ in range(number("Q" if big else "H")):
        found, kind, count = number("H"), number("H"), number(offset)
        value = stream.read(width)
        if found == tag:
            length = _SIZES.get(kind, 1) * count
            if length > width:
                stream.seek(struct.unpack(order + offset, value)[0])
                value = stream.read(length) if length <= MOST else b""
            return value[:length]
    return b""
