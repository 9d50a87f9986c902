"""The pixels of an edit before they were encoded, in a file: a change that is made again begins with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gas.masks import mask_box

if TYPE_CHECKING:
    from gas.run.result import EditResult
    from gas.types import Image, Region


@dataclass(frozen=True)
class Kept:
    """Where an edit differs from its photograph or may, `rows` and `columns`, in the file `path`; `rest` is the result
    without pixels."""

    path: Path
    rows: slice
    columns: slice
    rest: EditResult

    @classmethod
    def of(cls, before: Image, result: EditResult, path: Path) -> Kept:
        """Keeps `result`, made from `before`, both `(H, W, 3)` uint8."""
        touched = (result.image != before).any(axis=2) | (result.mask > 0)
        rows, columns = slice(0, 0), slice(0, 0)
        if touched.any():
            x0, y0, x1, y1 = (int(side) for side in mask_box(touched))
            rows, columns = slice(y0, y1), slice(x0, x1)
        np.savez(path, image=result.image[rows, columns], mask=result.mask[rows, columns])
        none = np.zeros((0, 0, 3), np.uint8)
        rest = replace(result, image=none, raw=none, mask=np.zeros((0, 0), np.float32), regions=(), job=None)
        return cls(path, rows, columns, rest)

    def result(self, before: Image, regions: tuple[Region, ...]) -> EditResult:
        """The result again, with its `regions`. `raw`, which only its own edit could use, is `before`."""
        image, mask = before.copy(), np.zeros(before.shape[:2], np.float32)
        with np.load(self.path, allow_pickle=False) as kept:
            image[self.rows, self.columns] = kept["image"]
            mask[self.rows, self.columns] = kept["mask"]
        return replace(self.rest, image=image, mask=mask, raw=before, regions=regions)
