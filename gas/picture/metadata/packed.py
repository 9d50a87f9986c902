"""A record as it stands in a picture's metadata: compressed, in base64."""

from __future__ import annotations

import base64
import binascii
import re
import zlib

MAX_RECORD = 64 * 2**20


def pack(text: str) -> str:
    """A text compressed and in base64, as it stands in a picture."""
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unpack(packed: str) -> str:
    """The text that `pack` packed. ValueError when it is broken or longer than 64 MB."""
    engine = zlib.decompressobj()
    try:
        data = engine.decompress(base64.b64decode(packed, validate=True), MAX_RECORD)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(str(error)) from None
    if engine.unconsumed_tail or not engine.eof:
        raise ValueError("too long or cut off")
    return data.decode()


def packed_in_xmp(packet: bytes | str) -> str | None:
    """The packed record in an XMP packet, None when there is none."""
    text = packet.decode("utf-8", "replace") if isinstance(packet, bytes) else packet
    match = re.search(r'\bgas:record="([A-Za-z0-9+/=]+)"', text)
    return match.group(1) if match else None
