"""Composition: the working picture is cut out of the photograph, and what was edited is pasted back, nothing else.

Images are `(H, W, 3)` uint8, masks `(H, W)` float32 in [0, 1]; sizes are `(width, height)`. "native" is the photograph
at its own size, "working" the picture that the editor sees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures

from gas.bands import bands
from gas.errors import InputRefused
from gas.masks import Size, feather, mask_box
from gas.remedies import GIVE_OR_GROUND, Given, Remedy, Setting
from gas.types import Box, Region, WorkMode

if TYPE_CHECKING:
    from gas.types import Image, Mask


CONTEXT = 1.75
"""Side of a crop over the longer side of the regions in it: an editor needs to see what is around the thing."""
LONGEST = 4
"""Longest side of a working picture over the resolution: a strip of 4096x1 must not become one of 32768x8."""
WORTH_A_CROP = 1.5
"""How many times finer a crop must be than the whole picture for `auto` to take it."""
FEATHER = 1.0
"""Width of the soft edge in working pixels. Wider ones leave a halo of the old background around a thing that stays,
since nothing outside a region may change and so the edge runs inward."""


@dataclass(frozen=True)
class Frame:
    """How the working picture was cut from the native one: the native `crop` (x0, y0, x1, y1) was resized to `size`."""

    native: Size
    crop: tuple[int, int, int, int]
    size: Size

    @property
    def scale(self) -> tuple[float, float]:
        """Working pixels for each native pixel, across and down."""
        x0, y0, x1, y1 = self.crop
        return self.size[0] / (x1 - x0), self.size[1] / (y1 - y0)

    @property
    def resized(self) -> bool:
        """Whether the working pixels are other than native ones."""
        x0, y0, x1, y1 = self.crop
        return self.size != (x1 - x0, y1 - y0)

    @property
    def _window(self) -> tuple[slice, slice]:
        x0, y0, x1, y1 = self.crop
        return np.s_[y0:y1, x0:x1]

    def cut(self, image: Image) -> Image:
        """The working image of a native one (Lanczos; the very pixels when nothing is resized)."""
        self._check(image, self.native, "image")
        part = image[self._window]
        if not self.resized:
            return part.copy()
        return np.asarray(Pictures.fromarray(np.ascontiguousarray(part)).resize(self.size, Pictures.Resampling.LANCZOS))

    def cut_mask(self, mask: Mask) -> Mask:
        """The working mask of a native one: each value is the mean over the area that the working pixel covers.

        A place where anything is set stays above zero, one where nothing is stays at zero.
        """
        self._check(mask, self.native, "mask")
        part = np.ascontiguousarray(mask[self._window], dtype=np.float32)
        return _average(part, self.size) if self.resized else part

    def cut_box(self, box: Box) -> Box:
        """The box in working pixels, clipped to the working picture, at least one pixel wide and high."""
        (sx, sy), (x0, y0, _, _) = self.scale, self.crop
        left, right = _at_least_one((box[0] - x0) * sx, (box[2] - x0) * sx, self.size[0])
        top, bottom = _at_least_one((box[1] - y0) * sy, (box[3] - y0) * sy, self.size[1])
        return left, top, right, bottom

    def native_mask(self, mask: Mask, within: Mask | None = None) -> Mask:
        """The native mask of a working one, nothing set outside the crop nor outside the native mask `within`.

        Enlarging spreads the edge of a mask by up to a pixel of the working picture; `within` (the union of the native
        regions) keeps it where the user allowed it.
        """
        self._check(mask, self.size, "mask")
        width, height = self.native
        x0, y0, x1, y1 = self.crop
        out = np.zeros((height, width), np.float32)
        part = np.ascontiguousarray(mask, dtype=np.float32)
        for rows in bands(y1 - y0, x1 - x0):
            enlarged = self._enlarged(part, rows, Pictures.Resampling.BILINEAR) if self.resized else part[rows]
            if enlarged.any():  # zeros that are not written take no memory
                here = np.s_[y0 + rows.start : y0 + rows.stop, x0:x1]
                np.clip(enlarged, 0, 1, out=out[here])
                if within is not None:
                    np.minimum(out[here], within[here], out=out[here])
        return out

    def paste_mask(self, mask: Mask, feather_width: float = FEATHER, *, in_place: bool = False) -> Mask:
        """The native mask with the soft inward edge that `paste` blends with; `feather_width` is in working pixels.

        With `in_place` the mask itself is changed.
        """
        self._check(mask, self.native, "mask")
        sx, sy = self.scale
        return feather(mask, round(feather_width / min(sx, sy)), in_place=in_place)

    def paste(self, native: Image, edited: Image, mask: Mask) -> Image:
        """The native image with the edited working image blended in by the native `mask` (see `paste_mask`).

        Where the mask is 0, or outside the crop, the pixels are the native ones, bit for bit; where it is 1 they are
        the edited ones, resized where the frame resized. The mask must have the size of the native image. ValueError
        otherwise.
        """
        self._check(native, self.native, "native image")
        self._check(edited, self.size, "edited image")
        self._check(mask, self.native, "mask")
        out = native.copy()
        if not mask.any():
            return out
        x0, y0, x1, y1 = self.crop
        edited = np.ascontiguousarray(edited)
        for rows in bands(y1 - y0, x1 - x0):
            here = np.s_[y0 + rows.start : y0 + rows.stop, x0:x1]
            alpha = mask[here][..., None]
            if alpha.any():
                before = native[here]
                new = self._enlarged(edited, rows, Pictures.Resampling.LANCZOS) if self.resized else edited[rows]
                blend = before + alpha * (new.astype(np.float32) - before)
                out[here] = np.where(alpha > 0, np.rint(blend).astype(np.uint8), before)
        return out

    def enlarge(self, edited: Image) -> Image:
        """The working image at the size of the native crop (Lanczos; the very pixels when nothing is resized)."""
        self._check(edited, self.size, "edited image")
        if not self.resized:
            return edited
        x0, y0, x1, y1 = self.crop
        out, edited = np.empty((y1 - y0, x1 - x0, 3), np.uint8), np.ascontiguousarray(edited)
        for rows in bands(y1 - y0, x1 - x0):
            out[rows] = self._enlarged(edited, rows, Pictures.Resampling.LANCZOS)
        return out

    def _enlarged(self, working: np.ndarray, rows: slice, how: Pictures.Resampling) -> np.ndarray:
        """Some rows of a working array at the size of the native crop."""
        x0, y0, x1, y1 = self.crop
        width, height = self.size
        step = height / (y1 - y0)
        # The box says which rows come out; Pillow looks at those around it too, so that bands leave no seams.
        box = (0.0, rows.start * step, float(width), min(rows.stop * step, float(height)))
        return np.asarray(Pictures.fromarray(working).resize((x1 - x0, rows.stop - rows.start), how, box=box))

    def _check(self, array: np.ndarray, size: Size, what: str) -> None:
        if array.shape[:2] != (size[1], size[0]):
            raise ValueError(
                f"{what} is {array.shape[1]}x{array.shape[0]} pixels, the frame expects {size[0]}x{size[1]}"
            )


def work_frame(
    size: Size, regions: Sequence[Region], mode: WorkMode, resolution: int | None, multiple: int = 1
) -> Frame:
    """The frame to work in for a native picture of `size`, an editor's `resolution` and the `multiple` of its sides.

    Without a resolution nothing is resized, and auto is full.

    * full: the whole picture at about resolution² pixels, aspect ratio kept;
    * crop: a square around the regions, 1.75 times their longer side and at least `resolution` native pixels where the
      picture has them; the same pixels as the picture's when the square is just `resolution`;
    * auto: crop when it shows the regions at least 1.5 times finer than full would, else full.

    InputRefused: crop without a region.
    """
    width, height = size
    whole = (0, 0, width, height)
    full = Frame(size, whole, size if resolution is None else _working_size(width, height, resolution, multiple))
    boxes = [mask_box(r.mask) if r.mask is not None else r.box for r in regions]
    known = [box for box in boxes if box is not None]
    if mode == "full" or (mode == "auto" and (resolution is None or not known)):
        return full
    if not known:
        raise InputRefused(
            "a crop needs regions to crop around",
            Remedy(
                "give_or_work_full",
                "give {regions}, or use {work}",
                regions=Given(how=("box", "mask")),
                work=Setting("work", "full"),
            ),
        )
    left, top = min(b[0] for b in known), min(b[1] for b in known)
    right, bottom = max(b[2] for b in known), max(b[3] for b in known)
    side = max(math.ceil(CONTEXT * max(right - left, bottom - top)), resolution or 1)
    x0, x1 = _span((left + right) / 2, side, width)
    y0, y1 = _span((top + bottom) / 2, side, height)
    part = x1 - x0, y1 - y0
    crop = Frame(size, (x0, y0, x1, y1), part if resolution is None else _working_size(*part, resolution, multiple))
    if mode == "crop" or min(crop.scale) >= WORTH_A_CROP * min(full.scale):
        return crop
    return full


def _working_size(width: int, height: int, resolution: int, multiple: int) -> Size:
    """Sides divisible by `multiple`, area about resolution², aspect ratio kept as far as that allows.

    A picture that is nearly so by itself is left as it is: pixels that are not resampled come back sharper.
    """
    longest = max(LONGEST * resolution // multiple, 1) * multiple
    fits = width % multiple == 0 and height % multiple == 0 and max(width, height) <= longest
    if fits and 0.75 <= width * height / resolution**2 <= 4 / 3:
        return width, height
    scale = resolution / math.sqrt(width * height)

    def side(native: int) -> int:
        return min(max(round(native * scale / multiple), 1) * multiple, longest)

    return side(width), side(height)


def _span(middle: float, side: int, limit: int) -> tuple[int, int]:
    """The span of `side` pixels around `middle`, moved and at last cut so that it fits into 0..limit."""
    side = min(side, limit)
    first = min(max(round(middle - side / 2), 0), limit - side)
    return first, first + side


def _at_least_one(low: float, high: float, side: int) -> tuple[float, float]:
    low, high = min(max(low, 0.0), float(side)), min(max(high, 0.0), float(side))
    if high - low >= 1:
        return low, high
    first = min(max((low + high) / 2 - 0.5, 0.0), side - 1.0)
    return first, first + 1.0


def _average(mask: Mask, size: Size) -> Mask:
    """The mask at another size, each value the exact mean over its area.

    Pillow's box filter counts whole pixels and now and then leaves one out, and with it a region one pixel wide.
    """
    width, height = size
    rows = np.empty((height, mask.shape[1]))
    for some in bands(mask.shape[1], mask.shape[0]):
        rows[:, some] = _average_rows(mask[:, some], height)
    return np.clip(_average_rows(rows.T, width).T, 0, 1).astype(np.float32)


def _average_rows(values: np.ndarray, count: int) -> np.ndarray:
    """Means over `count` equal stretches of the first axis, from differences of the running sum at their ends."""
    length = len(values)
    ends = np.arange(count + 1) * length / count
    whole = np.minimum(ends.astype(int), length - 1)
    running = np.zeros((length + 1, values.shape[1]))
    np.cumsum(values, axis=0, dtype=np.float64, out=running[1:])
    at_ends = running[whole] + (ends - whole)[:, None] * values[whole]
    return np.diff(at_ends, axis=0) * (count / length)


def to_working(regions: Sequence[Region], frame: Frame) -> tuple[Region, ...]:
    """The regions at working resolution, every mask finite and not empty: what an editor may be given.

    Masks are averaged over area; one that would all but vanish keeps the working pixel that holds most of it, at its
    full strength. Every region must have a mask. InputRefused when one lies outside the frame.
    """
    out = []
    for region in regions:
        if region.mask is None:
            raise InputRefused(f"region {region.phrase!r} has no mask", GIVE_OR_GROUND)
        mask = frame.cut_mask(region.mask)
        if not mask.any():
            raise InputRefused(
                f"region {region.phrase!r} lies outside the part of the picture that is worked on",
                Remedy("work_full", "use {work}", work=Setting("work", "full")),
            )
        peak, full = float(mask.max()), float(region.mask.max())
        if peak < full / 2:
            mask = mask.copy()
            mask[np.unravel_index(int(mask.argmax()), mask.shape)] = full
        box = mask_box(mask) if region.box is None else frame.cut_box(region.box)
        out.append(replace(region, box=box, mask=mask))
    return tuple(out)
