"""The DCT coefficients of a JPEG file, read and written by libjpeg-turbo through the package pyjpegio."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gas.picture.jpeg.blocks import Colour
from gas.process import native_messages_hidden

_COLOURS: dict[int, Colour] = {1: "grey", 2: "RGB", 3: "YCbCr"}  # J_COLOR_SPACE of libjpeg


class NotExact(Exception):
    """Why the coefficients of a file cannot be kept, in a few words."""


class Coefficients:
    """The coefficients of a file: an array `(8·rows, 8·columns)` int32 for each component, which may be changed."""

    def __init__(self, file: Any, folder: Path) -> None:
        self._file, self._folder = file, folder
        self.arrays: list[np.ndarray] = file.coef_arrays

    @property
    def colour(self) -> Colour:
        """What the components are. NotExact for other colours than grey, RGB and YCbCr."""
        try:
            return _COLOURS[self._file.jpeg_color_space]
        except KeyError:
            raise NotExact("its colours are neither grey, RGB nor YCbCr") from None

    def encoded(self) -> bytes:
        """A JPEG file with these coefficients, without application segments."""
        self._file.markers = []
        # Tables of a file that was optimised fit its own numbers only; written with others they make a broken file.
        self._file.optimize_coding = 1
        for index, component in enumerate(self._file.comp_info):
            # Read uninitialised where the first scan lacks a component.
            component.dc_tbl_no = component.ac_tbl_no = min(index, 1)
        path = self._folder / "out.jpg"
        with native_messages_hidden():
            self._file.write(str(path))
        return path.read_bytes()


def is_installed() -> bool:
    """Whether pyjpegio is there; an older package of the same import name, which loses restart intervals, is not it."""
    try:
        import jpegio
    except ImportError:
        return False
    return hasattr(jpegio.DecompressedJpeg, "restart_interval")


@contextmanager
def coefficients(data: bytes) -> Iterator[Coefficients]:
    """The coefficients of the JPEG file `data`. NotExact when they cannot be read or written."""
    import jpegio

    with tempfile.TemporaryDirectory(prefix="gas-") as folder:
        path = Path(folder) / "in.jpg"
        path.write_bytes(data)
        try:
            with native_messages_hidden():
                file = jpegio.read(str(path))
            path.unlink()
            yield Coefficients(file, Path(folder))
        except (RuntimeError, OSError, MemoryError) as error:
            raise NotExact(f"libjpeg says: {' '.join(str(error).split())[:80]}") from None
