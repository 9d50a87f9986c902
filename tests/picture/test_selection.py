"""The pixels of a named colour: in light and shade, in whole parts, and not what only looks like it."""

import numpy as np
import pytest
from shaded import disc, on_top, surface

from gas.picture.colour_names import Colour, named
from gas.picture.oklab import from_lab, from_lch
from gas.picture.selection.core import NOT_THERE
from gas.picture.selection.select import Selection, all_of, colours_there, select

SIZE = (120, 160)


def colour(name: str) -> Colour:
    found = named(name)
    assert found is not None
    return found


def whole(size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.ones(size, np.float32)


def taken(image: np.ndarray, name: str, mask: np.ndarray | None = None) -> Selection:
    return select(image, whole(image.shape[:2]) if mask is None else mask, colour(name))


def grey_wall(size: tuple[int, int] = SIZE) -> np.ndarray:
    return surface(size, 80.0, 0.02, dark=0.3, light=0.8)


def test_red_is_red_in_light_and_in_shade_and_its_white_inside_is_not() -> None:
    cup, inside = disc(SIZE, 50), disc(SIZE, 20)
    image = on_top(on_top(grey_wall(), surface(SIZE, 30.0, 0.34), cup), np.full((*SIZE, 3), 240, np.uint8), inside)
    found = taken(image, "red")
    red = cup & ~inside
    deep = disc(SIZE, 46) & ~disc(SIZE, 24)
    assert found.alpha[deep].min() > 0.9, "also where it is darkest"
    assert found.alpha[~disc(SIZE, 54)].max() < 0.1 and found.alpha[disc(SIZE, 16)].max() < 0.1
    assert found.share == pytest.approx(red.mean(), abs=0.05)
    assert found.surface.hue == pytest.approx(30, abs=2) and found.surface.saturation == pytest.approx(0.34, abs=0.03)


def test_nothing_outside_the_mask_is_selected() -> None:
    image = surface(SIZE, 30.0, 0.34)
    mask = np.zeros(SIZE, np.float32)
    mask[30:60, 40:90] = 1
    assert taken(image, "red", mask).alpha[mask == 0].max() == 0


def test_wood_beside_a_red_cup_is_not_red() -> None:
    wood = surface(SIZE, 46.0, 0.22, dark=0.35, light=0.7)
    image = on_top(wood, surface(SIZE, 32.0, 0.35), disc(SIZE, 40))
    found = taken(image, "red")
    assert found.alpha[disc(SIZE, 36)].mean() > 0.95
    assert found.alpha[~disc(SIZE, 44)].mean() < 0.03


def test_a_small_highlight_on_the_surface_belongs_to_it_and_a_white_label_does_not() -> None:
    image = surface(SIZE, 262.0, 0.35, dark=0.4, light=0.5)
    image[60:62, 70:74] = 255
    image[20:60, 20:60] = 250
    found = taken(image, "blue")
    assert found.alpha[60:62, 70:74].min() > 0.5
    assert found.alpha[30:50, 30:50].max() < 0.1


def test_a_hue_at_the_edge_of_its_name_is_followed() -> None:
    """A cat's "green" eyes are nearly yellow."""
    image = on_top(grey_wall(), surface(SIZE, 92.0, 0.2, dark=0.35, light=0.6), disc(SIZE, 40))
    noisy = np.random.default_rng(0).normal(0, 6, image.shape)
    image = np.clip(image + noisy * disc(SIZE, 40)[..., None], 0, 255).astype(np.uint8)
    found = taken(image, "green")
    assert found.alpha[disc(SIZE, 34)].mean() > 0.8


def test_a_sky_takes_in_its_haze() -> None:
    """The horizon is too pale to be blue, but there is no edge between."""
    down = np.linspace(1, 0, SIZE[0])[:, None] * np.ones(SIZE)
    sky = from_lab(from_lch(0.92 - 0.12 * down, 0.09 * down, 245.0))
    sky[100:] = (60, 90, 40)
    found = taken(sky, "blue")
    assert found.alpha[10].min() > 0.9 and found.alpha[80].mean() > 0.8
    assert found.alpha[106:].max() < 0.1


def test_an_end_without_an_edge_fades() -> None:
    """From blue into orange over the whole width: no pixel is where the blue stops."""
    across = np.linspace(0, 1, 400)[None, :] * np.ones((300, 400))
    lab = from_lch(0.6, 0.12 * np.abs(1 - 2 * across), np.where(across < 0.5, 262.0, 60.0))
    row = taken(from_lab(lab), "blue").alpha[150]
    assert row[:60].min() > 0.9 and row[-100:].max() < 0.1
    assert (np.abs(np.diff(row)) < 0.25).all(), "no step anywhere"


@pytest.mark.parametrize(("name", "lightness"), [("white", 0.93), ("black", 0.15), ("grey", 0.55)])
def test_colours_without_a_hue(name: str, lightness: float) -> None:
    rng = np.random.default_rng(1)
    thing = from_lch(lightness + 0.02 * rng.standard_normal(SIZE), 0.004, 60.0)
    image = on_top(surface(SIZE, 262.0, 0.3, dark=0.4, light=0.7), from_lab(thing), disc(SIZE, 40))
    found = taken(image, name)
    assert found.alpha[disc(SIZE, 35)].mean() > 0.95 and found.alpha[~disc(SIZE, 45)].mean() < 0.05


def test_a_colour_that_is_not_there_has_no_share() -> None:
    image = surface(SIZE, 145.0, 0.3)
    found = taken(image, "red")
    assert found.share < NOT_THERE and found.alpha.max() == 0
    names = [name for name, _ in colours_there(image, whole())]
    assert names[0] == "green" and "red" not in names


def test_everything_in_a_mask() -> None:
    image = on_top(grey_wall(), surface(SIZE, 30.0, 0.34), disc(SIZE, 40))
    mask = disc(SIZE, 40).astype(np.float32)
    found = all_of(image, mask)
    assert (found.alpha == mask).all() and found.surface.hue == pytest.approx(30, abs=2)


def test_a_large_picture_is_selected_on_a_small_one_with_edges_of_its_own() -> None:
    size = (900, 1200)
    cup = disc(size, 300)
    image = on_top(grey_wall(size), surface(size, 30.0, 0.34), cup)
    found = taken(image, "red")
    wrong = (found.alpha > 0.5) != cup
    assert wrong.sum() < 0.01 * cup.sum()


def test_the_same_picture_gives_the_same_selection() -> None:
    image = on_top(grey_wall(), surface(SIZE, 30.0, 0.34), disc(SIZE, 40))
    assert (taken(image, "red").alpha == taken(image, "red").alpha).all()
