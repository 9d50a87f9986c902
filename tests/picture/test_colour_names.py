"""Names of colours: looked up, found in phrases, modified, and what a colour is called."""

import numpy as np
import pytest

from gas.picture.colour_names import (
    GREYS,
    PLAIN_NAMES,
    colour_names,
    colours_in,
    family_of,
    members,
    named,
    nearest_names,
)
from gas.picture.oklab import chroma, from_lch, hue, hue_difference


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("a blue cup", ["blue"]),
        ("blue", ["blue"]),
        ("a dark green wall", ["dark green"]),
        ("a navy-blue car", ["navy blue"]),
        ("a big red car with a white roof", ["red"]),
        ("a house that is pink", ["pink"]),
        ("a cup in dark green", ["dark green"]),
        ("a black and white cat", ["black", "white"]),
        ("black and white", ["black", "white"]),
        ("an orange", []),
        ("an orange suit", ["orange"]),
        ("a salmon", []),
        ("a car on a white road", []),
        ("a tiger", []),
        ("a very dark car", []),
        ("a golden dress", ["golden"]),
        ("a rose-coloured dress", ["rose"]),
        ("a bluer sky", ["bluer"]),
    ],
)
def test_colours_of_a_phrase_are_those_of_its_thing(phrase: str, expected: list[str]) -> None:
    assert [colour.name for colour in colours_in(phrase)] == expected


@pytest.mark.parametrize("name", [*PLAIN_NAMES])
def test_every_plain_name_is_of_its_own_family(name: str) -> None:
    colour = named(name)
    assert colour is not None and colour.family == name
    assert members(colour.array[None], name).all()
    assert colour.grey == (name in GREYS)


def test_what_people_call_green_is_not_the_css_green() -> None:
    green = named("green")
    assert green is not None and green.lab[0] > 0.6, "CSS green is #008000, of lightness 0.52"


@pytest.mark.parametrize(("shade", "sign"), [("dark", -1), ("deep", -1), ("light", 1), ("pale", 1)])
def test_shades_change_lightness_and_keep_the_hue(shade: str, sign: int) -> None:
    plain, shaded = named("teal"), named(f"{shade} cornflower blue" if shade == "deep" else f"{shade} turquoise")
    base = named("cornflower blue") if shade == "deep" else named("turquoise")
    assert plain is not None and shaded is not None and base is not None
    assert (shaded.lab[0] - base.lab[0]) * sign > 0.03
    assert abs(float(hue_difference(float(hue(shaded.array)), float(hue(base.array))))) < 25


def test_a_colour_that_is_leaned_to_is_half_a_colour() -> None:
    bluer, blue = named("bluer"), named("blue")
    assert bluer is not None and blue is not None
    assert bluer.share == 0.5 and bluer.lab == blue.lab


def test_bluish_is_a_dull_blue() -> None:
    bluish, blue = named("bluish"), named("blue")
    assert bluish is not None and blue is not None
    assert chroma(bluish.array) < 0.8 * chroma(blue.array)


def test_unknown_names_have_near_ones() -> None:
    assert named("turqoise") is None
    assert nearest_names("turqoise")[0] == "turquoise"
    assert nearest_names("xqzvk") == []


def test_both_spellings_of_grey() -> None:
    assert named("dark gray") == pytest.approx(named("dark gray"))
    one, other = named("dark grey"), named("dark gray")
    assert one is not None and other is not None and one.family == other.family == "grey"


@pytest.mark.parametrize(
    ("lightness", "c", "h", "name"),
    [(0.6, 0.2, 28, "red"), (0.4, 0.09, 60, "brown"), (0.9, 0.17, 100, "yellow"), (0.95, 0.005, 0, "white"),
     (0.1, 0.005, 0, "black"), (0.5, 0.2, 265, "blue"), (0.7, 0.17, 55, "orange")],
)  # fmt: skip
def test_what_a_colour_is_called(lightness: float, c: float, h: float, name: str) -> None:
    assert family_of(from_lch(lightness, c, float(h))) == name


def test_the_shipped_table_is_read_whole() -> None:
    names = colour_names()
    assert len(names) > 900 and "dusty rose" in names and "rebeccapurple" in names
    assert all(np.isfinite(named(name).array).all() for name in names[::50])  # type: ignore[union-attr]
