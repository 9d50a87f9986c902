"""Photoshop's image resources, in which IPTC data stands (Adobe Photoshop file formats specification, 2019)."""

from __future__ import annotations

SIGNATURE = b"Photoshop 3.0\0"
IPTC = 0x0404
_THUMBNAILS = {0x0409, 0x040C}
_ELSEWHERE = {0x040F, 0x0422, 0x0423, 0x0424}
"""Colour profile, EXIF and XMP, which have segments of their own."""


def edited_resources(data: bytes) -> tuple[bytes, bool]:
    """The resources without thumbnails of the picture, and whether there were any. ValueError for broken ones."""
    out, had = [], False
    for number, block in resources(data):
        if number in _THUMBNAILS:
            had = True
        elif number not in _ELSEWHERE:
            out.append(block)
    return b"".join(out), had


def resources(data: bytes) -> list[tuple[int, bytes]]:
    """The number of each resource, and all of its bytes. ValueError for broken ones."""
    found, at = [], 0
    while data[at : at + 4] == b"8BIM":
        name = data[at + 6] + 1 if at + 6 < len(data) else 0
        start = at + 6 + name + name % 2
        length = int.from_bytes(data[start : start + 4], "big")
        end = start + 4 + length
        if len(data) < start + 4 or end > len(data):
            raise ValueError("a resource is cut off")
        end += length % 2
        found.append((int.from_bytes(data[at + 4 : at + 6], "big"), data[at:end]))
        at = end
    if data[at:].strip(b"\0"):
        raise ValueError("there is no resource where one should be")
    return found


def payload(block: bytes) -> bytes:
    """What a resource holds."""
    name = block[6] + 1
    start = 6 + name + name % 2
    return block[start + 4 : start + 4 + int.from_bytes(block[start : start + 4], "big")]
