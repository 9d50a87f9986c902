"""Pictures and masks at the size at which the page shows and paints them, and back to the photograph's own."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures

from gas.bands import bands

if TYPE_CHECKING:
    from gas.masks import Size
    from gas.types import Box, Image, Mask

LONGEST = 1600
"""Longer side in pixels of the picture that is shown and painted on."""
LOSSLESS = 512 * 512
"""Pictures of at most so many pixels are sent as PNG, larger ones as JPEG."""


def view_size(size: Size) -> Size:
    """The size (width, height) at which a picture of `size` is shown: its own, or that with the longer side 1600."""
    longest = max(size)
    if longest <= LONGEST:
        return size
    return max(round(size[0] * LONGEST / longest), 1), max(round(size[1] * LONGEST / longest), 1)


def view(image: Image) -> bytes:
    """The encoded picture at its view size; `image` is `(H, W, 3)` uint8 RGB."""
    return encoded(image, view_size((image.shape[1], image.shape[0])))


def encoded(image: Image, size: Size | None = None) -> bytes:
    """PNG or JPEG of `image`, `(H, W, 3)` uint8 RGB, made smaller to `size` (None: as it is)."""
    picture = Pictures.fromarray(np.ascontiguousarray(image))
    if size is not None and size != picture.size:
        picture = picture.resize(size, Pictures.Resampling.LANCZOS, reducing_gap=2.0)
    stream = io.BytesIO()
    if picture.width * picture.height <= LOSSLESS:
        picture.save(stream, "PNG")
    else:
        picture.save(stream, "JPEG", quality=90, subsampling=0)
    return stream.getvalue()


def kind(picture: bytes) -> str:
    """The media type of what `encoded` gave."""
    return "image/png" if picture.startswith(b"\x89PNG") else "image/jpeg"


def crops(before: Image, after: Image, box: Box, longest: int = 480) -> tuple[bytes, bytes]:
    """The part of both pictures in `box`, with some room around it, as encoded pictures of at most `longest`."""
    height, width = before.shape[:2]
    room = 0.12 * max(box[2] - box[0], box[3] - box[1])
    x0, y0 = max(int(box[0] - room), 0), max(int(box[1] - room), 0)
    x1, y1 = min(int(box[2] + room) + 1, width), min(int(box[3] + room) + 1, height)
    scale = min(longest / max(x1 - x0, y1 - y0), 1.0)
    size = max(round((x1 - x0) * scale), 1), max(round((y1 - y0) * scale), 1)
    return encoded(before[y0:y1, x0:x1], size), encoded(after[y0:y1, x0:x1], size)


def levels(mask: Mask) -> np.ndarray:
    """The mask at its view size, `(h, w)` uint8. What is set anywhere stays visible."""
    size = view_size((mask.shape[1], mask.shape[0]))
    full = np.empty(mask.shape, np.uint8)
    for rows in bands(*mask.shape):
        np.rint(mask[rows] * 255, out=full[rows], casting="unsafe")
    if full.shape == size[::-1]:
        return full
    return np.asarray(Pictures.fromarray(full).resize(size, Pictures.Resampling.BOX))


def painted(mask: Mask, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The mask `(H, W)` uint8 after somebody has painted on its view: `before` and `after` are levels `(h, w)` uint8.

    Only what differs between the two changes; everything else keeps its exact edge at the photograph's own size.
    """
    size = mask.shape[1], mask.shape[0]
    full = np.rint(mask * 255).astype(np.uint8)
    changed = before != after
    if before.shape == full.shape:
        return np.where(changed, after, full)
    touched = np.asarray(Pictures.fromarray(changed).resize(size, Pictures.Resampling.NEAREST))
    enlarged = np.asarray(Pictures.fromarray(after).resize(size, Pictures.Resampling.BILINEAR))
    return np.where(touched, enlarged, full)


def view_box(box: Box, size: Size) -> Box:
    """A box of a picture of `size` in pixels of its view."""
    wide, high = view_size(size)
    sx, sy = wide / size[0], high / size[1]
    return box[0] * sx, box[1] * sy, box[2] * sx, box[3] * sy


def native_box(box: Box, size: Size) -> Box:
    """A box of the view of a picture of `size` in pixels of the picture."""
    wide, high = view_size(size)
    sx, sy = size[0] / wide, size[1] / high
    return box[0] * sx, box[1] * sy, box[2] * sx, box[3] * sy
