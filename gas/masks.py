"""Regions: boxes and masks, checked, matched to a plan, grown, feathered, saved, and brought to working size.

Units are those of `gas.types`: boxes in pixels of the upright picture, masks `(H, W)` float32 in [0, 1], 1 = edit
here. `size` is always `(width, height)`. Everything that comes from a user or a file passes `check_box` or
`check_mask` first.
"""

from __future__ import annotations

import difflib
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gas import files
from gas.errors import InputRefused
from gas.plan.file import load_json
from gas.plan.phrases import content_words, main_noun
from gas.types import Box, EditPlan, Region
from gas.validation import explain

if TYPE_CHECKING:
    from gas.types import Mask

Size = tuple[int, int]
Warn = Callable[[str], object]

MAX_REGIONS = 1000
GROW_PIXELS = 2_000_000
MAX_JSON_BYTES = 64 * 2**20
_NUMBER = re.compile(r"\s*([^,%]+?)\s*(%?)\s*$")
_ARTICLES = {"a", "an", "the"}


class Frame(Protocol):
    """What `to_working` needs of a `gas.picture.frame.Frame`."""

    def cut_mask(self, mask: Mask) -> Mask: ...
    def cut_box(self, box: Box) -> Box: ...


# --- checks -----------------------------------------------------------------------------------------------------------


def check_box(
    box: Sequence[float], size: Size, *, name: str = "box", sure: bool = False, warn: Warn = warnings.warn
) -> Box:
    """The box `(x0, y0, x1, y1)` clipped to the picture, in pixels.

    A box that is partly outside is clipped and `warn` says so. InputRefused: not four finite numbers, inverted or
    without area, wholly outside, or all four values within 0..1 in a larger picture (those are fractions, not pixels)
    unless one is `sure` that they are pixels.
    """
    width, height = size
    shown = ",".join(f"{v:g}" if isinstance(v, Real) else repr(v) for v in box)
    if len(box) != 4 or not all(isinstance(v, Real) and math.isfinite(v) for v in box):
        raise InputRefused(f"{name}: {shown} is not four finite numbers", "write x0,y0,x1,y1 in pixels")
    x0, y0, x1, y1 = (float(v) for v in box)
    if x1 <= x0 or y1 <= y0:
        raise InputRefused(
            f"{name}: {shown} is inverted or has no area",
            "write x0,y0,x1,y1 with x0 < x1 and y0 < y1, origin at the top left",
        )
    if not sure and max(width, height) > 1 and all(0 <= v <= 1 for v in (x0, y0, x1, y1)):
        percent = ",".join(f"{v * 100:g}%" for v in (x0, y0, x1, y1))
        raise InputRefused(
            f"{name}: {shown} looks like fractions of the picture, but boxes are in pixels",
            f"write pixels of {width}x{height}, or percentages: {percent}",
        )
    clipped = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        raise InputRefused(
            f"{name}: {shown} lies outside the picture", f"the upright picture is {width}x{height} pixels"
        )
    if clipped != (x0, y0, x1, y1):
        now = ",".join(f"{v:g}" for v in clipped)
        warn(f"{name}: {shown} reaches beyond the picture ({width}x{height}) and was clipped to {now}")
    return clipped


def check_mask(mask: np.ndarray, size: Size, *, name: str = "mask") -> Mask:
    """The mask as `(H, W)` float32 in [0, 1], rounded to steps of 1/255 so that a record can hold it exactly.

    Booleans and uint8 (0..255) are converted. InputRefused: not two-dimensional, another size than the picture, values
    that are not finite or not in [0, 1], nothing set.
    """
    array = np.asarray(mask)
    width, height = size
    if array.ndim != 2:
        raise InputRefused(
            f"{name}: has {array.ndim} dimensions {array.shape}", f"a mask is ({height}, {width}): height, width"
        )
    if array.shape != (height, width):
        raise InputRefused(
            f"{name}: is {array.shape[1]}x{array.shape[0]} pixels, the upright picture {width}x{height}",
            "save the mask at the picture's own size, turned the way the picture is shown",
        )
    if array.dtype == np.uint8:
        array = array.astype(np.float32) / 255
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise InputRefused(f"{name}: holds NaN or infinite values", "a mask holds numbers from 0 to 1")
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        raise InputRefused(f"{name}: values run from {low:g} to {high:g}", "a mask holds numbers from 0 to 1")
    array = np.round(array * 255) / np.float32(255)
    if not array.any():
        raise InputRefused(f"{name}: is empty: no pixel is set", "paint the part to be edited white, the rest black")
    return array


def check_region(region: Region, size: Size, *, warn: Warn = warnings.warn) -> Region:
    """The region with both a checked box and a checked mask: each is made from the other where it is missing.

    InputRefused as `check_box` and `check_mask`, and when it has neither.
    """
    name = f"region {region.phrase!r}"
    if region.mask is not None:
        mask = check_mask(region.mask, size, name=name)
        box = mask_box(mask) if region.box is None else check_box(region.box, size, name=name, warn=warn)
    elif region.box is not None:
        box = check_box(region.box, size, name=name, warn=warn)
        mask = box_mask(box, size)
    else:
        raise InputRefused(f"{name} has neither box nor mask", "give --box or --mask, or name a grounder")
    return replace(region, box=box, mask=mask)


# --- boxes and masks --------------------------------------------------------------------------------------------------


def box_mask(box: Box, size: Size) -> Mask:
    """The mask `(H, W)` of a box: 1 where the box covers a pixel, its edges rounded to whole pixels; never empty.

    A box that is thinner than a pixel takes the pixel that holds its middle. The box must overlap the picture.
    """
    width, height = size
    mask = np.zeros((height, width), np.float32)
    x0, x1 = _pixels(box[0], box[2], width)
    y0, y1 = _pixels(box[1], box[3], height)
    mask[y0:y1, x0:x1] = 1
    return mask


def mask_box(mask: Mask) -> Box:
    """The tight box around all that is set in the mask (more than 0). ValueError when nothing is."""
    # max, not any: it is several times faster on floats, and a large photograph has a hundred million of them.
    rows = np.flatnonzero(mask.max(axis=1))
    if not len(rows):
        raise ValueError("an empty mask has no box")
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].max(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def grow_box(box: Box, size: Size, fraction: float = 0.15, at_least: float = 0.0) -> Box:
    """The box, each edge moved out by `fraction` of its width or height, at least `at_least` pixels; clipped."""
    dx = max(fraction * (box[2] - box[0]), at_least)
    dy = max(fraction * (box[3] - box[1]), at_least)
    return max(box[0] - dx, 0.0), max(box[1] - dy, 0.0), min(box[2] + dx, size[0]), min(box[3] + dy, size[1])


def grow(mask: Mask, fraction: float = 0.15, at_least: float = 0.0) -> Mask:
    """The mask grown outwards: by `fraction` of the width and height of its box, at least `at_least` pixels.

    The new border is binary; what was soft stays at least as strong. A mask that fills its box stays a box; any other
    grows by an ellipse. An empty mask is returned as it is.
    """
    if not mask.any():
        return mask
    box = mask_box(mask)
    x0, y0, x1, y1 = (int(v) for v in box)
    if (mask[y0:y1, x0:x1] > 0).all():
        grown = box_mask(grow_box(box, (mask.shape[1], mask.shape[0]), fraction, at_least), mask.shape[::-1])
        return np.maximum(mask, grown)
    rx = max(fraction * (x1 - x0), at_least)
    ry = max(fraction * (y1 - y0), at_least)
    if rx <= 0 or ry <= 0:
        return mask
    # Only a window around the mask can change: distances over a whole large photograph would take seconds.
    px, py = math.ceil(rx) + 1, math.ceil(ry) + 1
    window = np.s_[max(y0 - py, 0) : y1 + py, max(x0 - px, 0) : x1 + px]
    part = mask[window]
    # Exact distances take 22 s and 4 GB on a hundred megapixels. A growth of many pixels may be that much coarser.
    step = min(math.ceil(math.sqrt(part.size / GROW_PIXELS)), max(int(min(rx, ry) / 4), 1))
    coarse = _pool_max(part > 0, step)
    from scipy import ndimage  # slow to import, and a plan alone does without

    near = ndimage.distance_transform_edt(~coarse, sampling=(step / ry, step / rx)) <= 1
    near = near.repeat(step, axis=0).repeat(step, axis=1)[: part.shape[0], : part.shape[1]]
    out = mask.copy()
    out[window] = np.where(near, np.float32(1), part)
    return out


def with_room(region: Region, fraction: float) -> Region:
    """The region with a mask in which the thing found there may become one of another shape; it must have a mask.

    A truck does not fit a car's silhouette, so a thing gets all of its box (the papers' mask), moved out on every side
    by `fraction` of the box's longer side, which gives flat things more room above. What spans the picture from edge to
    edge, a sky or a floor, is background: its outline is made by what stands before it, so its mask only grows by a
    tenth of `fraction` of the picture's longer side, or a seam of it would stay around those things. With a `fraction`
    of 0 everything stays.
    """
    mask = region.mask
    if mask is None or not mask.any() or fraction <= 0:
        return region
    height, width = mask.shape
    x0, y0, x1, y1 = mask_box(mask)
    if (x0 <= 0 and x1 >= width) or (y0 <= 0 and y1 >= height):
        return replace(region, mask=grow(mask, 0.0, at_least=fraction / 10 * max(width, height)))
    x0, y0, x1, y1 = (x0, y0, x1, y1) if region.box is None else _around_both((x0, y0, x1, y1), region.box)
    room = grow_box((x0, y0, x1, y1), (width, height), 0.0, at_least=fraction * max(x1 - x0, y1 - y0))
    return replace(region, mask=np.maximum(mask, box_mask(room, (width, height))))


def shrink(mask: Mask, pixels: float) -> Mask:
    """The mask without its outer `pixels`; at least its innermost pixels stay, so it never becomes empty.

    Edges at the picture's border are not shrunk: there is nothing outside.
    """
    window = _around(mask)
    if window is None or pixels <= 0:
        return mask
    if (mask > 0).all():
        return mask
    from scipy import ndimage

    depth = ndimage.distance_transform_cdt(mask[window] > 0)
    out = np.zeros_like(mask)
    out[window] = np.where(depth > min(pixels, int(depth.max()) - 1), mask[window], 0)
    return out


def feather(mask: Mask, pixels: float) -> Mask:
    """The mask with a soft edge that runs inward: 0 stays 0, so nothing outside the region is touched.

    The strength rises linearly from the region's edge and is full `pixels` inside. In a part that is too thin for that
    the ramp is shortened so that the middle of the part is reached in full. At the picture's border there is no ramp.
    """
    if pixels <= 0 or (mask > 0).all():
        return mask
    window = _around(mask)
    if window is None:
        return mask
    inside = mask[window] > 0
    from scipy import ndimage

    depth = ndimage.distance_transform_cdt(inside)
    parts, count = ndimage.label(inside, structure=np.ones((3, 3)))
    deepest = np.ones(count + 1, depth.dtype)
    np.maximum.at(deepest, parts.ravel(), depth.ravel())
    ramp = np.minimum(deepest.astype(np.float32), np.float32(pixels + 1))
    out = mask.copy()
    out[window] *= np.minimum(depth / ramp[parts], np.float32(1))
    return out


def union(masks: Iterable[Mask]) -> Mask:
    """The mask of what is in any of the masks (maximum). ValueError when there is none."""
    return _combine(np.maximum, masks)


def intersection(masks: Iterable[Mask]) -> Mask:
    """The mask of what is in all of the masks (minimum); may be empty. ValueError when there is none."""
    return _combine(np.minimum, masks)


def minus(mask: Mask, other: Mask) -> Mask:
    """The mask of what is in `mask` but not in `other`; may be empty."""
    return np.minimum(mask, 1 - other)


def fill_holes(mask: Mask) -> Mask:
    """The mask with holes that it encloses set to 1."""
    from scipy import ndimage

    holes = ndimage.binary_fill_holes(mask > 0) & (mask == 0)
    return np.where(holes, np.float32(1), mask)


def to_working(regions: Sequence[Region], frame: Frame) -> tuple[Region, ...]:
    """The regions at working resolution, every mask finite and not empty: what an editor may be given.

    Masks are averaged over area; one that would all but vanish keeps the working pixel that holds most of it, at its
    full strength. Every region must have a mask. InputRefused when one lies outside the frame.
    """
    out = []
    for region in regions:
        if region.mask is None:
            raise InputRefused(f"region {region.phrase!r} has no mask", "give --box or --mask, or name a grounder")
        mask = frame.cut_mask(region.mask)
        if not mask.any():
            raise InputRefused(
                f"region {region.phrase!r} lies outside the part of the picture that is worked on", "use --work full"
            )
        peak, full = float(mask.max()), float(region.mask.max())
        if peak < full / 2:
            mask = mask.copy()
            mask[np.unravel_index(int(mask.argmax()), mask.shape)] = full
        box = mask_box(mask) if region.box is None else frame.cut_box(region.box)
        out.append(replace(region, box=box, mask=mask))
    return tuple(out)


# --- given by hand ----------------------------------------------------------------------------------------------------


def parse_box(text: str, size: Size, *, warn: Warn = warnings.warn) -> Region:
    """The region of a command-line box `phrase=x0,y0,x1,y1`, in pixels of the upright picture or percentages.

    `sky=0%,0%,100%,40%` is the upper part; bare fractions are refused, since 0,0,1,1 could be one pixel or everything.
    InputRefused names the text and what is wrong with it.
    """
    phrase, values = _split(text, "--box", "x0,y0,x1,y1")
    numbers = []
    sides = (size[0], size[1]) * 2
    parts = values.split(",")
    for part, side in zip(parts, sides, strict=False):
        match = _NUMBER.match(part)
        try:
            number = float(match.group(1)) if match else math.nan
        except ValueError:
            number = math.nan
        numbers.append(number * side / 100 if match and match.group(2) else number)
    if len(parts) != 4 or not all(math.isfinite(n) for n in numbers):
        raise InputRefused(
            f"--box {text!r}: {values!r} is not four finite numbers",
            f"write --box {phrase!r}=x0,y0,x1,y1 in pixels of {size[0]}x{size[1]}, or with % signs",
        )
    box = check_box(numbers, size, name=f"--box {text!r}", sure="%" in values, warn=warn)
    return Region(phrase, box, box_mask(box, size), given=True)


def parse_mask(text: str, size: Size, *, warn: Warn = warnings.warn) -> Region:
    """The region of a command-line mask `phrase=FILE`. InputRefused names the file and what is wrong with it."""
    phrase, path = _split(text, "--mask", "FILE")
    mask = read_mask(Path(path), size, warn=warn)
    return Region(phrase, mask_box(mask), mask, given=True)


def read_mask(path: Path, size: Size, *, warn: Warn = warnings.warn) -> Mask:
    """The mask of a picture file: white = edit here, colours by their strongest channel, transparent = 0.

    A file that holds only the levels 0 and 1 is taken as 0 and 255. InputRefused as `gas.picture.photo.read` and `check_mask`.
    """
    from gas.picture import photo

    picture = photo.read(path)
    levels = picture.pixels.max(axis=2)
    if picture.alpha is not None:
        levels = np.minimum(levels, picture.alpha)
    if levels.max() == 1:
        warn(f"mask {path.name}: holds only the levels 0 and 1; 1 is taken as white")
        levels = levels * np.uint8(255)
    return check_mask(levels, size, name=f"mask {path.name}")


def match(regions: Sequence[Region], plan: EditPlan) -> list[Region]:
    """The given regions, each with the index of its subtask, in the order of the subtasks.

    A region's phrase may be the subtask's source or, for an addition, its anchor or its target; case, articles and
    punctuation do not matter, and words may be missing where only one phrase can be meant ("car" for "a red car").
    Where several subtasks have the same phrase, the regions of that phrase are dealt out in order, one each; where one
    has, it gets them all. InputRefused: a phrase that is not in the plan (the nearest one is named), more regions than
    the plan's repeated phrase has subtasks.
    """
    wanted: dict[str, list[int]] = {}
    shown: dict[str, str] = {}
    for index, subtask in enumerate(plan.subtasks):
        phrases = (subtask.anchor or "", subtask.target) if subtask.action == "add" else (subtask.source,)
        for phrase in phrases:
            key = phrase_key(phrase)
            if key and index not in wanted.setdefault(key, []):
                wanted[key].append(index)
                shown.setdefault(key, phrase)
    given: dict[str, list[Region]] = {}
    out: list[Region] = []
    for region in regions:
        key = phrase_key(region.phrase)
        if key not in wanted:
            key = _shorter_for(region.phrase, shown) or key
        if key not in wanted:
            near = difflib.get_close_matches(key, wanted, n=1, cutoff=0.5)
            hint = f"did you mean {shown[near[0]]!r}? " if near else ""
            raise InputRefused(
                f"no subtask of the plan is about {region.phrase!r}",
                f"{hint}the plan's phrases are: {', '.join(repr(p) for p in shown.values())}",
            )
        if region.subtask is not None and region.subtask in wanted[key]:
            out.append(region)
        else:
            given.setdefault(key, []).append(region)
    for key, group in given.items():
        indices = wanted[key]
        if len(indices) == 1:
            out += [replace(region, subtask=indices[0]) for region in group]
        elif len(group) > len(indices):
            raise InputRefused(
                f"{len(group)} regions for {shown[key]!r}, but the plan names it {len(indices)} times",
                "give one region for each, in the order of the plan",
            )
        else:
            out += [replace(region, subtask=index) for region, index in zip(group, indices, strict=False)]
    return sorted(out, key=lambda region: region.subtask if region.subtask is not None else -1)


def _shorter_for(phrase: str, shown: Mapping[str, str]) -> str | None:
    """The key of the only phrase in `shown` that speaks of the same thing in more words; None if there are several."""
    words, noun = set(content_words(phrase)), main_noun(phrase)
    fitting = [k for k, full in shown.items() if main_noun(full) == noun and words <= set(content_words(full))]
    return fitting[0] if noun is not None and len(fitting) == 1 else None


def phrase_key(phrase: str) -> str:
    """The phrase as a key for comparison: its slug without articles; empty for an empty phrase."""
    words = [w for w in files.slug(phrase, empty="").split("-") if w and w not in _ARTICLES]
    return "-".join(words)


# --- run lengths ------------------------------------------------------------------------------------------------------


class RLE(BaseModel):
    """A mask as run lengths: COCO's uncompressed form, columns first, the first run (perhaps 0) being unset pixels.

    `size` is `[height, width]`. A soft mask has `levels`: the level (0..255) of each run, one for each of `counts`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[int, int]
    counts: tuple[int, ...]
    levels: tuple[int, ...] | None = None


def encode_rle(mask: Mask) -> RLE:
    """The run lengths of a mask with levels in steps of 1/255 (as `check_mask` leaves it)."""
    height, width = mask.shape
    flat = np.round(np.asarray(mask, np.float32) * 255).astype(np.uint8).ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    counts = np.diff(np.concatenate([starts, [flat.size]]))
    levels = flat[starts]
    if np.isin(levels, (0, 255)).all():
        if levels[0]:
            counts = np.concatenate([[0], counts])
        return RLE(size=(height, width), counts=tuple(counts.tolist()))
    return RLE(size=(height, width), counts=tuple(counts.tolist()), levels=tuple(levels.tolist()))


def decode_rle(rle: RLE, *, max_pixels: int = 200_000_000) -> Mask:
    """The mask `(H, W)` of run lengths. InputRefused when they do not fit their size, or it is beyond `max_pixels`."""
    height, width = rle.size
    if height < 1 or width < 1 or height * width > max_pixels:
        raise InputRefused(f"run lengths of a mask of {width}x{height} pixels", f"at most {max_pixels} pixels are read")
    if any(c < 0 for c in rle.counts) or sum(rle.counts) != height * width:
        raise InputRefused(
            f"run lengths do not add up to {width}x{height} pixels", "make the mask again with gas ground"
        )
    if rle.levels is None:
        levels = np.arange(len(rle.counts), dtype=np.int64) % 2 * 255
    elif len(rle.levels) == len(rle.counts) and all(0 <= v <= 255 for v in rle.levels):
        levels = np.asarray(rle.levels)
    else:
        raise InputRefused("run lengths need one level from 0 to 255 each", "make the mask again with gas ground")
    flat = np.repeat(levels.astype(np.uint8), np.asarray(rle.counts, np.int64))
    return flat.reshape((height, width), order="F").astype(np.float32) / np.float32(255)


# --- folders of masks -------------------------------------------------------------------------------------------------


class _SavedRegion(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    phrase: str = Field(max_length=500)
    subtask: int | None = Field(None, ge=0)
    box: tuple[float, float, float, float] | None = None
    score: float | None = None
    mask: str | None = Field(None, max_length=255)
    given: bool = False


class _SavedRegions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(1, ge=1, le=1)
    size: tuple[int, int]
    regions: tuple[_SavedRegion, ...] = Field(max_length=MAX_REGIONS)


def save_regions(folder: Path, size: Size, regions: Sequence[Region], *, overwrite: bool = False) -> list[Path]:
    """The files written into `folder` (made if need be): a PNG mask for each region and `regions.json`.

    Masks are named after the phrase (`red-car.png`, `red-car-2.png`); the JSON has phrases, subtask indices, boxes,
    scores and the mask files' names. OutputExists (exit 2) when a file is there and `overwrite` is not set.
    """
    from PIL import Image as Pictures

    files.make_folder(folder)
    names = files.unique_names([files.slug(region.phrase, empty="region") for region in regions], ".png")
    targets = [folder / name for name in names] + [folder / "regions.json"]
    if not overwrite:
        files.refuse_existing(targets)
    saved = []
    for region, name in zip(regions, names, strict=True):
        entry = {"phrase": region.phrase, "subtask": region.subtask, "box": region.box, "score": region.score}
        if region.mask is not None:
            with files.atomic(folder / name, overwrite=overwrite) as stream:
                levels = np.round(region.mask * 255).astype(np.uint8)
                Pictures.fromarray(levels).save(stream, "PNG")
            entry["mask"] = name
        saved.append(_SavedRegion.model_validate({**entry, "given": region.given}))
    document = _SavedRegions(version=1, size=size, regions=tuple(saved))
    files.write_text(folder / "regions.json", document.model_dump_json(indent=2) + "\n", overwrite=overwrite)
    return [t for t, r in zip(targets, [*regions, None], strict=True) if r is None or r.mask is not None]


def load_regions(folder: Path, size: Size, *, warn: Warn = warnings.warn) -> list[Region]:
    """The regions of a folder, all marked as given: those of its `regions.json`, else one for each PNG file.

    A file `red-car.png` stands for the phrase "red car", and `red-car-2.png` for a second one when `red-car.png` is
    there too. PNG files that `regions.json` does not name are left alone, and `warn` says so; `overlay.png` is never a
    mask. InputRefused: no such folder, nothing in it, a file that cannot be used, or regions made for a picture of
    another size.
    """
    if not folder.is_dir():
        raise InputRefused(f"{folder}: is not a folder", "give a folder of PNG masks, one for each phrase")
    index = folder / "regions.json"
    masks = {p.name: p for p in sorted(folder.iterdir()) if p.suffix.lower() == ".png" and p.name != "overlay.png"}
    if not index.exists():
        out = [_named_region(path, masks, size, warn) for path in sorted(masks.values(), key=_by_number)]
        if not out:
            raise InputRefused(f"{folder}: holds no PNG masks", "name each after its phrase, such as red-car.png")
        return out
    document = _read_index(index)
    if document.size != tuple(size):
        raise InputRefused(
            f"{index.name}: regions of a picture of {document.size[0]}x{document.size[1]} pixels, "
            f"this one is {size[0]}x{size[1]}",
            "run gas ground on this picture",
        )
    used = set()
    out = []
    for saved in document.regions:
        mask = None
        if saved.mask is not None:
            if saved.mask not in masks:
                raise InputRefused(
                    f"{index.name}: mask {saved.mask!r} is not a PNG file in the folder",
                    "put it there, or drop the line",
                )
            used.add(saved.mask)
            mask = read_mask(masks[saved.mask], size, warn=warn)
        region = Region(saved.phrase, saved.box, mask, saved.score, saved.subtask, given=True)
        out.append(check_region(region, size, warn=warn))
    for name in sorted(masks.keys() - used):
        warn(f"{name}: not named in {index.name}, left alone")
    if not out:
        raise InputRefused(f"{index}: names no regions", "add some, or remove the file to use the PNG masks alone")
    return out


def _read_index(path: Path) -> _SavedRegions:
    text = files.read_text(path, max_bytes=MAX_JSON_BYTES)
    try:
        return _SavedRegions.model_validate(load_json(text, path.name, max_bytes=MAX_JSON_BYTES, max_depth=8))
    except InputRefused as error:
        raise InputRefused(error.message, "write it with gas ground") from None
    except ValidationError as error:
        raise InputRefused(f"{path.name}: {explain(error)}", "write it with gas ground") from None


def _named_region(path: Path, masks: Mapping[str, Path], size: Size, warn: Warn) -> Region:
    stem = path.stem
    numbered = re.fullmatch(r"(.+)-\d+", stem)
    if numbered and any(Path(name).stem == numbered.group(1) for name in masks):
        stem = numbered.group(1)
    mask = read_mask(path, size, warn=warn)
    return Region(stem.replace("-", " ").replace("_", " "), mask_box(mask), mask, given=True)


def _by_number(path: Path) -> tuple[str, int]:
    numbered = re.fullmatch(r"(.+)-(\d{1,9})", path.stem)
    return (numbered.group(1), int(numbered.group(2))) if numbered else (path.stem, 0)


def _split(text: str, flag: str, form: str) -> tuple[str, str]:
    # The phrase may hold an equals sign itself ("2+2=4 on the board"); a box cannot, and a file's name hardly does.
    phrase, equals, value = text.rpartition("=")
    if not equals or not phrase.strip() or not value.strip():
        raise InputRefused(f"{flag} {text!r}: a phrase, '=' and {form} are needed", f"write {flag} 'red car={form}'")
    return phrase.strip(), value.strip()


def _pixels(low: float, high: float, side: int) -> tuple[int, int]:
    first, last = math.floor(low + 0.5), math.floor(high + 0.5)
    if last <= first:
        first = math.floor((low + high) / 2)
        last = first + 1
    first = min(max(first, 0), side - 1)
    return first, max(min(last, side), first + 1)


def _around_both(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _pool_max(mask: np.ndarray, step: int) -> np.ndarray:
    """The boolean mask reduced by `step`: a cell is set when any pixel in it is."""
    if step == 1:
        return mask
    rows = np.logical_or.reduceat(mask, np.arange(0, mask.shape[0], step), axis=0)
    return np.logical_or.reduceat(rows, np.arange(0, mask.shape[1], step), axis=1)


def _around(mask: Mask) -> tuple[slice, slice] | None:
    """The window of the mask's box and one pixel around it, which keeps work local; None if it is empty."""
    if not mask.any():
        return None
    x0, y0, x1, y1 = (int(v) for v in mask_box(mask))
    return np.s_[max(y0 - 1, 0) : y1 + 1, max(x0 - 1, 0) : x1 + 1]


def _combine(function: np.ufunc, masks: Iterable[Mask]) -> Mask:
    first, *rest = masks
    out = first.copy()
    for mask in rest:
        function(out, mask, out=out)
    return out
