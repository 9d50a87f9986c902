"""What an edit leaves of a JPEG file: found out from the two files alone, not by the code that made the second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures
from scipy import ndimage

from gas.errors import GasError
from gas.picture import photo, photo_write
from gas.picture.jpeg.markers import Layout, read_layout
from gas.picture.pixels import as_stored
from gas.process import native_messages_hidden
from gas.testing.jpeg.kinds import Kind

if TYPE_CHECKING:
    from gas.types import Image, Mask

_CODING = {0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive", 0xC9: "arithmetic", 0xCA: "arithmetic, progressive"}


@dataclass(frozen=True)
class Surveyed:
    """What became of one file.

    `method` as `photo_write.JpegCoding`, or "refused"; `why` is its reason. `mcus` and `edited` count the MCUs of the
    file, and those that hold a pixel of the edit (with jpegtran: of the rectangles around them). Of what was written
    outside these, `coefficients` counts those that differ from the file's (None: pyjpegio is not there to read them),
    `pixels` those that differ further away than one pixel. `largest` is the largest difference of a pixel outside the
    edit, in levels.
    """

    kind: Kind
    method: str
    why: str = ""
    sampling: str = ""
    coding: str = ""
    mcus: int = 0
    edited: int = 0
    coefficients: int | None = None
    pixels: int = 0
    largest: int = 0

    @property
    def right(self) -> bool:
        """Whether nothing outside changed, or it was said that it does."""
        if self.method in {"refused", "re-encoded"}:
            return bool(self.why)
        return not self.coefficients and not self.pixels


def survey(kind: Kind, folder: Path) -> Surveyed:
    """Edits the file in three places, in a folder of its own, and looks at what was written."""
    source, out = folder / "in.jpg", folder / "out.jpg"
    source.write_bytes(kind.data)
    out.unlink(missing_ok=True)
    try:
        with native_messages_hidden():
            read = photo.read(source)
    except GasError as error:
        return Surveyed(kind, "refused", error.message)
    image, mask = edited(read.pixels)
    with native_messages_hidden():
        written = photo_write.write(read, out, image, mask)
    assert written.jpeg is not None
    method, why = written.jpeg.method, written.jpeg.why
    if method == "re-encoded":
        return Surveyed(kind, method, why)
    inside = as_stored(mask, read.metadata.orientation) > 0
    with native_messages_hidden():
        return _compared(kind, method, source, out, inside)


def edited(image: Image) -> tuple[Image, Mask]:
    """The picture with three places painted over, grey where all of it is, and where that was."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.float32)
    for y, x, tall, wide in ((0.0, 0.0, 0.1, 0.08), (0.31, 0.46, 0.21, 0.13), (0.93, 0.87, 0.07, 0.13)):
        top, left = int(y * height), int(x * width)
        mask[top : top + max(int(tall * height), 1), left : left + max(int(wide * width), 1)] = 1
    mask = np.maximum(mask, np.where(ndimage.binary_dilation(mask > 0, iterations=2), np.float32(0.5), 0))
    grey = (image == image[..., :1]).all()
    colour = np.array([120, 120, 120] if grey else [30, 200, 90], np.float32)
    out = np.rint(image + mask[..., None] * (colour - image)).astype(np.uint8)
    return out, mask


def _compared(kind: Kind, method: str, source: Path, out: Path, inside: np.ndarray) -> Surveyed:
    layout = read_layout(source.read_bytes())
    across, down = layout.sampling
    wide, high = 8 * across, 8 * down
    rows, columns = -(-inside.shape[0] // high), -(-inside.shape[1] // wide)
    filled = np.zeros((rows * high, columns * wide), bool)
    filled[: inside.shape[0], : inside.shape[1]] = inside
    mcus = np.asarray(filled.reshape(rows, high, columns, wide).any(axis=(1, 3)))
    if method == "jpegtran":
        groups, _ = ndimage.label(mcus, structure=np.ones((3, 3)))
        for box in ndimage.find_objects(groups):
            mcus[box] = True
    may = ndimage.binary_dilation(mcus.repeat(high, 0).repeat(wide, 1), np.ones((3, 3)))
    before, after = (np.asarray(Pictures.open(path)).astype(np.int16) for path in (source, out))
    difference = np.abs(after - before).reshape(*inside.shape, -1).max(axis=2)
    return Surveyed(
        kind,
        method,
        sampling=",".join(f"{c.across}x{c.down}" for c in layout.components),
        coding=_CODING.get(layout.frame, f"{layout.frame:02X}")
        + (f", restart {layout.restart}" * bool(layout.restart)),
        mcus=mcus.size,
        edited=int(mcus.sum()),
        coefficients=_changed(source, out, layout, mcus),
        pixels=int((difference > 0)[~may[: inside.shape[0], : inside.shape[1]]].sum()),
        largest=int(difference[~inside].max(initial=0)),
    )


def _changed(source: Path, out: Path, layout: Layout, mcus: np.ndarray) -> int | None:
    """How many coefficients outside the edited MCUs differ between two files."""
    try:
        import jpegio
    except ImportError:
        return None
    changed = 0
    pairs = zip(*(jpegio.read(str(path)).coef_arrays for path in (source, out)), strict=True)
    for component, (old, new) in zip(layout.components, pairs, strict=True):
        if old.shape != new.shape:
            return int(old.size)
        inside = mcus.repeat(8 * component.down, 0).repeat(8 * component.across, 1)[: old.shape[0], : old.shape[1]]
        changed += int(((old != new) & ~inside).sum())
    return changed
