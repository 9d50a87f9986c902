"""Regions as a folder: masks as PNG files and an index of boxes and scores."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gas import files, notes
from gas.errors import InputRefused
from gas.masks import Size, mask_box
from gas.regions.check import Warn, check_region
from gas.regions.mask_file import read_mask
from gas.remedies import Command, Remedy
from gas.types import Region
from gas.validation import explain, load_json

_GROUND = Remedy("ground_again", "write it with {ground}", ground=Command("ground"))
MAX_REGIONS = 1000


MAX_JSON_BYTES = 64 * 2**20
INDEX = "regions.json"
"""The file of a folder of regions that holds their phrases, boxes and scores."""


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
    targets = [folder / name for name in names] + [folder / INDEX]
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
    files.write_text(folder / INDEX, document.model_dump_json(indent=2) + "\n", overwrite=overwrite)
    return [t for t, r in zip(targets, [*regions, None], strict=True) if r is None or r.mask is not None]


def load_regions(folder: Path, size: Size, *, warn: Warn = notes.warn) -> list[Region]:
    """The regions of a folder, all marked as given: those of its `regions.json`, else one for each PNG file.

    A file `red-car.png` stands for the phrase "red car", and `red-car-2.png` for a second one when `red-car.png` is
    there too. PNG files that `regions.json` does not name are left alone, and `warn` says so; `overlay.png` is never a
    mask. InputRefused: no such folder, nothing in it, a file that cannot be used, or regions made for a picture of
    another size.
    """
    if not folder.is_dir():
        raise InputRefused(f"{folder}: is not a folder", "give a folder of PNG masks, one for each phrase")
    index = folder / INDEX
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
            Remedy("ground_this", "run {ground} on this picture", ground=Command("ground")),
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
        raise InputRefused(error.message, _GROUND) from None
    except ValidationError as error:
        raise InputRefused(f"{path.name}: {explain(error)}", _GROUND) from None


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
