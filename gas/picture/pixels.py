"""The pixels of a decoded picture as its file has them, a band of rows at a time.

How each of Pillow's modes comes out: RGB, L, CMYK, LAB, YCbCr, I and F as they are; 16-bit grey of any byte order as
I;16; a palette as the colours that it displays; 1 as L; premultiplied alpha as straight alpha. Alpha, or a colour that
stands for transparency, is kept apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image as Pictures

from gas.bands import bands
from gas.errors import InputRefused
from gas.picture import deep

CHANNELS = {"RGB": (3,), "CMYK": (4,), "LAB": (3,), "YCbCr": (3,), deep.MODE: (3,)}
"""The last dimensions of native pixels; other modes have none."""


@dataclass(frozen=True, eq=False)
class Stored:
    """Decoded pixels in the order of the file, not yet upright: `bands` gives them in `mode`, `alpha` is `(H, W)` uint8
    or None. `deep` are the pixels of mode `gas.picture.deep.MODE`, of which `picture` has 8 bits."""

    mode: str
    alpha: np.ndarray | None
    picture: Pictures.Image
    deep: np.ndarray | None = None

    def bands(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows and their pixels `(rows, W)` or `(rows, W, C)`, from the top."""
        if self.deep is not None:
            yield from ((rows, self.deep[rows]) for rows in bands(*self.deep.shape[:2]))
            return
        # In small bands: a conversion as a whole needs three times the memory, and Pillow holds what is cropped against
        # its limit on pixels, which belongs to the process.
        width, height = self.picture.size
        channels = CHANNELS.get(self.mode, ())
        for rows in bands(height, width):
            part = np.asarray(self.picture.crop((0, rows.start, width, rows.stop)))
            if self.picture.mode in {"RGBA", "LA"}:
                part = part[..., :-1].reshape(*part.shape[:2], *channels)
            yield rows, part.astype(np.uint16) if self.mode == "I;16" else part

    def array(self) -> np.ndarray:
        """All pixels, `(H, W)` or `(H, W, C)`."""
        if self.deep is not None:
            return self.deep
        width, height = self.picture.size
        out: np.ndarray | None = None
        for rows, part in self.bands():
            if out is None:
                out = np.empty((height, width, *part.shape[2:]), part.dtype.newbyteorder("="))
            out[rows] = part
        assert out is not None  # a picture has at least one row
        return out


def stored_deep(
    stream: BinaryIO, picture: Pictures.Image, again: Callable[[], AbstractContextManager[Pictures.Image]]
) -> Stored:
    """The pixels of a loaded picture of which all bits are readable (`gas.picture.deep`)."""
    pixels, alpha = deep.read(stream, picture, again)
    return Stored(deep.MODE, None if alpha is None or alpha.min() == 255 else alpha, picture, pixels)


def stored(picture: Pictures.Image) -> Stored:
    """The pixels of a loaded picture. InputRefused (exit 3) for a mode that cannot be read."""
    transparent = picture.info.get("transparency")
    picture = _plain(picture)
    mode, alpha = picture.mode, None
    if mode in {"RGBA", "LA"}:
        alpha = np.asarray(picture.getchannel("A"))
        mode = mode[:-1]
    if mode.startswith("I;16"):
        mode = "I;16"
        if isinstance(transparent, int):
            alpha = np.where(np.asarray(picture) == transparent, 0, 255).astype(np.uint8)
    if alpha is not None and alpha.min() == 255:
        alpha = None
    return Stored(mode, alpha, picture)


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """The array turned by an EXIF orientation 1..8 (EXIF 2.32, tag 0x0112)."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    # After the swap: 5 is done, 6 is mirrored in x, 7 in both, 8 in y.
    if orientation in {2, 3, 6, 7}:
        array = array[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        array = array[::-1]
    return np.ascontiguousarray(array)


def as_stored(array: np.ndarray, orientation: int) -> np.ndarray:
    """A view of an upright array as it is stored under an EXIF orientation: the way back of `upright`."""
    if orientation in {3, 4, 7, 8}:
        array = array[::-1]
    if orientation in {2, 3, 6, 7}:
        array = array[:, ::-1]
    return array.swapaxes(0, 1) if orientation >= 5 else array


def _plain(picture: Pictures.Image) -> Pictures.Image:
    """The picture without palette, bits and premultiplied alpha; a transparent colour becomes an alpha channel."""
    transparent = "transparency" in picture.info
    if picture.mode in {"P", "PA"}:
        return picture.convert("RGBA" if transparent or picture.mode == "PA" else "RGB")
    if picture.mode in {"L", "RGB"} and not transparent:
        return picture  # convert would copy it, and it may be large
    if picture.mode in {"1", "L"}:
        return picture.convert("LA" if transparent else "L")
    if picture.mode in {"RGB", "RGBX"}:
        return picture.convert("RGBA" if transparent else "RGB")
    if picture.mode in {"RGBa", "La"}:
        return picture.convert(picture.mode.upper())
    if picture.mode in {"RGBA", "LA", "CMYK", "LAB", "YCbCr", "I", "F"} or picture.mode.startswith("I;16"):
        return picture
    raise InputRefused(f"pictures of mode {picture.mode} cannot be read", "save it as 8-bit RGB")
