"""Photographs: read upright and in true colours, written back with nothing changed that was not meant to be.

`read` gives an editor's view, `(H, W, 3)` uint8 upright sRGB, and keeps the native pixels beside it: their own mode,
colour space, depth and alpha. `write` changes only the native pixels under the mask and leaves all others as they
were, bit for bit where the container is lossless.

How each mode is seen and written:

* RGB, RGBA: as stored; colours under transparency are kept, alpha is never edited.
* P, PA, 1: as the colours that they display, written as RGB, RGBA or L (a palette cannot hold new colours).
* L, LA, I;16, I, F: grey. They stay what they are, at their own depth, when the edit is grey; an edit with colour
  turns them into 8-bit RGB that shows the same outside. I;16 runs from 0 to 65535; I and F have no range of their own,
  so 0..1, 0..255, 0..65535 or the least and largest value is assumed, whichever fits first.
* CMYK, LAB, YCbCr: stay so in a container that can hold them, else become sRGB.
* RGB of 16 bits a channel is reduced to 8 bits by the decoder; a warning says so.

An ICC profile is used in both directions and kept. One that cannot be used is dropped with a warning, and the numbers
are taken as sRGB, which is how viewers show them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pictures
from PIL import ImageCms, JpegImagePlugin

from gas import files
from gas.errors import InputRefused
from gas.picture.colour import Space, level_range
from gas.picture.decode import check_size, is_png, opened
from gas.picture.deep import bit_depth, is_readable
from gas.picture.metadata.found import Metadata, orientation_of, read_metadata
from gas.picture.pixels import Stored, stored, stored_deep, upright

if TYPE_CHECKING:
    from gas.types import Image

MAX_BYTES = 2**30

_TIFF_COMPRESSIONS = {"raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits"}


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph that was read.

    `pixels` is `(H, W, 3)` uint8, upright, sRGB: what planners, grounders and editors see. `native` are the pixels as
    the file has them, upright, `(H, W)` or `(H, W, C)` in `mode` (RGB, L, I;16, I, F, CMYK, LAB or YCbCr); `alpha` is
    `(H, W)` uint8. `sha256` is that of the file's bytes. `warnings` are for the user to read. `path` is where the file
    is (None: it was no file).
    """

    pixels: Image
    native: np.ndarray
    mode: str
    alpha: np.ndarray | None
    icc: bytes | None
    format: str
    name: str
    sha256: str
    metadata: Metadata = field(default_factory=Metadata)
    dpi: tuple[float, float] | None = None
    encoding: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    levels: tuple[float, float] = (0.0, 255.0)
    path: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @cached_property
    def space(self) -> Space:
        return Space(self.mode, self.icc, self.levels)


# --- reading ----------------------------------------------------------------------------------------------------------


def read(path: Path | str, *, even: bool = False) -> Photo:
    """The photograph in a file: PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, and HEIF where pillow-heif is installed.

    What is inside decides, not the name. Of several frames or pages the first is taken, with a warning. InputRefused
    (exit 3): not a regular file, empty, another format, broken or cut off, of more than 200 megapixels, or of many in
    few bytes, unless it is `even` (a layer). OutOfResources (exit 7): the pixels do not fit into memory.
    """
    path = Path(path)
    with files.open_regular(path) as stream:
        length = os.fstat(stream.fileno()).st_size
        if length == 0:
            raise InputRefused(f"{path.name}: is empty (0 bytes)", "give a picture")
        if length > MAX_BYTES:
            raise InputRefused(f"{path.name}: is longer than {MAX_BYTES} bytes", "give a smaller picture")
        digest = files.sha256(stream)
        if is_png(stream):
            # Pillow skips the checksums of pixel data when it decodes, so a flipped bit could pass as a picture.
            with opened(stream, path.name, even=even) as picture:
                picture.verify()
        with opened(stream, path.name, even=even) as picture:
            notes: list[str] = []
            if getattr(picture, "is_animated", False):
                notes.append(f"{path.name}: has several frames or pages; only the first is used")
            depth, all_bits = bit_depth(picture), is_readable(picture)
            if depth > 8 and not all_bits:
                notes.append(f"{path.name}: has {depth} bits a channel, of which 8 are kept")
            if depth > 10 and picture.format == "HEIF":
                notes.append(f"{path.name}: has {depth} bits a channel; a HEIF file is written with 10")
            turned = picture.format == "TIFF" and orientation_of(picture) != 1
            picture.load()
            metadata = replace(read_metadata(stream, picture, notes), turned=turned)
            if all_bits:
                found = stored_deep(stream, picture, lambda: opened(stream, path.name, even=even))
                if found.alpha is not None and picture.format != "HEIF":
                    notes.append(f"{path.name}: of its transparency 8 bits are kept")
            else:
                found = stored(picture)
            return replace(_photo(found, metadata, path.name, digest, notes), path=path.absolute())


def of_pixels(pixels: Image, name: str = "array") -> Photo:
    """A photograph that was no file: `(H, W, 3)` uint8 upright RGB, taken as sRGB, without profile and metadata.

    Its `sha256` is that of the pixels. InputRefused (exit 3) for an array of another kind.
    """
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        kind = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise InputRefused(f"the picture is {kind}, not (H, W, 3) uint8", "give RGB, turned upright")
    check_size((pixels.shape[1], pixels.shape[0]), "the picture")
    digest = hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
    return Photo(pixels, pixels, "RGB", None, None, "PNG", name, digest)


def _photo(found: Stored, metadata: Metadata, name: str, digest: str, notes: list[str]) -> Photo:
    picture = found.picture
    container = {"MPO": "JPEG", "DIB": "BMP"}.get(picture.format or "", picture.format or "")
    encoding = _encoding(picture, container)
    dpi, icc = _dpi(picture), picture.info.get("icc_profile") or None
    native, mode = upright(found.array(), metadata.orientation), found.mode
    alpha = None if found.alpha is None else upright(found.alpha, metadata.orientation)
    levels = level_range(native, mode)
    if icc is not None:
        try:
            Space(mode, icc, levels)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())[:80]
            notes.append(f"{name}: its colour profile cannot be used and is dropped: {reason}")
            icc = None
    space = Space(mode, icc, levels)
    return Photo(
        pixels=space.to_srgb(native),
        native=native,
        mode=mode,
        alpha=alpha,
        icc=icc,
        format=container,
        name=name,
        sha256=digest,
        metadata=metadata,
        dpi=dpi,
        encoding=encoding,
        warnings=tuple(notes),
        levels=levels,
    )


def _dpi(picture: Pictures.Image) -> tuple[float, float] | None:
    try:
        x, y = (float(v) for v in picture.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < 1e5 and 0 < y < 1e5 else None


def _encoding(picture: Pictures.Image, container: str) -> dict[str, Any]:
    """How the file was compressed, as options for saving another like it."""
    if container == "JPEG":
        out: dict[str, Any] = {"qtables": [list(t) for t in getattr(picture, "quantization", {}).values()]}
        out["subsampling"] = JpegImagePlugin.get_sampling(picture)
        out["progressive"] = bool(picture.info.get("progressive"))
        if picture.mode == "RGB" and picture.info.get("adobe_transform") == 0:
            out["keep_rgb"] = True
        return out
    if container == "TIFF" and picture.info.get("compression") in _TIFF_COMPRESSIONS:
        return {"compression": picture.info["compression"]}
    return {}
