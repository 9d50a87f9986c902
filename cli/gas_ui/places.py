"""Regions on the picture as the page shows and paints them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gas.errors import InputRefused, UsageError
from gas.masks import box_mask, mask_box, moved
from gas.regions.check import check_box, check_mask
from gas.regions.own_mask import own_mask
from gas.types import Region
from gas_ui import views

if TYPE_CHECKING:
    from gas.masks import Size
    from gas.types import Mask


@dataclass
class Place:
    """A region, of the row `row`, with a mask at the photograph's own size.

    `by_hand`: the user has drawn or changed it. `version` counts its changes; `view` are the levels that the page was
    last given, `before` those at the photograph's size before the last change.
    """

    id: str
    row: str
    region: Region
    by_hand: bool = False
    version: int = 0
    view: np.ndarray = field(default_factory=lambda: np.zeros((1, 1), np.uint8), repr=False)
    before: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def of(cls, id: str, row: str, region: Region, *, by_hand: bool) -> Place:
        """A new place; `region` has a mask."""
        assert region.mask is not None
        return cls(id, row, region, by_hand, view=views.levels(region.mask))

    @property
    def mask(self) -> Mask:
        assert self.region.mask is not None
        return self.region.mask

    @property
    def size(self) -> Size:
        """Width and height of the photograph."""
        return self.mask.shape[1], self.mask.shape[0]

    def put(self, mask: np.ndarray, *, view: np.ndarray | None = None) -> None:
        """Another mask, which the user wants. InputRefused (exit 3) as `check_mask`; then everything stays."""
        checked = check_mask(mask, self.size, name=f"region {self.region.phrase!r}")
        self.before = np.rint(self.mask * 255).astype(np.uint8)
        self.region = replace(self.region, mask=checked, box=mask_box(checked), score=None, given=True, note="")
        self.view = views.levels(checked) if view is None else view
        self.by_hand, self.version = True, self.version + 1

    def paint(self, levels: bytes) -> None:
        """The place as it was painted: levels of the view, a byte a pixel. Only what was changed changes."""
        shape = self.view.shape
        if len(levels) != shape[0] * shape[1]:
            raise InputRefused(f"a mask of {len(levels)} levels for a view of {shape[1]}x{shape[0]}", "reload the page")
        after = np.frombuffer(levels, np.uint8).reshape(shape)
        self.put(views.painted(self.mask, self.view, after), view=after)

    def change(self, how: str, pixels: float = 0.0, by: Sequence[float] = (0.0, 0.0)) -> None:
        """Grows or shrinks it by `pixels` of the view, moves it `by` so many to the right and down, inverts it, or
        takes back the last change ("undo")."""
        scale = self.size[0] / views.view_size(self.size)[0]
        if how == "move":
            right, down = (round(one * scale) for one in by)
            self.put(moved(self.mask, right, down))
        elif how in {"grow", "shrink", "invert"}:
            change: dict[str, Any] = {how: True if how == "invert" else pixels * scale}
            self.put(own_mask([self.mask], **change))
        elif how != "undo":
            raise UsageError(f"a region cannot be changed by {how!r}", "use grow, shrink, move, invert, undo or remove")
        elif self.before is not None:
            self.put(self.before)


def drawn(phrase: str, box: Sequence[float], size: Size) -> Region:
    """The region of a box that was drawn on the view, from any corner to the opposite one. InputRefused as
    `check_box`."""
    if len(box) != 4:
        raise InputRefused("a box has four numbers", "draw it again")
    x0, y0, x1, y1 = (float(value) for value in box)
    on_view = min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
    native = check_box(views.native_box(on_view, size), size, sure=True)
    return Region(phrase, native, box_mask(native, size), given=True)


def native_point(point: Sequence[float], size: Size) -> tuple[float, float]:
    """A point of the view in pixels of the photograph, within it."""
    if len(point) != 2:
        raise InputRefused("a point has two numbers", "click again")
    x, y, *_ = views.native_box((point[0], point[1], point[0], point[1]), size)
    return min(max(x, 0.0), size[0] - 1.0), min(max(y, 0.0), size[1] - 1.0)
