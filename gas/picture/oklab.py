"""OKLab: a colour space in which lightness, chroma and hue are what people see (B. Ottosson, 2020).

Lightness L is in [0, 1]; a and b are within about ±0.4. Chroma is C = √(a² + b²), hue h = atan2(b, a) in degrees. On
one surface h and the saturation S = C/L stay as they are from light into shade: that is what recolouring rests on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gas.types import Image

Array = NDArray[np.floating[Any]]

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_FROM_CONES, _FROM_LAB = np.linalg.inv(_TO_CONES), np.linalg.inv(_TO_LAB)

GAMUT_STEPS = 12
"""Halvings of the search for the largest chroma inside sRGB: to 1/4096 of the chroma."""


def _decoded(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


_LINEAR = _decoded(np.arange(256) / 255).astype(np.float32)


def to_linear(image: Image) -> Array:
    """Linear light in [0, 1], the image's shape, of an 8-bit sRGB image `(..., 3)`."""
    return _LINEAR[image]


def encoded(linear: Array) -> Array:
    """sRGB values in [0, 1] of linear light; what is below 0 or above 1 is cut off."""
    light = np.clip(linear, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055).astype(np.float32)


def from_linear(linear: Array) -> Image:
    """The 8-bit sRGB image of linear light."""
    return np.rint(encoded(linear) * 255).astype(np.uint8)


def linear_to_lab(linear: Array) -> Array:
    """OKLab `(..., 3)` of linear sRGB light `(..., 3)`."""
    cones = np.cbrt(linear @ _TO_CONES.T.astype(np.float32))
    return np.asarray(cones @ _TO_LAB.T.astype(np.float32), np.float32)


def lab_to_linear(lab: Array) -> Array:
    """Linear sRGB light `(..., 3)` of OKLab; outside [0, 1] where sRGB does not have the colour."""
    cones = lab @ _FROM_LAB.T.astype(np.float32)
    return np.asarray((cones**3) @ _FROM_CONES.T.astype(np.float32), np.float32)


def decoded(values: Array) -> Array:
    """Linear light of sRGB values in [0, 1] that are not whole levels."""
    return _decoded(np.asarray(values, np.float64)).astype(np.float32)


def to_lab(image: Image) -> Array:
    """OKLab `(..., 3)` of an 8-bit sRGB image `(..., 3)`."""
    return linear_to_lab(to_linear(image))


def from_lab(lab: Array) -> Image:
    """The 8-bit sRGB image of OKLab colours; chroma is lowered where sRGB does not have them."""
    return from_linear(lab_to_linear(in_gamut(lab)))


def chroma(lab: Array) -> Array:
    """C `(...)` of OKLab colours."""
    return np.hypot(lab[..., 1], lab[..., 2])


def hue(lab: Array) -> Array:
    """h `(...)` of OKLab colours, in degrees from 0 up to 360; noise where the chroma is below about 0.03."""
    return np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360


def hue_difference(h: Array | float, other: Array | float) -> Array:
    """h − other in degrees, the short way round: from -180 up to 180."""
    return np.asarray((np.asarray(h) - other + 180) % 360 - 180, np.float32)


def from_lch(lightness: Array | float, c: Array | float, h: Array | float) -> Array:
    """OKLab colours of lightness, chroma and hue in degrees."""
    angle = np.radians(h)
    return np.stack(np.broadcast_arrays(lightness, c * np.cos(angle), c * np.sin(angle)), axis=-1).astype(np.float32)


def in_gamut(lab: Array) -> Array:
    """The colours, those outside sRGB with as much of their chroma as sRGB has at their lightness and hue."""
    lab = np.asarray(lab, np.float32).copy()
    lab[..., 0] = np.clip(lab[..., 0], 0, 1)
    linear = lab_to_linear(lab)
    outside = (linear < -1e-4).any(axis=-1) | (linear > 1 + 1e-4).any(axis=-1)
    if not outside.any():
        return lab
    wide = lab[outside]
    low, high = np.zeros(len(wide), np.float32), np.ones(len(wide), np.float32)
    for _ in range(GAMUT_STEPS):
        middle = (low + high) / 2
        tried = lab_to_linear(np.stack([wide[:, 0], wide[:, 1] * middle, wide[:, 2] * middle], axis=-1))
        fits = ((tried >= -1e-4) & (tried <= 1 + 1e-4)).all(axis=-1)
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    wide[:, 1:] *= low[:, None]
    lab[outside] = wide
    return lab
