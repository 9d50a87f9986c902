"""What an edit gives back to its caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas.errors import UsageError
from gas.types import EditPlan, Region

if TYPE_CHECKING:
    import numpy as np

    from gas.picture.frame import Frame
    from gas.run.job import PhotoJob, WrittenEdit
    from gas.run.record import Verified
    from gas.run.reuse.told import Told
    from gas.types import Image, Mask


@dataclass(frozen=True)
class Place:
    """A working picture, and the subtasks (by their indices) that were worked on in it; none: all of them."""

    frame: Frame
    subtasks: tuple[int, ...] = ()

    @property
    def coarseness(self) -> float:
        """How many pixels of the photograph one of its pixels shows, along the coarser side."""
        return 1 / min(self.frame.scale)

    def names(self, plan: EditPlan) -> list[str]:
        """What is worked on in it, in the plan's words; empty where that is all of it."""
        named = [plan.subtasks[index] for index in self.subtasks if index < len(plan.subtasks)]
        return [one.region_phrase or one.target or "all" for one in named]


@dataclass(frozen=True)
class Detailed:
    """A subtask's place that got detail after it was edited with `coarse` pixels of the photograph in one.

    `by` is "photograph", where its own detail was kept, or the refiner's name, which drew it in so many `tiles`.
    `sharpness` is the mean gradient there (`gas.picture.detail.sharpness`) of the photograph, after the edit, and with
    the detail; None where the place is too small to have one.
    """

    subtask: int
    coarse: float
    by: str
    tiles: int = 0
    sharpness: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class EditResult:
    """The finished picture at native resolution with everything that led to it.

    `raw` is the editor's own output at working resolution, before anything was pasted back; `frame` says how that
    working picture was cut from the native one, and `mask` (native) where it was pasted. Of several working pictures
    (`places`), and where a place has got detail, `raw` is the native picture with each of them enlarged in its crop,
    and `frame` that of the whole.
    `chosen` are the places that the editor chose itself, native too. `job` is what was run, for `save` (None:
    `Session.edit` was called with an array). `verified` says which subtasks are done, where asked, `detailed` which
    places got detail of their own size.
    `Session.edit` was called with an array). `verified` says which subtasks are done, where asked. `reused` says what
    was taken from the cache, or made anew although the picture was edited before.
    """

    image: Image
    plan: EditPlan
    regions: tuple[Region, ...]
    raw: Image
    mask: Mask
    frame: Frame
    stopped: bool
    log: Mapping[str, Any]
    chosen: tuple[Region, ...] = ()
    verified: Verified | None = None
    job: PhotoJob | None = field(default=None, repr=False, compare=False)
    places: tuple[Place, ...] = ()
    detailed: tuple[Detailed, ...] = ()
    reused: tuple[Told, ...] = field(default=(), compare=False)

    @cached_property
    def asked(self) -> np.ndarray:
        """Where a change was asked for, `(H, W)` bool: in the regions that the user drew or was shown, as the plan's
        `where` means them. Where there are none, and the editor chose its place itself, where it pasted."""
        from gas.masks import any_set
        from gas.regions.where import edited_regions

        places = edited_regions(self.plan, self.regions, (self.image.shape[1], self.image.shape[0]))
        return any_set([region.mask for region in places if region.mask is not None] or [self.mask])

    @property
    def edited_share(self) -> float:
        """The share of the picture's pixels that the edit was pasted into, in [0, 1]."""
        from gas.picture.blend import set_share

        return set_share(self.mask)

    @property
    def beyond_share(self) -> float:
        """The share of the picture's pixels that the edit was pasted into although nobody asked for a change there."""
        from gas.picture.blend import set_share

        return set_share(self.mask, but=self.asked)

    def save(self, path: Path | str, *, gps: bool = False, overwrite: bool = False) -> WrittenEdit:
        """Writes the picture to `path`, read again and checked, with its record in it and in `PATH.gas.json`.

        Size, transparency, colour profile, metadata and depth are those of the file that was edited, as with the
        command line; `gps` keeps its position, and the format follows the extension. A picture that was an array had
        none of these: it is written as 8-bit sRGB, and its record knows it by its pixels alone, so `gas replay` takes
        any file that holds them. UsageError (exit 2) for a name that cannot be used, or is there already without
        `overwrite`; other errors as `gas.picture.photo_write.write`.
        """
        if self.job is None:
            raise UsageError(
                "this result belongs to an array that Session.edit was given, not to a photograph",
                "edit with gas.edit or gas.run.job.prepare, whose results can be saved",
            )
        return self.job.write(self, Path(path), gps=gps, overwrite=overwrite)
