"""The picture as it leaves for a model: downscaled, and nothing but pixels."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gas.errors import InputRefused

if TYPE_CHECKING:
    from gas.types import Image

JPEG_QUALITY = 88


@dataclass(frozen=True)
class Picture:
    """An encoded picture without metadata. `data` is the whole file."""

    data: bytes = field(repr=False)
    width: int
    height: int
    mime: str = "image/jpeg"

    @property
    def base64(self) -> str:
        """The data in base64, as the services want it."""
        return base64.b64encode(self.data).decode("ascii")

    @property
    def summary(self) -> str:
        """What it is, in words, for previews and provenance."""
        digest = hashlib.sha256(self.data).hexdigest()
        return f"picture, {self.width}x{self.height} {self.mime}, {len(self.data)} bytes, sha256 {digest}"


def encode(image: Image, max_side: int) -> Picture:
    """The picture for sending, its longer side at most `max_side` pixels: JPEG without EXIF, ICC, XMP or comments.

    `image` is `(H, W, 3)` uint8 RGB, upright, sRGB. It is never enlarged. InputRefused (3) for anything else.
    """
    from PIL import Image as Pillow

    shape, dtype = getattr(image, "shape", None), getattr(image, "dtype", None)
    if shape is None or len(shape) != 3 or shape[2] != 3 or str(dtype) != "uint8" or 0 in shape:
        raise InputRefused(f"a picture is (H, W, 3) uint8, not {shape} {dtype}", "read it with gas.picture.photo")
    # Made from the bare array, so that nothing of the file that it came from can travel along.
    picture = Pillow.fromarray(image)
    scale = min(1.0, max_side / max(picture.size))
    if scale < 1.0:
        width, height = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Pillow.Resampling.LANCZOS, reducing_gap=3.0)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return Picture(stream.getvalue(), picture.width, picture.height)
