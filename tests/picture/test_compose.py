import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import samples, scene

from gas.bands import bands
from gas.errors import InputRefused
from gas.masks import box_mask, union
from gas.picture import photo
from gas.picture.blend import inside_change, is_same, outside_difference, set_share
from gas.picture.frame import Frame, to_working, work_frame
from gas.regions.check import check_region
from gas.types import Region


def region(box, size):
    return check_region(Region("x", box, subtask=0), size)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 6000), st.integers(1, 6000), st.sampled_from([64, 128, 512, 1024]), st.sampled_from([1, 8, 64]))
def test_a_full_frame_has_the_sides_and_area_that_the_editor_wants(width, height, resolution, multiple):
    frame = work_frame((width, height), [], "full", resolution, multiple)
    w, h = frame.size
    assert w % multiple == 0 and h % multiple == 0
    assert 0 < w <= 4 * resolution and 0 < h <= 4 * resolution
    if max(width, height) <= 3 * min(width, height):
        assert 0.7 <= w * h / resolution**2 <= 1.45 or resolution < 3 * multiple
        assert 0.7 <= (w / h) / (width / height) <= 1.4 or resolution < 3 * multiple


def test_a_picture_that_fits_already_is_not_resampled():
    assert not work_frame((128, 128), [], "full", 128, 8).resized
    assert not work_frame((512, 640), [], "full", 512, 8).resized
    assert work_frame((512, 1024), [], "full", 512, 8).resized
    assert work_frame((4096, 1), [], "full", 512, 8).size == (2048, 8)


def test_a_crop_keeps_the_regions_in_sight_at_the_pictures_own_pixels():
    size = (4000, 3000)
    frame = work_frame(size, [region((3700, 100, 3900, 300), size)], "crop", 512, 8)
    assert frame.crop == (3488, 0, 4000, 512)
    assert not frame.resized
    large = work_frame(size, [region((1000, 1000, 2000, 1400), size)], "crop", 512, 8)
    x0, y0, x1, y1 = large.crop
    assert x1 - x0 == y1 - y0 == 1750
    assert x0 <= 1000 and x1 >= 2000 and y0 <= 1000 and y1 >= 1400
    wide = work_frame((4000, 300), [region((10, 10, 900, 290), (4000, 300))], "crop", 512, 8)
    assert wide.crop[1::2] == (0, 300)


def test_auto_crops_only_where_it_pays():
    size = (4000, 3000)
    small, large = region((100, 100, 300, 300), size), region((200, 200, 3700, 2900), size)
    assert work_frame(size, [small], "auto", 512, 8) == work_frame(size, [small], "crop", 512, 8)
    assert work_frame(size, [small, large], "auto", 512, 8).crop == (0, 0, 4000, 3000)
    assert work_frame(size, [], "auto", 512, 8).crop == (0, 0, 4000, 3000)
    assert work_frame((128, 128), [region((10, 10, 30, 30), (128, 128))], "auto", 128, 8).crop == (0, 0, 128, 128)
    with pytest.raises(InputRefused, match="needs regions"):
        work_frame(size, [], "crop", 512, 8)


def test_masks_are_averaged_and_boxes_follow_them():
    frame = Frame((100, 80), (20, 0, 100, 80), (40, 40))
    mask = box_mask((31, 10, 51, 30), (100, 80))
    cut = frame.cut_mask(mask)
    assert cut.shape == (40, 40)
    assert cut.sum() * 4 == pytest.approx(mask.sum())
    assert cut[7, 5] == 0.5
    assert frame.cut_box((31, 10, 51, 30)) == (5.5, 5, 15.5, 15)
    assert frame.cut_box((0, 0, 1, 1)) == (0, 0, 1, 1)


def edited_outside(size, box, mode, resolution=512, feather=None):
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    given_region = region(box, size)
    frame = work_frame(size, [given_region], mode, resolution, 8)
    working = to_working([given_region], frame)
    mask = frame.native_mask(union(w.mask for w in working), given_region.mask)
    mask = frame.paste_mask(mask) if feather is None else frame.paste_mask(mask, feather)
    after = frame.paste(image, 255 - frame.cut(image), mask)
    return image, after, given_region.mask, mask, frame


@pytest.mark.parametrize("mode", ["full", "crop", "auto"])
@pytest.mark.parametrize("size", [(512, 512), (300, 700), (1600, 1200), (50, 37)])
def test_outside_the_region_not_one_bit_changes(size, mode):
    w, h = size
    box = (w * 0.31, h * 0.22, w * 0.6, h * 0.71)
    before, after, given_mask, mask, _ = edited_outside(size, box, mode)
    assert outside_difference(before, after, given_mask) == (0, 0)
    assert ((mask > 0) <= (given_mask > 0)).all()
    assert inside_change(before, after, given_mask) > 20


def test_without_resizing_or_feather_the_edited_pixels_arrive_exactly():
    before, after, given_mask, _, frame = edited_outside((128, 128), (10, 20, 90, 100), "full", 128, feather=0)
    assert not frame.resized
    assert np.array_equal(after[given_mask > 0], (255 - before)[given_mask > 0])
    _, after, given_mask, mask, _ = edited_outside((128, 128), (10, 20, 90, 100), "full", 128)
    assert np.array_equal(after[mask == 1], (255 - before)[mask == 1])
    assert (mask == 1).sum() > 0.7 * (given_mask > 0).sum()


def test_a_blend_is_between_the_two_pictures():
    frame = Frame((16, 16), (0, 0, 16, 16), (16, 16))
    before, edited = np.full((16, 16, 3), 100, np.uint8), np.full((16, 16, 3), 200, np.uint8)
    out = frame.paste(before, edited, np.full((16, 16), 0.25, np.float32))
    assert (out == 125).all()
    faint = frame.paste(before, edited, np.full((16, 16), 0.001, np.float32))
    assert (faint == 100).all()


def test_a_small_region_of_a_large_photograph_keeps_its_detail():
    """Cut and pasted back unchanged, a crop is closer to the photograph than the shrunken whole."""
    picture = photo.read(next(p for p in samples() if p.name == "retina.jpg")).pixels
    size = (picture.shape[1], picture.shape[0])
    drawn = region((600, 600, 800, 800), size)
    losses = {}
    for mode in ("full", "crop"):
        frame = work_frame(size, [drawn], mode, 512, 8)
        losses[mode] = inside_change(picture, frame.paste(picture, frame.cut(picture), drawn.mask), drawn.mask)
    assert losses["crop"] == 0
    assert losses["full"] > 0.5


def test_sizes_that_do_not_fit_are_named():
    frame = Frame((16, 12), (0, 0, 16, 12), (16, 8))
    with pytest.raises(ValueError, match="edited image is 9x8 pixels, the frame expects 16x8"):
        frame.paste(np.zeros((12, 16, 3), np.uint8), np.zeros((8, 9, 3), np.uint8), np.zeros((12, 16), np.float32))
    with pytest.raises(ValueError, match="image is 5x5"):
        frame.cut(np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(ValueError, match="shapes differ"):
        outside_difference(scene(8, 8), scene(8, 9), np.zeros((8, 8)))


def test_differences_are_measured_outside_only():
    before = scene(20, 10)
    mask = box_mask((0, 0, 10, 10), (20, 10))
    after = before.copy()
    after[:, :10] ^= 255
    assert outside_difference(before, after, mask) == (0, 0)
    after[0, 15, 1] = before[0, 15, 1] ^ 7
    difference = outside_difference(before, after, mask)
    change = abs(int(after[0, 15, 1]) - int(before[0, 15, 1]))
    assert difference == (change, change / (10 * 10 * 3))
    assert outside_difference(before, after, np.ones((10, 20))) == (0, 0)
    floats = np.float32([[np.nan, 1.0, 2.0]])
    assert outside_difference(floats, np.float32([[np.nan, 1.5, 9.0]]), np.float32([[0, 0, 1]])) == (0.5, 0.25)
    deep = np.uint16([[0, 65535]])
    assert outside_difference(deep, deep[:, ::-1].copy(), np.zeros((1, 2))) == (65535, 65535)


def test_twelve_megapixels_take_seconds_not_minutes():
    size = (4000, 3000)
    image = np.zeros((3000, 4000, 3), np.uint8)
    sky = region((0, 0, 4000, 1500), size)
    started = time.process_time()
    frame = work_frame(size, [sky], "auto", 512, 8)
    (working,) = to_working([sky], frame)
    mask = frame.paste_mask(frame.native_mask(working.mask, sky.mask))
    frame.paste(image, frame.cut(image), mask)
    assert time.process_time() - started < 5


def test_a_frame_is_a_value():
    frame = work_frame((100, 100), [], "full", 64, 8)
    assert replace(frame) == frame


def test_no_single_pixel_vanishes_in_the_working_mask():
    for native, working in ((29, 24), (97, 96), (1000, 7), (5, 64), (4000, 512)):
        frame = Frame((native, 1), (0, 0, native, 1), (working, 1))
        for column in range(native) if native < 200 else range(0, native, 37):
            mask = np.zeros((1, native), np.float32)
            mask[0, column] = 1
            cut = frame.cut_mask(mask)
            assert cut.sum() * native / working == pytest.approx(1)
            assert np.count_nonzero(cut) <= max(2, working / native + 2)


def test_pasting_in_bands_is_pasting_at_once(monkeypatch):
    """Rows of a band are resized with a look at the rows around it, so that no seam shows."""
    random = np.random.default_rng(0)
    native = random.integers(0, 256, (300, 400, 3)).astype(np.uint8)
    edited = random.integers(0, 256, (36, 48, 3)).astype(np.uint8)
    working = random.random((36, 48)).astype(np.float32)
    frame = Frame((400, 300), (10, 20, 390, 290), (48, 36))
    whole = frame.native_mask(working)
    pasted, enlarged = frame.paste(native, edited, whole), frame.enlarge(edited)
    monkeypatch.setattr("gas.picture.frame.bands", lambda height, width, *_: bands(height, width, 11 * width))
    assert np.allclose(frame.native_mask(working), whole, atol=1e-5)
    assert np.abs(frame.paste(native, edited, whole).astype(int) - pasted).max() <= 1
    assert np.abs(frame.enlarge(edited).astype(int) - enlarged).max() <= 1
    assert np.array_equal(frame.paste(native, edited, whole)[whole == 0], native[whole == 0])


def test_equality_and_shares_in_bands(monkeypatch):
    monkeypatch.setattr("gas.picture.blend.bands", lambda height, width, *_: bands(height, width, 3 * width))
    one = np.arange(120, dtype=np.float32).reshape(10, 12)
    one[3, 3] = np.nan
    other = one.copy()
    assert is_same(one, other)
    other[9, 11] += 1
    mask = np.zeros((10, 12), np.float32)
    assert not is_same(one, other) and not is_same(one, other, where=mask)
    mask[9, 11] = 0.1
    assert is_same(one, other, where=mask) and not is_same(one, one[:9])
    mask[0, :6] = 1
    assert set_share(mask) == 7 / 120 and set_share(mask, but=mask[::-1]) == 7 / 120
    assert set_share(mask, mask[::-1]) == 0
    image = np.zeros((10, 12, 3), np.uint8)
    after = image.copy()
    after[0, 0], after[9, 11] = (3, 0, 0), (0, 6, 0)
    assert inside_change(image, after, mask) == 9 / 21
