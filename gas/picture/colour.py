"""Colour: the way between a picture's native pixels and the 8-bit sRGB that editors work on."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures
from PIL import ImageCms

from gas.bands import bands
from gas.picture.deep import MODE

if TYPE_CHECKING:
    from gas.types import Image

GREY_MODES = {"L", "I;16", "I", "F"}


class Space:
    """The way between native pixels and sRGB.

    Raises PyCMSError or ValueError for a profile that does not fit the mode.
    """

    def __init__(self, mode: str, icc: bytes | None, levels: tuple[float, float]) -> None:
        self.mode, self.levels = mode, levels
        self.seen = "L" if mode in GREY_MODES else "RGB" if mode == MODE else mode
        self._forth: ImageCms.ImageCmsTransform | None = None
        self._back: ImageCms.ImageCmsTransform | None = None
        if icc is None:
            return
        profile = ImageCms.getOpenProfile(io.BytesIO(icc))
        has = profile.profile.xcolor_space.strip()
        if self.seen == "L" and has == "RGB":
            self.seen = "RGB"  # a grey picture tagged with a profile for colours: r = g = b in that profile
        if {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK", "Lab": "LAB"}.get(has) != self.seen:
            raise ValueError(f"a profile for {has} on {mode} pixels")
        srgb = ImageCms.createProfile("sRGB")
        intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
        forth = ImageCms.buildTransform(profile, srgb, self.seen, "RGB", intent, flags)
        back = ImageCms.buildTransform(srgb, profile, "RGB", self.seen, intent, flags)
        if self.seen == "RGB":
            # sRGB under any name: converting it would only shake the last bit.
            steps = np.arange(0, 256, 15, dtype=np.uint8)
            cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(len(steps), -1, 3)
            there = np.asarray(_apply(Pictures.fromarray(cube), forth))
            if np.abs(there.astype(np.int16) - cube).max() <= 1:
                return
        self._forth, self._back = forth, back

    @property
    def is_srgb(self) -> bool:
        """Whether native pixels are 8-bit sRGB ones as they are."""
        return self.mode == "RGB" and self._forth is None

    def to_srgb(self, native: np.ndarray) -> Image:
        """`(H, W, 3)` uint8 sRGB of native pixels."""
        if self.is_srgb:
            return native
        out = np.empty((*native.shape[:2], 3), np.uint8)
        for rows in bands(*native.shape[:2]):
            part = self._seen(native[rows])
            picture = to_pillow(part, self.seen)
            if self._forth is not None:
                picture = _apply(picture, self._forth)
            out[rows] = np.asarray(picture.convert("RGB"))
        return out

    def from_srgb(self, image: Image) -> np.ndarray:
        """Native pixels of sRGB ones, as floats, not yet rounded to the native number format."""
        picture: Pictures.Image = Pictures.fromarray(np.ascontiguousarray(image))
        if self._back is not None:
            picture = _apply(picture, self._back)
        if self.mode == MODE:
            return np.asarray(picture, np.float64) * 257
        if self.mode in GREY_MODES:
            low, high = self.levels
            grey = np.asarray(picture.convert("L"), np.float64)
            return low + grey * (high - low) / 255
        return np.asarray(picture if picture.mode == self.mode else picture.convert(self.mode), np.float64)

    def _seen(self, native: np.ndarray) -> np.ndarray:
        if self.mode == MODE:
            return to_eight_bits(native)
        if self.mode not in GREY_MODES:
            return native
        low, high = self.levels
        if self.mode == "L":
            grey = native
        else:
            scaled = (np.nan_to_num(native.astype(np.float64), nan=low, posinf=high, neginf=low) - low) * (
                255 / (high - low)
            )
            grey = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2) if self.seen == "RGB" else grey


def _apply(picture: Pictures.Image, transform: ImageCms.ImageCmsTransform) -> Pictures.Image:
    out = ImageCms.applyTransform(picture, transform)
    assert out is not None  # only a transform in place returns None
    return out


def to_eight_bits(deep: np.ndarray) -> np.ndarray:
    """uint8 of uint16, each the nearest of 0, 257, ... 65535."""
    return ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)


def to_pillow(array: np.ndarray, mode: str) -> Pictures.Image:
    if mode in {"CMYK", "LAB", "YCbCr"}:
        return Pictures.frombytes(mode, (array.shape[1], array.shape[0]), np.ascontiguousarray(array).tobytes())
    return Pictures.fromarray(np.ascontiguousarray(array))


def level_range(native: np.ndarray, mode: str) -> tuple[float, float]:
    if mode in {"I;16", MODE}:
        return 0.0, 65535.0
    if mode not in {"I", "F"}:
        return 0.0, 255.0
    finite = native[np.isfinite(native)] if mode == "F" else native
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if low >= 0:
        for top in (1.0, 255.0, 65535.0):
            if high <= top and not (top == 1.0 and mode == "I"):
                return 0.0, top
    return low, max(high, low + 1.0)
