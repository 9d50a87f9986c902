"""jpegtran, a program of libjpeg: puts a rectangle of blocks into a JPEG file and leaves the others as they are."""

from __future__ import annotations

import functools
import io
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures

from gas.picture.jpeg.blocks import mcu_size
from gas.picture.jpeg.check import PROGRESSIVE
from gas.picture.jpeg.coefficients import NotExact

if TYPE_CHECKING:
    from gas.picture.jpeg.markers import Layout

SECONDS = 120
MOST_DROPS = 32
_SAMPLINGS = {((1, 1), (1, 1)): 0, ((2, 1), (1, 1)): 1, ((2, 2), (1, 1)): 2}
"""Sampling factors of the first and the other components, and Pillow's number for what it can write."""


def is_installed() -> bool:
    """Whether a jpegtran is there that can drop one picture into another."""
    return bool(_program())


@functools.cache
def _program() -> str:
    program = shutil.which("jpegtran")
    if program is None:
        return ""
    try:
        done = subprocess.run([program, "-help"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return program if "-drop" in done.stdout + done.stderr else ""


def dropped(original: bytes, layout: Layout, after: np.ndarray, touched: np.ndarray) -> tuple[bytes, np.ndarray]:
    """`original` with a rectangle of MCUs around each group of touched ones encoded anew from `after`, and those MCUs.

    NotExact where Pillow cannot write the file's sampling, or jpegtran complains.
    """
    from scipy import ndimage

    groups, count = ndimage.label(touched, structure=np.ones((3, 3)))
    boxes = ndimage.find_objects(groups)
    if not 0 < count <= MOST_DROPS:
        boxes = ndimage.find_objects(touched.astype(np.uint8))
    if not boxes:
        raise NotExact("nothing in it changes")
    around = np.zeros_like(touched)
    data = original
    for rows, columns in boxes:
        data = _dropped_once(data, layout, after, rows, columns)
        around[rows, columns] = True
    return data, around


def _dropped_once(data: bytes, layout: Layout, after: np.ndarray, rows: slice, columns: slice) -> bytes:
    wide, high = mcu_size(layout)
    piece = after[rows.start * high : rows.stop * high, columns.start * wide : columns.stop * wide]
    with tempfile.TemporaryDirectory(prefix="gas-") as folder:
        source, drop = Path(folder) / "in.jpg", Path(folder) / "drop.jpg"
        source.write_bytes(data)
        drop.write_bytes(_encoded(piece, layout))
        how = ["-copy", "none", "-optimize", *(["-progressive"] if layout.frame in PROGRESSIVE else [])]
        how += ["-restart", f"{layout.restart}B"] if layout.restart else []
        place = f"+{columns.start * wide}+{rows.start * high}"
        try:
            done = subprocess.run(
                [_program(), *how, "-drop", place, str(drop), str(source)],
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotExact(f"jpegtran cannot be run: {error}") from None
    if done.returncode != 0 or not done.stdout:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise NotExact(f"jpegtran says: {said[0][:80] if said else done.returncode}")
    return done.stdout


def _encoded(piece: np.ndarray, layout: Layout) -> bytes:
    """A JPEG file of some pixels with the tables and the sampling of another."""
    first, *others = layout.components
    slots = [component.table for component in layout.components]
    options = {}
    if others:
        factors = {(component.across, component.down) for component in others}
        sampling = _SAMPLINGS.get(((first.across, first.down), next(iter(factors))))
        if len(factors) > 1 or sampling is None or slots[1] != slots[2]:
            raise NotExact("Pillow cannot write its sampling")
        options = {"subsampling": sampling}
    # Pillow takes tables in the order of their slots.
    tables = [list(layout.tables[slot]) for slot in dict.fromkeys(slots)]
    stream = io.BytesIO()
    Pictures.fromarray(np.ascontiguousarray(piece)).save(stream, "JPEG", qtables=tables, **options)
    return stream.getvalue()
