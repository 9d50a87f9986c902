"""Colour arithmetic: OKLab there and back, hue differences, the gamut."""

import numpy as np
import pytest
from shaded import surface

from gas.picture.oklab import (
    chroma,
    from_lab,
    from_lch,
    hue,
    hue_difference,
    in_gamut,
    lab_to_linear,
    to_lab,
)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (1.0, 0.0, 0.0)),
        ((255, 0, 0), (0.6280, 0.2249, 0.1258)),
        ((0, 255, 0), (0.8664, -0.2339, 0.1795)),
        ((0, 0, 255), (0.4520, -0.0325, -0.3115)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
    ],
)
def test_known_colours(rgb: tuple[int, int, int], lab: tuple[float, float, float]) -> None:
    """Values of Ottosson's own page."""
    assert to_lab(np.array(rgb, np.uint8)) == pytest.approx(lab, abs=2e-4)


def test_there_and_back_is_exact_for_every_level() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3), np.uint8)
    assert (from_lab(to_lab(image)) == image).all()


def test_hues_go_the_short_way_round() -> None:
    assert hue_difference(350.0, 10.0) == pytest.approx(-20)
    assert hue_difference(10.0, 350.0) == pytest.approx(20)
    assert hue(from_lch(0.5, 0.1, 200.0)) == pytest.approx(200, abs=1e-3)


def test_hue_and_saturation_stay_from_light_into_shade() -> None:
    lab = to_lab(surface((4, 100), 30.0, 0.3, light=0.6))
    assert np.abs(hue_difference(hue(lab), 30.0)).max() < 3
    assert np.abs(chroma(lab) / lab[..., 0] - 0.3).max() < 0.02


def test_what_srgb_does_not_have_loses_chroma_alone() -> None:
    wide = from_lch(0.7, 0.4, 150.0)
    near = in_gamut(wide)
    linear = lab_to_linear(near)
    assert linear.min() >= -2e-4 and linear.max() <= 1 + 2e-4
    assert near[0] == pytest.approx(0.7) and hue(near) == pytest.approx(150, abs=0.1)
    assert chroma(near) > 0.15, "no more than needed is lost"
    inside = from_lch(0.7, 0.05, 150.0)
    assert (in_gamut(inside) == inside).all()
