"""Files of 16 bits a channel, which Pillow cannot write in colour: PNG (W3C, third edition), TIFF 6.0 and HEIF."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np
from PIL import Image as Pictures

from gas.bands import bands

_LEVEL = 3
_WIDTH, _BITS, _PHOTOMETRIC, _SAMPLES, _EXTRA = 256, 258, 262, 277, 338
_RGB, _STRAIGHT_ALPHA = 2, 2


def with_alpha(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """`(H, W, 3)` uint16 with an alpha `(H, W)` uint8 as a fourth channel, spread over all 16 bits."""
    if alpha is None:
        return pixels
    return np.concatenate([pixels, alpha[..., None].astype(np.uint16) * 257], axis=2)


def write_png(
    stream: BinaryIO,
    pixels: np.ndarray,
    chunks: Iterable[tuple[bytes, bytes]],
    *,
    icc: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    exif: bytes = b"",
) -> None:
    """A PNG file of `(H, W, 3 or 4)` uint16, with these chunks before its pixels."""
    height, width, channels = pixels.shape
    stream.write(b"\x89PNG\r\n\x1a\n")
    _chunk(stream, b"IHDR", struct.pack(">2I5B", width, height, 16, 6 if channels == 4 else 2, 0, 0, 0))
    if icc:
        _chunk(stream, b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))
    for kind, data in chunks:
        _chunk(stream, kind, data)
    if dpi:
        _chunk(stream, b"pHYs", struct.pack(">2IB", *(round(one / 0.0254) for one in dpi), 1))
    if exif:
        _chunk(stream, b"eXIf", exif)
    engine = zlib.compressobj(_LEVEL)
    before = np.zeros((1, width * channels * 2), np.uint8)
    for rows in bands(height, width):
        part = pixels[rows].astype(">u2").reshape(rows.stop - rows.start, -1).view(np.uint8)
        lines = np.empty((part.shape[0], part.shape[1] + 1), np.uint8)
        lines[:, 0] = 2  # each line is the difference to the one above
        np.subtract(part, np.concatenate([before, part[:-1]]), out=lines[:, 1:])
        before = part[-1:]
        if data := engine.compress(lines.data):
            _chunk(stream, b"IDAT", data)
    _chunk(stream, b"IDAT", engine.flush())
    _chunk(stream, b"IEND", b"")


def write_tiff(stream: BinaryIO, pixels: np.ndarray, options: Mapping[str, Any]) -> None:
    """A TIFF file of `(H, W, 3 or 4)` uint16, with Pillow's options.

    Pillow writes it as grey, three or four times as wide, which has the same bytes; its directory is then replaced.
    """
    height, width, channels = pixels.shape
    wide = Pictures.fromarray(np.ascontiguousarray(pixels).reshape(height, width * channels))
    made = io.BytesIO()
    wide.save(made, "TIFF", **options)
    data = bytearray(made.getbuffer())
    del made
    order = {b"II": "<", b"MM": ">"}[bytes(data[:2])]
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    entries = {}
    for place in range(at + 2, at + 2 + 12 * count, 12):
        entries[struct.unpack_from(order + "H", data, place)[0]] = bytes(data[place : place + 12])
    follows = data[at + 2 + 12 * count : at + 6 + 12 * count]
    data += bytes(len(data) % 2)
    new = [
        (_WIDTH, 4, 1, width),
        (_BITS, 3, channels, len(data)),
        (_SAMPLES, 3, 1, channels),
        (_PHOTOMETRIC, 3, 1, _RGB),
    ]
    new += [(_EXTRA, 3, 1, _STRAIGHT_ALPHA)] if channels == 4 else []
    for tag, kind, number, value in new:
        # A single number of 16 bits stands in the first half of its four bytes.
        layout = order + ("2HIHH" if kind == 3 and number == 1 else "2HII")
        entries[tag] = struct.pack(layout, tag, kind, number, value, *[0] * layout.endswith("HH"))
    data += struct.pack(f"{order}{channels}H", *[16] * channels)
    struct.pack_into(order + "I", data, 4, len(data))
    data += struct.pack(order + "H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + follows
    stream.write(data)


def write_heif(stream: BinaryIO, pixels: np.ndarray, options: Mapping[str, Any]) -> None:
    """A HEIF file with the upper 10 bits of `(H, W, 3 or 4)` uint16."""
    import pillow_heif

    height, width, channels = pixels.shape
    data = np.ascontiguousarray(pixels).tobytes()
    pillow_heif.encode("RGBA;16" if channels == 4 else "RGB;16", (width, height), data, stream, **options)


def _chunk(stream: BinaryIO, kind: bytes, data: bytes) -> None:
    stream.write(struct.pack(">I", len(data)) + kind)
    stream.write(data)
    stream.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
