"""Tones: what each does to lightness, warmth and chroma, and that amounts are amounts."""

import numpy as np
import pytest
from shaded import surface

from gas.picture.oklab import chroma, hue, hue_difference, to_lab, to_linear
from gas.picture.tone import TONES, Tone, toned

IMAGE = np.concatenate([surface((20, 100), 30.0, 0.25), surface((20, 100), 250.0, 0.15), surface((20, 100), 0.0, 0.0)])


def means(image: np.ndarray) -> tuple[float, float, float]:
    """Lightness, chroma, and red over blue light."""
    lab, light = to_lab(image), to_linear(image)
    return float(lab[..., 0].mean()), float(chroma(lab).mean()), float(light[..., 0].sum() / light[..., 2].sum())


@pytest.mark.parametrize(
    ("tone", "index", "sign"),
    [("brighter", 0, 1), ("darker", 0, -1), ("warmer", 2, 1), ("cooler", 2, -1), ("more saturated", 1, 1),
     ("less saturated", 1, -1), ("faded", 1, -1), ("black and white", 1, -1)],
)  # fmt: skip
def test_every_tone_goes_its_way_and_more_goes_farther(tone: Tone, index: int, sign: int) -> None:
    before, little, plain, much = (
        means(image)[index] for image in (IMAGE, toned(IMAGE, tone, 0.5), toned(IMAGE, tone), toned(IMAGE, tone, 2.0))
    )
    assert (little - before) * sign > 0 and (plain - little) * sign > 0
    assert (much - plain) * sign >= (0 if tone == "black and white" else 1e-3)


@pytest.mark.parametrize(("tone", "wider"), [("more contrast", True), ("less contrast", False)])
def test_contrast_turns_around_the_median(tone: Tone, wider: bool) -> None:
    before, after = to_lab(IMAGE)[..., 0], to_lab(toned(IMAGE, tone))[..., 0]
    assert (after.std() > before.std()) == wider
    assert float(np.median(after)) == pytest.approx(float(np.median(before)), abs=0.02)


def test_the_median_is_that_of_the_mask() -> None:
    mask = np.zeros(IMAGE.shape[:2], np.float32)
    mask[:, :20] = 1  # the dark end
    before, after = to_lab(IMAGE)[..., 0], to_lab(toned(IMAGE, "more contrast", 1.0, mask))[..., 0]
    assert float(np.median(after[:, :20])) == pytest.approx(float(np.median(before[:, :20])), abs=0.02)
    assert after.mean() > before.mean() + 0.03


def test_brightness_keeps_hue_and_saturation() -> None:
    before, after = to_lab(IMAGE[:20]), to_lab(toned(IMAGE, "darker")[:20])
    assert np.abs(hue_difference(hue(after), hue(before))).mean() < 2
    assert np.abs(chroma(after) / after[..., 0] - chroma(before) / before[..., 0]).mean() < 0.02


def test_warmth_keeps_luminance() -> None:
    weights = np.array([0.2126, 0.7152, 0.0722])
    before, after = to_linear(IMAGE) @ weights, to_linear(toned(IMAGE, "warmer")) @ weights
    assert np.abs(after - before).mean() < 0.01


def test_black_and_white_is_grey_and_sepia_is_brown() -> None:
    grey = toned(IMAGE, "black and white")
    assert np.ptp(grey.astype(int), axis=-1).max() <= 2
    brown = to_lab(toned(IMAGE, "sepia"))
    assert np.abs(hue_difference(hue(brown), 72.0)).mean() < 8


@pytest.mark.parametrize("tone", TONES)
def test_black_and_white_points_give_numbers(tone: Tone) -> None:
    ends = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    out = toned(ends, tone, 4.0)
    assert out.shape == ends.shape and out.dtype == np.uint8
