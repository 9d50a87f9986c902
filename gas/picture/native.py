"""The edit in the photograph's own pixels: colour space, depth and mode of the file, changed under the mask only."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gas.bands import bands
from gas.picture.blend import is_same
from gas.picture.colour import GREY_MODES
from gas.picture.containers import WRITABLE
from gas.picture.deep import MODE

if TYPE_CHECKING:
    from gas.picture.photo import Photo
    from gas.types import Image, Mask

DEEP_MODES = {"I;16", MODE}
GREY_SPREAD = 16
"""Levels between the channels of a pixel up to which it counts as grey: decoders of latents do not return exact
greys.
"""
_TOP = {"I;16": 65535.0, MODE: 65535.0, "I": 2.0**31 - 1, "F": np.inf}
_BOTTOM = {"I": -(2.0**31), "F": -np.inf}


class Native(NamedTuple):
    """Pixels to be written, `(H, W)` or `(H, W, C)` in `mode`, and the profile that they are in."""

    pixels: np.ndarray
    mode: str
    icc: bytes | None


def edited_native(photo: Photo, image: Image, mask: Mask | None, container: str, notes: list[str]) -> Native:
    """The photograph's pixels with the edited `image` in them where `mask` is set, as `container` can hold them.

    Where it is 0 they are the photograph's own; in between they become conv(image) + (1 - mask)·(native -
    conv(pixels)), so that what 8-bit sRGB cannot hold fades out with the blend instead of ending in a step. `notes`
    gets a sentence for what is given up. The result may share memory with `image`.
    """
    mode, has_alpha = photo.mode, photo.alpha is not None
    as_is = mode + ("A" if has_alpha else "") in WRITABLE[container]
    coloured = mode in GREY_MODES and _has_colour(image, mask)
    if coloured:
        as_is = False
        if mode != "L":
            notes.append(f"the edit has colour: grey of mode {mode} is written as 8-bit RGB")
    if not as_is:
        if mode == MODE:
            notes.append(f"{container} holds 8 bits a channel: the others are not kept")
        elif mode not in GREY_MODES and mode != "RGB":
            notes.append(f"{container} cannot hold {mode}: written as sRGB")
        # Inside and outside alike are what the editor saw: sRGB, the same on a screen.
        out = _pasted(photo.pixels, image, mask)
        if mode in GREY_MODES and not coloured and "L" in WRITABLE[container] and photo.icc is None:
            return Native(np.ascontiguousarray(out[..., 0]), "L", None)
        return Native(out, "RGB", None)
    if mode == MODE and container == "HEIF" and photo.format != "HEIF":
        notes.append("HEIF is written with 10 bits a channel")
    if photo.space.is_srgb:
        return Native(_pasted(photo.native, image, mask), mode, photo.icc)
    return Native(_converted(photo, image, mask), mode, photo.icc)


def _pasted(native: np.ndarray, image: Image, mask: Mask | None) -> np.ndarray:
    """`image` where the mask is set, `native` elsewhere; no copy where that is the image as it is."""
    if mask is None or is_same(image, native, where=mask):
        return image
    out = native.copy()
    for rows in bands(*mask.shape):
        np.copyto(out[rows], image[rows], where=(mask[rows] > 0)[..., None])
    return out


def _converted(photo: Photo, image: Image, mask: Mask | None) -> np.ndarray:
    """The native pixels of a colour space that is not 8-bit sRGB, changed where the mask is set."""
    out, space, mode = photo.native.copy(), photo.space, photo.mode
    top, bottom = _TOP.get(mode, 255.0), _BOTTOM.get(mode, 0.0)
    for rows in bands(*image.shape[:2]):
        inside = np.ones((rows.stop - rows.start, image.shape[1]), bool) if mask is None else mask[rows] > 0
        columns = np.flatnonzero(inside.any(axis=0))
        if not len(columns):
            continue
        part = np.s_[rows, columns[0] : columns[-1] + 1]
        inside = inside[:, part[1]]
        new = space.from_srgb(image[part])
        if mask is not None:
            rest = photo.native[part] - space.from_srgb(photo.pixels[part])
            rest = np.nan_to_num(rest, nan=0.0, posinf=0.0, neginf=0.0)
            new = new + rest * (1 - (mask[part] if new.ndim == 2 else mask[part][..., None]))
        if mode in DEEP_MODES:
            # What editors give has 8 bits: noise of one of their steps keeps slow gradients from showing them. What
            # they left as it was has all its bits already.
            edited = (image[part] != photo.pixels[part]).any(axis=-1)
            step = (photo.levels[1] - photo.levels[0]) / 255
            new += np.random.default_rng(rows.start).uniform(-step / 2, step / 2, new.shape)
            inside = inside & edited
        if mode != "F":
            new = np.rint(np.clip(new, bottom, top))
        out[part][inside] = new[inside].astype(out.dtype)
    return out


def _has_colour(image: Image, mask: Mask | None) -> bool:
    """Whether more than one in a thousand of the edited pixels are visibly coloured."""
    edited, coloured = 0, 0
    for rows in bands(*image.shape[:2]):
        some = image[rows]
        spread = some.max(axis=2) - some.min(axis=2) > GREY_SPREAD
        inside = np.ones(spread.shape, bool) if mask is None else mask[rows] > 0
        edited += int(inside.sum())
        coloured += int((spread & inside).sum())
    return coloured * 1000 > edited
