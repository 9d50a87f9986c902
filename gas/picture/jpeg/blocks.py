"""DCT blocks: what an edit changes of a picture is added to the coefficients that the file has already.

For each block new = round(old + DCT(change of the component) / q). A block without a change keeps its coefficients, and
what was rounded off when the file was made is not rounded again, so any sampling of any encoder works.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from gas.picture.jpeg.markers import Layout

Colour = Literal["grey", "RGB", "YCbCr"]

_YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]], np.float32
)
"""Differences of RGB to those of YCbCr (JFIF 1.02)."""


def _dct_matrix() -> np.ndarray:
    k, n = np.mgrid[:8, :8]
    matrix = np.cos((2 * n + 1) * k * np.pi / 16) / 2
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


_DCT = _dct_matrix()


def mcu_size(layout: Layout) -> tuple[int, int]:
    """Width and height in pixels of an MCU: the smallest rectangle that holds whole blocks of every component."""
    across, down = layout.sampling
    return 8 * across, 8 * down


def whole_factors(layout: Layout) -> bool:
    """Whether a sample of each component stands for a whole number of pixels, each way."""
    across, down = layout.sampling
    return all(across % c.across == 0 and down % c.down == 0 for c in layout.components)


def touched_mcus(layout: Layout, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The MCUs `(rows, columns)` bool in which a pixel changes."""
    wide, high = mcu_size(layout)
    height, width = before.shape[:2]
    starts = np.arange(0, width, wide)
    out = np.zeros((-(-height // high), len(starts)), bool)
    for row in range(len(out)):
        rows = np.s_[row * high : (row + 1) * high]
        if np.array_equal(before[rows], after[rows]):  # many times faster than asking for each column
            continue
        changed = (before[rows] != after[rows]).any(axis=(0, 2) if before.ndim == 3 else 0)
        out[row] = np.logical_or.reduceat(changed, starts)
    return out


def apply_change(
    coefficients: Sequence[np.ndarray],
    layout: Layout,
    colour: Colour,
    before: np.ndarray,
    after: np.ndarray,
    touched: np.ndarray,
) -> None:
    """Adds the change from `before` to `after` to the coefficients of the touched MCUs, in place.

    `coefficients` are `(8·rows, 8·columns)` of each component, `before` and `after` `(H, W)` or `(H, W, 3)` uint8 as
    they are stored in the file, which the coefficients decode to and are to decode to. `whole_factors` must hold.
    """
    wide, high = mcu_size(layout)
    for row in np.flatnonzero(touched.any(axis=1)).tolist():
        columns = np.flatnonzero(touched[row])
        first, last = int(columns[0]), int(columns[-1]) + 1
        part = np.s_[row * high : (row + 1) * high, first * wide : last * wide]
        change = _padded(after[part].astype(np.float32) - before[part], high, (last - first) * wide)
        if colour == "YCbCr":
            change = change @ _YCBCR.T
        for index, component in enumerate(layout.components):
            place = row * component.down, first * component.across
            _apply(coefficients[index], layout, index, change[..., index], place)


def _apply(coefficients: np.ndarray, layout: Layout, index: int, change: np.ndarray, place: tuple[int, int]) -> None:
    """Adds the change of one component, of some MCUs of a row in full resolution; `place` is that of their first block,
    (row, column)."""
    first_row, first_column = place
    across, down = layout.sampling
    component = layout.components[index]
    step_x, step_y = across // component.across, down // component.down
    sampled = change.reshape(change.shape[0] // step_y, step_y, change.shape[1] // step_x, step_x).mean(axis=(1, 3))
    rows, columns = sampled.shape[0] // 8, sampled.shape[1] // 8
    # The last MCUs hold blocks beyond the picture, which the file does not count.
    rows = min(rows, coefficients.shape[0] // 8 - first_row)
    columns = min(columns, coefficients.shape[1] // 8 - first_column)
    if rows <= 0 or columns <= 0:
        return
    blocks = sampled[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8).swapaxes(1, 2)
    here = np.s_[8 * first_row : 8 * (first_row + rows), 8 * first_column : 8 * (first_column + columns)]
    old = coefficients[here].reshape(rows, 8, columns, 8).swapaxes(1, 2)
    divisor = np.array(layout.tables[component.table], np.float32).reshape(8, 8)
    new = np.rint(old + (_DCT @ blocks @ _DCT.T) / divisor)
    # What Huffman codes for 8-bit samples can hold (T.81, F.1.2).
    np.clip(new, -1023, 1023, out=new)
    same = ~blocks.any(axis=(2, 3))
    new[same] = old[same]
    coefficients[here] = new.swapaxes(1, 2).reshape(8 * rows, 8 * columns)


def _padded(change: np.ndarray, high: int, wide: int) -> np.ndarray:
    """The change `(high, wide, C)`, beyond the picture's border as at it."""
    if change.ndim == 2:
        change = change[..., None]
    missing = (high - change.shape[0], wide - change.shape[1])
    return np.pad(change, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge") if any(missing) else change
