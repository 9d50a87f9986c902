"""What an edit pasted, as a picture of its own that is transparent elsewhere, and placing it again.

A layer is `(H, W, 4)` uint8, RGB and straight alpha, at the native size of the picture that it belongs to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image as Pictures

from gas.errors import InputRefused
from gas.masks import mask_box
from gas.remedies import Remedy, Setting

if TYPE_CHECKING:
    from gas.run.result import EditResult
    from gas.types import Image, Mask

    Layer: TypeAlias = np.ndarray

_MAKE = Setting("save_layer", python="gas.run.layer.edit_layer(result)")


def edit_layer(result: EditResult) -> Layer:
    """The edit of `result` alone: placed where it was on the input it gives the output again, up to rounding of the
    soft edge to 255 levels."""
    frame, (height, width) = result.frame, result.mask.shape
    x0, y0, x1, y1 = frame.crop
    layer = np.zeros((height, width, 4), np.uint8)
    alpha = np.rint(result.mask * 255).astype(np.uint8)
    layer[y0:y1, x0:x1, :3] = frame.enlarge(result.raw)
    layer[..., :3][alpha == 0] = 0
    layer[..., 3] = alpha
    return layer


def place(image: Image, layer: Layer, *, move: tuple[int, int] = (0, 0), scale: float = 1.0) -> tuple[Image, Mask]:
    """`image` `(H, W, 3)` with the layer on it, and the mask `(H, W)` float32 in [0, 1] of what it covers.

    What the layer shows is made `scale` times as large around its own middle and then moved by (right, down) pixels;
    what leaves the picture is cut. Where the mask is 0 the picture stays, bit for bit. InputRefused (exit 3) for a
    layer of another size, one that shows nothing, or one that leaves the picture wholly.
    """
    height, width = image.shape[:2]
    if layer.ndim != 3 or layer.shape != (height, width, 4):
        raise InputRefused(
            f"the layer is {layer.shape[1]}x{layer.shape[0]} with {layer.shape[2] if layer.ndim == 3 else 1} channels, "
            f"the picture {width}x{height}",
            Remedy("layer_of_this_size", "give a layer of a picture of this size, made with {make}", make=_MAKE),
        )
    if not layer[..., 3].any():
        raise InputRefused("the layer shows nothing", Remedy("make_layer", "make it again with {make}", make=_MAKE))
    x0, y0, x1, y1 = (int(v) for v in mask_box(layer[..., 3].astype(np.float32)))
    part = layer[y0:y1, x0:x1]
    left, top = x0 + move[0], y0 + move[1]
    if scale != 1:
        wide, high = max(round((x1 - x0) * scale), 1), max(round((y1 - y0) * scale), 1)
        if wide * high > 16 * width * height:
            raise InputRefused(
                f"scale {scale:g} makes a layer of {wide}x{high} pixels",
                Remedy("smaller_scale", "use a smaller {scale}", scale=Setting("scale")),
            )
        part = _resized(part, (wide, high))
        left, top = left + round((x1 - x0 - wide) / 2), top + round((y1 - y0 - high) / 2)
    mask = np.zeros((height, width), np.float32)
    inside = np.s_[max(top, 0) : max(top + part.shape[0], 0), max(left, 0) : max(left + part.shape[1], 0)]
    room = mask[inside].shape
    if not all(room):
        raise InputRefused(
            f"moved by {move[0]},{move[1]} the layer leaves the picture",
            Remedy("smaller_move", "use a smaller {move}", move=Setting("move")),
        )
    seen = part[max(-top, 0) :, max(-left, 0) :][: room[0], : room[1]]
    mask[inside] = seen[..., 3].astype(np.float32) / 255
    out = image.copy()
    before, alpha = image[inside].astype(np.float32), mask[inside][..., None]
    out[inside] = np.where(alpha > 0, np.rint(before + alpha * (seen[..., :3] - before)), before).astype(np.uint8)
    return out, mask


def _resized(part: Layer, size: tuple[int, int]) -> Layer:
    """The layer at another (width, height); colours are weighted by alpha, so that no dark fringe comes in."""
    alpha = part[..., 3].astype(np.float32) / 255
    channels = [part[..., c].astype(np.float32) * alpha for c in range(3)]
    large = [
        np.asarray(Pictures.fromarray(one).resize(size, Pictures.Resampling.BICUBIC)) for one in (*channels, alpha)
    ]
    strength = np.clip(large[3], 0, 1)
    colours = np.stack(large[:3], axis=-1) / np.maximum(large[3], 1e-6)[..., None]
    colours = np.where(strength[..., None] > 0, np.clip(colours, 0, 255), 0)
    return np.rint(np.concatenate([colours, 255 * strength[..., None]], axis=-1)).astype(np.uint8)
