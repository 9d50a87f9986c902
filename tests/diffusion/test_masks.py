"""From pixels to latent cells: nothing is ever lost on the way."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gas.diffusion.masks import bounding_cells, box_cells, cells_mask, crop_cells, latent_mask, weaken_overlaps

SIZES = st.tuples(st.integers(1, 24), st.integers(1, 24))


def test_a_cell_is_covered_by_its_share() -> None:
    mask = np.zeros((16, 32), np.float32)
    mask[0:8, 0:12] = 1
    assert latent_mask(mask, (2, 4))[0, 0].tolist() == [[1, 0.5, 0, 0], [0, 0, 0, 0]]


def test_a_soft_mask_stays_soft() -> None:
    assert latent_mask(np.full((16, 16), 0.25, np.float32), (2, 2)).unique().tolist() == [0.25]


def test_a_mask_thinner_than_a_cell_still_counts_in_full() -> None:
    mask = np.zeros((64, 64), np.float32)
    mask[30, 5:50] = 1
    latent = latent_mask(mask, (8, 8))
    assert latent.max() == 1
    assert latent[0, 0, 3, 1:6].tolist() == [1] * 5
    assert latent[0, 0, 4].sum() == 0


@given(SIZES, st.data())
@settings(max_examples=200, deadline=None)
def test_no_mask_becomes_empty(size: tuple[int, int], data: st.DataObject) -> None:
    height, width = data.draw(st.tuples(st.integers(size[0], 100), st.integers(size[1], 100)))
    mask = np.zeros((height, width), np.float32)
    mask[data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))] = data.draw(st.floats(1 / 255, 1))
    latent = latent_mask(mask, size)
    assert latent.shape == (1, 1, *size)
    assert latent.max() == pytest.approx(mask.max(), rel=1e-4)
    assert latent.min() >= 0


@pytest.mark.parametrize("bad", [np.zeros((8, 8)), np.full((8, 8), np.nan), -np.ones((8, 8)), np.full((8, 8), np.inf)])
def test_an_impossible_mask_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="mask"):
        latent_mask(bad.astype(np.float32), (2, 2))


def test_box_edges_round_half_to_even_as_in_the_reference_code() -> None:
    assert box_cells((4, 12, 20, 28), (64, 64), (8, 8)) == (0, 2, 2, 4)  # 0.5, 1.5, 2.5, 3.5 cells


@given(SIZES, st.lists(st.floats(0, 1), min_size=4, max_size=4), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=500, deadline=None)
def test_no_box_becomes_empty(size: tuple[int, int], edges: list[float], height: int, width: int) -> None:
    (x0, x1), (y0, y1) = sorted(edges[:2]), sorted(edges[2:])
    box = (x0 * width, y0 * height, x1 * width, y1 * height)
    left, top, right, bottom = box_cells(box, (height, width), size)
    assert 0 <= left < right <= size[1]
    assert 0 <= top < bottom <= size[0]
    assert cells_mask((left, top, right, bottom), size).sum() == (right - left) * (bottom - top)


@given(SIZES, st.integers(0, 3), st.integers(1, 3), st.data())
@settings(max_examples=500, deadline=None)
def test_crops_stay_in_the_grid_and_keep_their_least_size(
    size: tuple[int, int], halvings: int, smallest: int, data: st.DataObject
) -> None:
    h, w = size
    x0, y0 = data.draw(st.integers(0, w - 1)), data.draw(st.integers(0, h - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, w)), data.draw(st.integers(y0 + 1, h))
    grid = (-(-h // 2**halvings), -(-w // 2**halvings))
    left, top, right, bottom = crop_cells((x0, y0, x1, y1), size, grid, smallest)
    assert left >= 0
    assert top >= 0
    assert right <= grid[1]
    assert bottom <= grid[0]
    assert right - left >= min(smallest, grid[1])
    assert bottom - top >= min(smallest, grid[0])


def test_crops_scale_as_in_the_reference_code() -> None:
    assert crop_cells((3, 5, 30, 41), (64, 64), (32, 32)) == (2, 2, 15, 20)  # round(b / 2), half to even
    assert crop_cells((3, 5, 30, 41), (64, 64), (16, 16)) == (1, 1, 8, 10)
    assert crop_cells((62, 62, 64, 64), (64, 64), (16, 16)) == (15, 15, 16, 16)  # where the reference code dies


def test_the_box_around_a_mask() -> None:
    mask = torch.zeros(1, 1, 6, 9)
    mask[0, 0, 2, 3] = 0.1
    mask[0, 0, 4, 7] = 1
    assert bounding_cells(mask) == (3, 2, 8, 5)


def test_the_larger_of_two_masks_is_weakened_where_they_overlap() -> None:
    large, small = cells_mask((0, 0, 4, 4), (4, 8)), cells_mask((3, 0, 5, 4), (4, 8))
    first, second = weaken_overlaps([large, small], 0.3)
    assert torch.equal(second, small)
    assert first[0, 0, 0].tolist() == pytest.approx([1, 1, 1, 0.3, 0, 0, 0, 0])


def test_masks_of_equal_size_weaken_neither() -> None:
    one, other = cells_mask((0, 0, 4, 4), (4, 8)), cells_mask((2, 0, 6, 4), (4, 8))
    first, second = weaken_overlaps([one, other], 0.3)
    assert torch.equal(first, one) and torch.equal(second, other)


@pytest.mark.parametrize(("mode", "kept"), [("assign", 0.3), ("multiply", 0.09)])
def test_a_mask_under_two_smaller_ones(mode: Literal["assign", "multiply"], kept: float) -> None:
    masks = [cells_mask((0, 0, 8, 4), (4, 8)), cells_mask((0, 0, 2, 2), (4, 8)), cells_mask((0, 0, 3, 3), (4, 8))]
    first, second, third = weaken_overlaps(masks, 0.3, mode)
    assert float(first[0, 0, 0, 0]) == pytest.approx(kept)
    assert float(third[0, 0, 0, 0]) == pytest.approx(0.3)
    assert torch.equal(second, masks[1])
