"""The sheet of `gas compare`: tiles that can be looked at, each with its figures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gas_cli import compare
from gas_cli.compare import Entry, sheet


def picture(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), (10, 120, 30), np.uint8)


def tiles(drawn: np.ndarray) -> tuple[int, list[int]]:
    """The height of the tiles on a sheet, and the width of each, by their colour (enlarging blurs their borders)."""
    green = np.abs(drawn.astype(int) - (10, 120, 30)).max(axis=2) < 40
    rows, columns = green.mean(axis=1) > 0.5, green.mean(axis=0) > 0.5
    edges = np.flatnonzero(np.diff(np.concatenate([[0], columns.astype(int), [0]])))
    return int(rows.sum()), [int(width) for width in edges[1::2] - edges[::2]]


@pytest.mark.parametrize("size", [(128, 128), (64, 96), (100, 30), (30, 100), (300, 90), (400, 1200)])
def test_a_tile_is_256_pixels_high_and_wide(size: tuple[int, int]) -> None:
    high, wide = tiles(sheet([("input", picture(*size)), ("dds 1.0 s, outside 0", picture(*size))]))
    assert high >= 255 and len(wide) == 2 and min(wide) >= 255


def test_photographs_are_512_high_and_nothing_is_over_2048() -> None:
    assert tiles(sheet([("input", picture(1500, 2000))] * 2))[0] in (511, 512)
    assert 2048 <= sheet([("input", picture(3000, 20))] * 2).shape[0] < 2048 + 600, "and its name, a word a line"


def test_each_panel_says_what_was_measured_of_it() -> None:
    result: Any = SimpleNamespace(image=picture(64, 64))
    plain = Entry("dds", False, result, 12.345, 0.0)
    grounded = Entry("dds+grounded", True, result, 3.0, 7.0)
    assert compare._caption(plain) == "dds 12.3 s, outside 0"
    assert compare._caption(grounded) == "dds + grounded 3.0 s, outside 7"
