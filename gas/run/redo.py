"""One change of a finished edit taken back, so that it alone can be made again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gas.errors import InputRefused
from gas.masks import any_set
from gas.picture import photo as photos
from gas.picture import photo_write
from gas.regions.where import edited_regions

if TYPE_CHECKING:
    from gas.picture.photo import Photo
    from gas.run.record import Record


def taken_back(output: Path, original: Photo, record: Record, subtask: int, out: Path) -> Photo:
    """The edited picture in `output` with the pixels of the `original` again in the region of `subtask`, written to
    `out` and read from there.

    Where the regions of other subtasks lie upon it what they did stays. All else stays as it is in `output`; a format
    with loss codes it once more. It carries no record: it is the input of another edit, whose record says so.
    InputRefused (exit 3) for a subtask without a region, or for files of different sizes.
    """
    edited = photos.read(output)
    size = original.size
    if edited.size != size:
        raise InputRefused(f"{output.name} is {edited.size}, {original.name} {size}", "give the original")
    places = edited_regions(record.plan, record.to_regions(), size)
    own = [one.mask for one in places if one.subtask == subtask and one.mask is not None]
    others = [one.mask for one in places if one.subtask != subtask and one.mask is not None]
    if not own:
        raise InputRefused(
            f"change {subtask + 1} has no region of its own, so it cannot be taken back alone", "make the edit again"
        )
    back = any_set(own)
    if others:
        back &= ~any_set(others)
    image = np.where(back[..., None], original.pixels, edited.pixels)
    photo_write.write(edited, out, image, back.astype(np.float32))
    return photos.read(out)
