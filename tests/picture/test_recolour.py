"""Another colour for a surface: its hue and chroma, and the lightness structure that stays."""

import numpy as np
import pytest
from shaded import surface

from gas.picture.colour_names import Colour, named
from gas.picture.mapping import mapped, mixed
from gas.picture.oklab import chroma, from_lab, from_lch, hue, hue_difference, to_lab
from gas.picture.recolour import DARKEST, LIGHTEST, Mapping, recolour
from gas.picture.selection.select import all_of
from gas.picture.selection.surface import Surface

RED = surface((40, 120), 30.0, 0.34, dark=0.25, light=0.6)
FULL = np.ones(RED.shape[:2], np.float32)


def colour(name: str) -> Colour:
    found = named(name)
    assert found is not None
    return found


def recoloured(image: np.ndarray, name: str, alpha: np.ndarray | None = None) -> np.ndarray:
    alpha = np.ones(image.shape[:2], np.float32) if alpha is None else alpha
    return recolour(image, alpha, all_of(image, np.ones(image.shape[:2], np.float32)).surface, colour(name))


@pytest.mark.parametrize("name", ["blue", "green", "purple", "teal", "yellow", "pink", "orange", "brown"])
def test_hue_is_hit_and_lightness_structure_stays(name: str) -> None:
    before, after = to_lab(RED), to_lab(recoloured(RED, name))
    middle = np.median(after.reshape(-1, 3), axis=0)
    assert abs(float(hue_difference(float(hue(middle)), float(hue(colour(name).array))))) < 3
    assert np.corrcoef(before[..., 0].ravel(), after[..., 0].ravel())[0, 1] > 0.97
    assert (np.diff(after[0, ::10, 0]) > 0).all(), "what was darker stays darker"


@pytest.mark.parametrize(("name", "lightness"), [("black", DARKEST), ("white", LIGHTEST)])
def test_black_and_white_keep_room_for_shading(name: str, lightness: float) -> None:
    after = to_lab(recoloured(RED, name))
    assert chroma(after).max() < 0.02
    assert float(np.median(after[..., 0])) == pytest.approx(lightness, abs=0.13)
    assert np.ptp(after[..., 0]) > 0.1


def test_a_grey_thing_can_be_given_a_colour() -> None:
    grey = surface((40, 120), 0.0, 0.0, dark=0.3, light=0.8)
    after = to_lab(recoloured(grey, "red"))
    assert abs(float(np.median(hue_difference(hue(after), float(hue(colour("red").array)))))) < 3
    assert float(np.median(chroma(after))) > 0.1


def test_a_black_thing_can_be_given_a_colour() -> None:
    black = from_lab(from_lch(np.linspace(0.02, 0.2, 120)[None, :] * np.ones((40, 1)), 0.0, 0.0))
    after = to_lab(recoloured(black, "red"))
    assert float(np.median(after[..., 0])) > 0.25 and float(np.median(chroma(after))) > 0.08
    assert (np.diff(after[0, ::10, 0]) >= 0).all()


def test_a_white_label_on_red_stays_white() -> None:
    image = RED.copy()
    image[10:30, 50:70] = 245
    after = recoloured(image, "blue")
    assert chroma(to_lab(after))[15:25, 55:65].max() < 0.03


def test_nothing_changes_where_alpha_is_zero() -> None:
    alpha = FULL.copy()
    alpha[:, :60] = 0
    after = recoloured(RED, "blue", alpha)
    assert (after[:, :60] == RED[:, :60]).all() and (after[:, 60:] != RED[:, 60:]).any()


def test_a_leaned_to_colour_goes_half_the_way() -> None:
    whole, half = recoloured(RED, "blue"), recoloured(RED, "bluer")
    assert (half.astype(int) != whole).any() and (half.astype(int) != RED).any()


def test_the_curve_goes_through_its_three_points() -> None:
    mapping = Mapping(Surface(0.45, 30.0, 0.3), colour("pink"))
    found = mapping.shining(np.array([0.0, 0.45, 1.0]))
    assert found == pytest.approx([0, mapping.lightness, 1], abs=1e-6)


def test_a_darker_paint_dims_the_surface_and_not_what_shines_on_it() -> None:
    mapping = Mapping(Surface(0.6, 30.0, 0.3), colour("navy"), towards=1.0)
    own, shine = from_lch(0.8, 0.8 * 0.3, 30.0), from_lch(0.8, 0.01, 30.0)
    dimmed, kept = mapping(np.stack([own, shine]))[:, 0]
    assert dimmed == pytest.approx(0.8 * mapping.lightness / 0.6, abs=0.01) and kept > dimmed + 0.15


def test_the_very_colour_is_that_of_the_name() -> None:
    flat = np.full((8, 8, 3), (200, 40, 40), np.uint8)
    surface_of_flat = all_of(flat, np.ones((8, 8), np.float32)).surface
    after = recolour(flat, np.ones((8, 8), np.float32), surface_of_flat, colour("green"), towards=1.0)
    assert np.abs(to_lab(after)[0, 0] - colour("green").array).max() < 0.02


def test_a_white_thing_in_full_light_takes_a_dark_colour() -> None:
    white = surface((20, 60), 0.0, 0.0, dark=0.9, light=0.99)
    after = to_lab(recoloured(white, "navy"))
    assert after[..., 0].max() < 0.65


def test_the_table_is_as_good_as_the_function() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 60, 3), np.uint8)
    assert np.abs(mapped(image, lambda lab: lab).astype(int) - image).max() <= 2
    change = Mapping(Surface(0.5, 30.0, 0.3), colour("blue"))
    red = surface((60, 60), 30.0, 0.3, dark=0.3, light=0.6)
    exact = from_lab(change(to_lab(red)))
    assert np.abs(mapped(red, change).astype(int) - exact).mean() < 1.5


def test_mixing_is_in_linear_light() -> None:
    black, white = np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)
    assert mixed(black, white, np.full((1, 1), 0.5, np.float32)).tolist() == [[[188, 188, 188]]]
