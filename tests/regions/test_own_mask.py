"""Masks made of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pictures

from gas.errors import InputRefused
from gas.files import OutputExists
from gas.masks import box_mask, mask_box
from gas.regions.mask_file import read_mask
from gas.regions.own_mask import own_mask, write_mask

SIZE = (60, 40)


def box(*sides: float) -> np.ndarray:
    return box_mask(sides, SIZE)


def test_union_minus_invert() -> None:
    made = own_mask([box(5, 5, 20, 20), box(15, 10, 40, 30)], minus=[box(0, 0, 60, 12)])
    expected = ((box(5, 5, 20, 20) + box(15, 10, 40, 30)) > 0) & (box(0, 0, 60, 12) == 0)
    assert np.array_equal(made, expected)
    assert np.array_equal(own_mask([made], invert=True), ~expected)


def test_growing_shrinking_and_feathering_are_in_pixels_and_in_this_order() -> None:
    made = box(20, 10, 40, 30)
    assert mask_box(own_mask([made], grow=3)) == (17, 7, 43, 33)
    assert mask_box(own_mask([made], shrink=3)) == (23, 13, 37, 27)
    assert np.array_equal(own_mask([made], grow=3, shrink=3), made)
    soft = own_mask([made], grow=3, feather=4)
    assert mask_box(soft) == (17, 7, 43, 33) and 0 < soft[20, 17] < 0.5 and soft[20, 30] == 1


def test_at_the_border_of_the_picture_nothing_is_shrunk() -> None:
    assert mask_box(own_mask([box(0, 0, 20, 40)], shrink=3)) == (0, 0, 17, 40)


def test_soft_masks_stay_soft() -> None:
    soft = box(10, 10, 30, 30) * np.float32(0.4)
    assert own_mask([soft])[15, 15] == np.float32(0.4)
    assert own_mask([soft], invert=True)[15, 15] == pytest.approx(0.6)


def test_what_leaves_nothing_or_does_not_fit_is_refused() -> None:
    made = box(20, 10, 40, 30)
    for how in ({"shrink": 11}, {"minus": [made]}):
        with pytest.raises(InputRefused, match="nothing is left"):
            own_mask([made], **how)
    with pytest.raises(InputRefused, match="the masks are of 30x40 and 60x40 pixels"):
        own_mask([made], minus=[made[:, :30]])


def test_a_mask_is_written_as_it_is_read(tmp_path: Path) -> None:
    soft = own_mask([box(10, 5, 50, 35)], feather=9)
    write_mask(tmp_path / "m.png", soft)
    with Pictures.open(tmp_path / "m.png") as picture:
        assert picture.mode == "L"
    assert np.abs(read_mask(tmp_path / "m.png", SIZE) - soft).max() <= 0.5 / 255 + 1e-6
    with pytest.raises(OutputExists):
        write_mask(tmp_path / "m.png", soft)
