"""Masks in picture files: what is meant by them is recognised, or they are refused with what was seen.

White on black, soft edges and half strengths are taken as they are. Recognised, with a warning: one label on nothing
(levels 0 and 7), one dark colour on black, the noise that JPEG leaves near black and white, levels that never reach
white. Refused, since they could be meant in several ways: several labels, several colours, a photograph, with a part
of it transparent or without. Never is a number that stands for a thing taken for a strength.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gas import files, notes
from gas.bands import bands
from gas.errors import InputRefused
from gas.picture.decode import opened
from gas.picture.metadata.found import orientation_of
from gas.picture.pixels import stored, upright
from gas.regions.check import check_mask, check_same_size
from gas.remedies import Command, Remedy, Setting

if TYPE_CHECKING:
    from gas.masks import Size
    from gas.regions.check import Warn
    from gas.types import Mask

MAX_LABELS = 32
"""More levels than these, none of them white, are no labels but a picture."""
GREY_SPREAD = 16
NOISE = 48
"""Levels from black and from white that a lossy format is allowed to be off."""
PAINT = "paint the part to be edited white, the rest black, and save it as PNG"
_LOSSY = {"JPEG", "MPO", "HEIF", "AVIF"}
_LEVELS = "save it with levels from 0 to 255"


class MaskPixels(NamedTuple):
    """A mask's file, decoded and upright: `colours` `(H, W, 3)` uint8, or `numbers` `(H, W)` in any number format;
    `alpha` `(H, W)` uint8 where something is transparent."""

    colours: np.ndarray | None
    numbers: np.ndarray | None
    alpha: np.ndarray | None
    lossy: bool

    @property
    def size(self) -> Size:
        array = self.numbers if self.colours is None else self.colours
        assert array is not None
        return array.shape[1], array.shape[0]


def read_mask(path: Path, size: Size | None = None, *, of: str | None = None, warn: Warn = notes.warn) -> Mask:
    """The mask of a picture file: white = edit here, one bright colour counts as white, transparent = 0.

    `of` says what of the file is meant where that is not plain: "transparent", "opaque", a level such as "7", or a
    colour such as "#ff0000". `warn` is told what had to be recognised. InputRefused: a file that cannot be read,
    another size than `size`, or what could be meant in several ways, with what was seen.
    """
    name = f"mask {path.name}"
    found = read_pixels(path, size)
    if of is None:
        levels = _cleaned(_levels(found, path.name, warn), found.lossy, path.name, warn)
    else:
        levels = _picked(found, of, name)
    return check_mask(levels, found.size, name=name)


def read_pixels(path: Path, size: Size | None = None) -> MaskPixels:
    """What is in a mask's file. InputRefused for one that cannot be read, or, known before it is decoded, of another
    size than `size`."""
    with files.open_regular(path) as stream, opened(stream, path.name, even=True) as picture:
        orientation = orientation_of(picture)
        turned = picture.size if orientation < 5 else picture.size[::-1]
        if size is not None:
            check_same_size(turned, size, f"mask {path.name}")
        picture.load()
        lossy = picture.format in _LOSSY
        pixels = stored(picture)
        array = upright(pixels.array(), orientation)
        alpha = None if pixels.alpha is None else upright(pixels.alpha, orientation)
        if pixels.mode in {"CMYK", "LAB", "YCbCr"}:
            array = upright(np.asarray(picture.convert("RGB")), orientation)
    if array.ndim == 2:
        return MaskPixels(None, array, alpha, lossy)
    return MaskPixels(array, None, alpha, lossy)


# --- to levels --------------------------------------------------------------------------------------------------------


def _levels(found: MaskPixels, file: str, warn: Warn) -> np.ndarray:
    """The levels `(H, W)` uint8 that a mask's file stands for, as yet with noise and labels in them."""
    if found.colours is None:
        assert found.numbers is not None
        levels = _of_numbers(found.numbers, file, warn)
    elif _is_grey(found.colours, found.alpha):
        levels = found.colours.max(axis=2)
    else:
        levels = _of_colours(found, file)
    if found.alpha is None:
        return levels
    seen = found.alpha >= 128
    if not seen.any():
        return np.minimum(levels, found.alpha)
    lightest, darkest = int(levels[seen].max()), int(levels[seen].min())
    if lightest - darkest <= GREY_SPREAD:
        # One colour on nothing was painted; how bright it is says nothing of how strong.
        if lightest < 128:
            raise InputRefused(
                f"mask {file}: its opaque part is dark and the rest transparent, so it is not clear which is meant",
                _meant(file, "opaque"),
            )
        return found.alpha
    if _count(levels[seen]) > MAX_LABELS and not _is_two_sided(np.bincount(levels[seen], minlength=256)):
        raise InputRefused(_erased(found, file), _meant(file, "transparent"))
    return np.minimum(levels, found.alpha)


def _of_numbers(numbers: np.ndarray, file: str, warn: Warn) -> np.ndarray:
    """Grey of any depth as levels of 8 bits. Small numbers in a wide format are labels, or 8-bit levels."""
    if numbers.dtype == np.uint8:
        return numbers
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        raise InputRefused(f"mask {file}: holds NaN or infinite values", _LEVELS)
    low, high = float(numbers.min()), float(numbers.max())
    if low < 0:
        raise InputRefused(f"mask {file}: holds numbers from {low:g} to {high:g}", _LEVELS)
    top = 65535.0 if high > 255 or high == 0 else 255.0
    if numbers.dtype.kind == "f" and high <= 1:
        top = 1.0
    elif top == 255 and numbers.dtype == np.uint16:
        warn(f"mask {file}: has 16 bits a pixel but no number above {high:g}; they are taken as levels from 0 to 255")
    if high > top:
        raise InputRefused(f"mask {file}: holds numbers from {low:g} to {high:g}", _LEVELS)
    levels = np.empty(numbers.shape, np.uint8)
    for rows in bands(*numbers.shape):
        np.rint(numbers[rows].astype(np.float64) * (255 / top), out=levels[rows], casting="unsafe")
    return levels


def _of_colours(found: MaskPixels, file: str) -> np.ndarray:
    """The strongest channel, where there is but one colour beside black."""
    assert found.colours is not None
    colours = _distinct(found.colours, found.alpha)
    if colours is None and found.alpha is not None:
        raise InputRefused(_erased(found, file), _meant(file, "transparent"))
    if colours is None:
        raise InputRefused(f"mask {file}: is a picture in many colours, not a mask", PAINT)
    bright = [colour for colour in colours if max(colour) > GREY_SPREAD]
    if len(bright) != 1 or (len(colours) == 1 and found.alpha is None):
        shown = ", ".join("#{:02x}{:02x}{:02x}".format(*colour) for colour in colours[:6])
        more = f" and {len(colours) - 6} more" if len(colours) > 6 else ""
        raise InputRefused(
            f"mask {file}: holds the colours {shown}{more}, so it is not clear which is meant",
            _meant(file, "#{:02x}{:02x}{:02x}".format(*colours[-1])),
        )
    return found.colours.max(axis=2)


def _erased(found: MaskPixels, file: str) -> str:
    assert found.alpha is not None
    share = float((found.alpha < 128).mean())
    return (
        f"mask {file}: is a picture of which {share:.0%} is transparent; programs disagree whether that part is to be "
        "edited or to be kept"
    )


def _meant(file: str, of: str) -> Remedy:
    return Remedy(
        "mask_of",
        "say which is meant, with {of} of {command}",
        of=Setting("of", of),
        command=Command("mask", file),
    )


# --- what is meant ----------------------------------------------------------------------------------------------------


def _picked(found: MaskPixels, of: str, name: str) -> np.ndarray:
    """The levels `(H, W)` uint8 of what `of` names."""
    if of in {"transparent", "opaque"}:
        if found.alpha is None:
            raise InputRefused(f"{name}: nothing in it is transparent", PAINT)
        return found.alpha if of == "opaque" else 255 - found.alpha
    colour = re.fullmatch(r"#?([0-9a-fA-F]{6})", of) if "#" in of or not of.isdigit() else None
    if colour is not None:
        wanted = np.frombuffer(bytes.fromhex(colour[1]), np.uint8).astype(np.int16)
    elif re.fullmatch(r"\d{1,10}", of):
        wanted = np.array([int(of)])
    else:
        raise InputRefused(
            f"{of!r} is not a part of a mask", "name transparent, opaque, a level or a colour as #rrggbb"
        )
    array = found.colours if found.colours is not None else found.numbers
    assert array is not None
    reach = NOISE if found.lossy else 0
    out = np.zeros(array.shape[:2], np.uint8)
    for rows in bands(array.shape[0], array.shape[1]):
        part = array[rows] if array.ndim == 3 else array[rows][..., None]
        out[rows] = (np.abs(part.astype(np.float64) - wanted).max(axis=2) <= reach) * np.uint8(255)
    if found.alpha is not None:
        np.minimum(out, found.alpha, out=out)
    if not out.any():
        raise InputRefused(f"{name}: nothing in it is {of}", "name a level or a colour that is there")
    return out


# --- of levels --------------------------------------------------------------------------------------------------------


def _cleaned(levels: np.ndarray, lossy: bool, file: str, warn: Warn) -> np.ndarray:
    """The levels without a format's noise; what is not white but stands for it becomes white."""
    counts = np.bincount(levels.ravel(), minlength=256)
    there = np.flatnonzero(counts)
    top = int(there[-1])
    if top == 255 and not lossy and not _is_noisy(counts):
        return levels
    if len(there) <= 2 and there[0] == 0:
        if 0 < top < 255:
            warn(f"mask {file}: holds only the levels 0 and {top}; {top} is taken as white")
        return _table(levels, lambda level: np.where(level > 0, 255, 0))
    if len(there) == 1:
        if top == 255:
            return levels
        raise InputRefused(f"mask {file}: is an even grey of level {top}", PAINT)
    if len(there) <= MAX_LABELS and not lossy and top < 255 - GREY_SPREAD:
        shown = ", ".join(str(level) for level in there[:8]) + (", …" if len(there) > 8 else "")
        raise InputRefused(
            f"mask {file}: holds the levels {shown} and no white: they look like labels of {len(there) - 1} things",
            _meant(file, str(there[-1])),
        )
    if lossy or _is_noisy(counts):
        return _without_noise(levels, counts, lossy, file, warn)
    _told_of_weak(top, file, warn)
    return levels


def _without_noise(levels: np.ndarray, counts: np.ndarray, lossy: bool, file: str, warn: Warn) -> np.ndarray:
    reach = NOISE if lossy else GREY_SPREAD
    top = int(np.flatnonzero(counts)[-1])
    if top < 255 - NOISE:
        if not counts[reach + 1 :].any():
            raise InputRefused(f"mask {file}: its lightest level is {top} of 255, near black", PAINT)
        _told_of_weak(top, file, warn)
        return _table(levels, lambda level: np.where(level <= reach, 0, level))
    between = int(counts[1:255].sum())
    if between:
        warn(
            f"mask {file}: has the noise of a lossy format; levels up to {reach} are taken as black and from "
            f"{255 - reach} on as white"
        )
    return _table(levels, lambda level: np.clip((level - reach) * 255 / (255 - 2 * reach), 0, 255))


def _told_of_weak(top: int, file: str, warn: Warn) -> None:
    if top < 255:
        warn(f"mask {file}: its lightest level is {top} of 255, so the edit is blended in at {top / 255:.0%} at most")


def _is_noisy(counts: np.ndarray) -> bool:
    """Whether levels crowd near black and white, as JPEG leaves them; those of a soft edge are spread out."""
    near = int(counts[1 : GREY_SPREAD + 1].sum() + counts[255 - GREY_SPREAD : 255].sum())
    middle = int(counts[GREY_SPREAD + 1 : 255 - GREY_SPREAD].sum())
    return near > 4 * middle and near * 1000 > counts.sum()


def _is_two_sided(counts: np.ndarray) -> bool:
    """Whether most levels are near black or white, as in a mask and hardly ever in a photograph."""
    return int(counts[:32].sum() + counts[224:].sum()) > 0.9 * counts.sum()


def _is_grey(colours: np.ndarray, alpha: np.ndarray | None) -> bool:
    """Whether at most one pixel in a thousand is visibly coloured."""
    coloured = 0
    for rows in bands(*colours.shape[:2]):
        spread = colours[rows].max(axis=2) - colours[rows].min(axis=2) > GREY_SPREAD
        coloured += int((spread if alpha is None else spread & (alpha[rows] >= 128)).sum())
    return coloured * 1000 <= colours.shape[0] * colours.shape[1]


def _distinct(colours: np.ndarray, alpha: np.ndarray | None) -> list[tuple[int, int, int]] | None:
    """The colours that are seen, the most frequent first; None for more than `MAX_LABELS`."""
    found: dict[int, int] = {}
    for rows in bands(*colours.shape[:2]):
        part = colours[rows] if alpha is None else colours[rows][alpha[rows] >= 128]
        red, green, blue = (part[..., channel].astype(np.uint32) for channel in range(3))
        values, counts = np.unique(red << 16 | green << 8 | blue, return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            found[value] = found.get(value, 0) + count
        if len(found) > MAX_LABELS:
            return None
    order = sorted(found, key=lambda value: -found[value])
    return [(value >> 16, value >> 8 & 255, value & 255) for value in order]


def _count(levels: np.ndarray) -> int:
    return int((np.bincount(levels.ravel(), minlength=256) > 0).sum())


def _table(levels: np.ndarray, of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Every level replaced by what `of` says of it."""
    return np.rint(of(np.arange(256, dtype=np.float64))).astype(np.uint8)[levels]
