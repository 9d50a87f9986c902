"""Detail on an enlarged edit: fine light and shade alone, nothing broad, no colour, nothing outside, nothing sharper
than the photograph was."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from gas import bands
from gas.picture import detail
from gas.picture.detail import sharpness, with_detail

SIZE, SCALE = (96, 128), 4.0
RANDOM = np.random.default_rng(3)
GREEN = np.full((*SIZE, 3), (90, 150, 60), np.uint8)
NOISE = RANDOM.normal(0, 12, SIZE)
MASK = np.zeros(SIZE, np.float32)
MASK[20:80, 30:110] = 1
INSIDE = MASK > 0


def picture(luma: np.ndarray, base: np.ndarray = GREEN) -> np.ndarray:
    return np.clip(base + luma[..., None], 0, 255).astype(np.uint8)


def test_it_brings_fine_light_and_shade_and_nothing_outside() -> None:
    made = with_detail(GREEN, picture(NOISE), MASK, SCALE)
    assert (made[~INSIDE] == GREEN[~INSIDE]).all()
    assert sharpness(made, INSIDE) > 0.8 * sharpness(picture(NOISE), INSIDE) > 0 == sharpness(GREEN, INSIDE)


def test_neither_another_colour_nor_another_brightness_comes_in() -> None:
    red = picture(NOISE, np.full((*SIZE, 3), (250, 60, 40), np.uint8))
    made = with_detail(GREEN, red, MASK, SCALE)
    shares = made[INSIDE].astype(float).mean(axis=0)
    assert np.abs(shares - GREEN[0, 0]).max() < 3
    hue = made[INSIDE].astype(float) / made[INSIDE].astype(float).sum(axis=1, keepdims=True)
    assert np.abs(hue - np.array([90, 150, 60]) / 300).max() < 0.02


def test_what_is_broader_than_the_coarse_pixels_stays_the_edits() -> None:
    wide = 30 * np.sin(np.arange(SIZE[1]) / SIZE[1] * 2 * np.pi)[None] * np.ones(SIZE)
    made = with_detail(GREEN, picture(wide), np.ones(SIZE, np.float32), SCALE)
    assert np.abs(made.astype(int) - GREEN).mean() < 5 < np.abs(wide).mean() / 3


def test_a_smooth_place_stays_smooth_and_a_thing_does_not_come_in() -> None:
    smooth = with_detail(GREEN, picture(NOISE), MASK, SCALE, like=GREEN)
    assert (smooth == GREEN).all()
    faint = picture(NOISE / 4)
    thing = NOISE / 4
    thing[45:55, 60:72] = 120
    drawn = with_detail(GREEN, picture(thing), MASK, SCALE, like=faint)
    free = with_detail(GREEN, picture(thing), MASK, SCALE)
    where = np.zeros(SIZE, bool)
    where[44:56, 59:73] = True
    assert sharpness(drawn, where) < 0.5 * sharpness(free, where)
    assert sharpness(drawn, INSIDE) < 1.3 * sharpness(faint, INSIDE)
    away = INSIDE & ~ndimage.binary_dilation(where, iterations=12)
    assert sharpness(drawn, away) > 0.5 * sharpness(faint, away), "elsewhere it is as sharp as the photograph was"


def test_bands_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    fine, like = picture(NOISE), picture(NOISE / 2)
    at_once = with_detail(GREEN, fine, MASK, SCALE, like=like)
    monkeypatch.setattr(detail, "bands", lambda height, width: bands.bands(height, width, 7 * width))
    assert np.abs(with_detail(GREEN, fine, MASK, SCALE, like=like).astype(int) - at_once).max() <= 1


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        with_detail(GREEN, GREEN[:-1], MASK, SCALE)


def test_sharpness_is_the_mean_gradient() -> None:
    ramp = np.repeat((3 * np.arange(20, dtype=np.uint8))[None], 10, axis=0)
    grey = np.stack([ramp] * 3, axis=-1)
    assert sharpness(grey, np.ones((10, 20), bool)) == pytest.approx(3)
    assert np.isnan(sharpness(grey, np.zeros((10, 20), bool)))
