"""Blur, sharpening and pixels as large as tiles, of a region alone: nothing of what is beside it gets into it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures
from PIL import ImageFilter

from gas.masks import mask_box
from gas.picture.oklab import from_linear, to_linear
from gas_editors.retouch.asked import Effect

if TYPE_CHECKING:
    from gas.types import Image, Mask

BLUR_OF_A_THING, BLUR_OF_A_BACKGROUND = 0.06, 0.008
"""Standard deviation over the square root of a thing's area, and over a picture's longer side."""
THING = 0.25
"""Share of the picture up to which a region counts as a thing."""
TILES = 12
"""Tiles along the longer side of what is pixelated: of a face neither eyes nor mouth can be told."""
SHARPNESS = 130
"""Per cent of the difference to the blurred picture that sharpening adds."""


def affected(image: Image, mask: Mask, effect: Effect, amount: float) -> Image:
    """`image` `(H, W, 3)` with the effect on what is set in `mask` `(H, W)`; beyond it nothing is meant."""
    if effect == "blurred":
        return _blurred(image, mask, amount)
    if effect == "pixelated":
        return _pixelated(image, mask, amount)
    radius = max(image.shape[:2]) / 1000
    sharpen = ImageFilter.UnsharpMask(max(radius, 1.0), round(SHARPNESS * amount), 2)
    return np.asarray(Pictures.fromarray(np.ascontiguousarray(image)).filter(sharpen))


def blur_radius(mask: Mask, amount: float) -> float:
    """The standard deviation in pixels: enough that a face is none any more, or as a lens leaves a background."""
    area = float((mask > 0).sum())
    if area <= THING * mask.size:
        return max(BLUR_OF_A_THING * math.sqrt(area), 1.0) * amount
    return max(BLUR_OF_A_BACKGROUND * max(mask.shape), 1.0) * amount


def _blurred(image: Image, mask: Mask, amount: float) -> Image:
    """Blurred in linear light, from inside the mask alone, on a picture reduced as far as the blur allows."""
    from scipy.ndimage import gaussian_filter

    radius = blur_radius(mask, amount)
    height, width = mask.shape
    step = max(radius / 3, 1.0)
    size = max(round(width / step), 1), max(round(height / step), 1)

    def reduced(plane: np.ndarray) -> np.ndarray:
        return np.asarray(Pictures.fromarray(plane.astype(np.float32)).resize(size, Pictures.Resampling.BOX))

    sigma = radius / (width / size[0])
    weight = gaussian_filter(reduced((mask > 0).astype(np.float32)), sigma, mode="nearest")
    out = image.copy()
    enlarged = []
    inside = (mask > 0).astype(np.float32)
    for channel in range(3):
        light = gaussian_filter(reduced(to_linear(image[..., channel]) * inside), sigma, mode="nearest")
        enlarged.append((light / np.maximum(weight, 1e-3)).astype(np.float32))
    for channel, plane in enumerate(enlarged):
        large = Pictures.fromarray(plane).resize((width, height), Pictures.Resampling.BICUBIC)
        out[..., channel] = from_linear(np.asarray(large))
    return out


def _pixelated(image: Image, mask: Mask, amount: float) -> Image:
    x0, y0, x1, y1 = (int(side) for side in mask_box(mask))
    side = max(math.ceil(max(x1 - x0, y1 - y0) * amount / TILES), 2)
    out = image.copy()
    inside = mask > 0
    for top in range(y0, y1, side):
        for left in range(x0, x1, side):
            tile = np.s_[top : min(top + side, y1), left : min(left + side, x1)]
            own = inside[tile]
            if own.any():
                out[tile][own] = from_linear(to_linear(image[tile][own]).mean(axis=0))
    return out
