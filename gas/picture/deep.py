"""Colours of more than 8 bits a channel, which Pillow decodes to 8.

Of a 16-bit PNG or TIFF its decoders hand on one byte of each number: which, says the name of the layout. So they are
asked twice. HEIF's decoder is asked for all bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image as Pictures

from gas.bands import bands

if TYPE_CHECKING:
    from collections.abc import Callable

MODE = "RGB;16"
"""The mode of native pixels `(H, W, 3)` uint16; 65535 is white, however many of the bits are used."""

_BITS = 258
_OTHER_BYTE = {
    **{f"{mode};16B": f"{mode};16L" for mode in ("RGB", "RGBA", "RGBX")},
    **{f"{mode};16L": f"{mode};16B" for mode in ("RGB", "RGBA", "RGBX")},
    # In the machine's order; big-endian machines read such a file to 8 bits.
    **{f"{mode};16N": f"{mode};16B" for mode in ("RGB", "RGBA", "RGBX")},
}


def bit_depth(picture: Pictures.Image) -> int:
    """Bits a channel of a coloured picture that is opened and not decoded yet; 8 for all others."""
    if picture.mode not in {"RGB", "RGBA", "RGBX", "CMYK", "LA"}:
        return 8
    if picture.format == "TIFF":
        bits = getattr(picture, "tag_v2", {}).get(_BITS, 8)
        return int(max(bits if isinstance(bits, tuple) else (bits,)))
    if picture.format in {"HEIF", "AVIF"}:
        return int(picture.info.get("bit_depth") or 8)
    return 16 if any(";16" in str(tile[-1]) for tile in getattr(picture, "tile", ())) else 8


def is_readable(picture: Pictures.Image) -> bool:
    """Whether all bits of a picture that is opened and not decoded yet can be read."""
    if bit_depth(picture) <= 8 or picture.info.get("transparency") is not None:
        return False
    if picture.format == "HEIF":
        return picture.mode in {"RGB", "RGBA"}
    tiles = list(getattr(picture, "tile", ()))
    return bool(tiles) and all(_layout(tile) in _OTHER_BYTE for tile in tiles)


def read(
    stream: BinaryIO, picture: Pictures.Image, again: Callable[[], AbstractContextManager[Pictures.Image]]
) -> tuple[np.ndarray, np.ndarray | None]:
    """All bits of a decoded picture of which they are readable, `(H, W, 3)` uint16, and 8 bits of its alpha.

    `again` opens the same file once more.
    """
    if picture.format == "HEIF":
        return _heif(stream)
    with again() as second:
        second.tile = [_with_layout(tile, _OTHER_BYTE[_layout(tile)]) for tile in second.tile]  # type: ignore[attr-defined]
        second.load()
        out = np.empty((picture.height, picture.width, 3), np.uint16)
        for rows, high, low in _pairs(picture, second):
            out[rows] = high[..., :3]
            out[rows] <<= 8
            out[rows] |= low[..., :3]
    alpha = np.asarray(picture.getchannel("A")) if picture.mode == "RGBA" else None
    return out, alpha


def _pairs(first: Pictures.Image, second: Pictures.Image) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    width, height = first.size
    for rows in bands(height, width):
        box = (0, rows.start, width, rows.stop)
        yield rows, np.asarray(first.crop(box)), np.asarray(second.crop(box))


def _heif(stream: BinaryIO) -> tuple[np.ndarray, np.ndarray | None]:
    import pillow_heif

    stream.seek(0)
    found = pillow_heif.open_heif(stream, convert_hdr_to_8bit=False)
    numbers, bits = np.asarray(found), int(found.info["bit_depth"])
    # They come as the upper bits of 16; repeated below, so that white is 65535.
    out = numbers[..., :3] | numbers[..., :3] >> bits
    return out, (numbers[..., 3] >> 8).astype(np.uint8) if numbers.shape[2] == 4 else None


def _layout(tile: tuple[object, ...]) -> str:
    arguments = tile[-1]
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _with_layout(tile: tuple[object, ...], layout: str) -> object:
    arguments = tile[-1]
    new = (layout, *arguments[1:]) if isinstance(arguments, tuple) else layout
    return tile._replace(args=new) if hasattr(tile, "_replace") else (*tile[:-1], new)
