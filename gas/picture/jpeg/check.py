"""A JPEG file that was made of another is held against it before it gets its name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gas.picture.jpeg.blocks import mcu_size
from gas.picture.jpeg.coefficients import NotExact
from gas.picture.jpeg.markers import Layout

if TYPE_CHECKING:
    from gas.picture.jpeg.markers import Segment

PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}


def untouched_digest(coefficients: Sequence[np.ndarray], layout: Layout, touched: np.ndarray) -> bytes:
    """A digest of all coefficients outside the touched MCUs."""
    digest = hashlib.blake2b()
    for array, component in zip(coefficients, layout.components, strict=True):
        for row in range(len(touched)):
            rows = array[8 * component.down * row : 8 * component.down * (row + 1)]
            if touched[row].any():
                columns = np.repeat(touched[row], 8 * component.across)[: rows.shape[1]]
                rows = np.where(columns, 0, rows)
            digest.update(rows.astype(np.int16).data)  # 16 bits hold them all (T.81, F.1.2)
    return digest.digest()


def check_layout(made: Layout, original: Layout, segments: Sequence[Segment]) -> None:
    """NotExact when the file that was made has another structure than the original, or not these segments."""
    used = {component.table for component in original.components}
    same = {
        "size": made.size == original.size,
        "depth": made.precision == original.precision,
        "sampling": made.components == original.components,
        "tables": all(made.tables.get(slot) == original.tables[slot] for slot in used),
        "restart interval": made.restart == original.restart,
        "progression": (made.frame in PROGRESSIVE) == (original.frame in PROGRESSIVE),
        "segments": made.applications == tuple(segments),
    }
    other = [name for name, equal in same.items() if not equal]
    if other:
        raise NotExact(f"what was written has another {other[0]}")


def pixel_check(before: np.ndarray, layout: Layout, touched: np.ndarray) -> Callable[[slice, np.ndarray], None]:
    """A function that is given the rows of the file that was made, and raises NotExact where one differs from `before`
    beyond the touched MCUs and one pixel: upsampled colour reaches so far."""
    wide, high = mcu_size(layout)
    width = before.shape[1]

    def may_differ(row: int) -> np.ndarray:
        columns = np.repeat(touched[row], wide)[:width]
        out = columns.copy()
        out[1:] |= columns[:-1]
        out[:-1] |= columns[1:]
        return out

    def check(rows: slice, part: np.ndarray) -> None:
        if np.array_equal(part, before[rows]):
            return
        first, last = max((rows.start - 1) // high, 0), min(rows.stop // high, len(touched) - 1)
        if not touched[first : last + 1].any():
            allowed = np.zeros((part.shape[0], width), bool)
        else:
            lines = np.arange(rows.start, rows.stop)
            near = [np.clip(lines + step, 0, before.shape[0] - 1) // high for step in (-1, 0, 1)]
            by_row = {row: may_differ(row) for row in range(first, last + 1)}
            allowed = np.stack([by_row[a] | by_row[b] | by_row[c] for a, b, c in zip(*near, strict=True)])
        differs = part != before[rows]
        if differs.ndim == 3:
            differs = differs.any(axis=2)
        if (differs & ~allowed).any():
            raise NotExact("what was written differs beyond the edited blocks")

    return check
