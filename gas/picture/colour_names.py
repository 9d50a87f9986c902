"""Names of colours: which colour a phrase names, and what a colour is called.

A name is looked for in the survey of xkcd (what people call so) and then among the CSS names; "dark", "light" and the
like change any of them. Families are the eleven plain names and "teal": every colour belongs to one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gas.picture.oklab import Array, chroma, from_lab, from_lch, hue, to_lab
from gas.picture.survey import surveyed_colours
from gas.plan.phrases import words

GREY_SATURATION = 0.06
"""C/L up to which a named colour counts as white, grey or black."""


@dataclass(frozen=True)
class Colour:
    """A colour with its name. `lab` is OKLab; `share` below 1 is a colour that is only leaned to ("bluer")."""

    name: str
    lab: tuple[float, float, float]
    family: str
    share: float = 1.0

    @property
    def array(self) -> Array:
        """OKLab as `(3,)` float32."""
        return np.array(self.lab, np.float32)

    @property
    def grey(self) -> bool:
        """Whether it is white, black, or a grey between them: a colour without a hue."""
        return self.family in GREYS


@dataclass(frozen=True)
class ColourRange:
    """The colours that one plain name stands for: hues in degrees (from `first` up to `last`, perhaps through 360),
    lightness, and the saturation C/L. Families overlap, as people's words do."""

    hues: tuple[tuple[float, float], ...]
    lightness: tuple[float, float] = (0.0, 1.0)
    saturation: tuple[float, float] = (GREY_SATURATION, 9.0)


PLAIN_NAMES: dict[str, tuple[ColourRange, ...]] = {
    "red": (ColourRange(((4, 39),), saturation=(0.14, 9.0)),),
    "orange": (ColourRange(((34, 75),), lightness=(0.45, 1.0), saturation=(0.10, 9.0)),),
    "brown": (ColourRange(((28, 98),), lightness=(0.0, 0.64), saturation=(GREY_SATURATION, 0.28)),),
    "yellow": (ColourRange(((84, 118),), lightness=(0.66, 1.0)),),
    "green": (ColourRange(((114, 174),)), ColourRange(((97, 117),), lightness=(0.0, 0.68))),
    "teal": (ColourRange(((166, 214),)),),
    "blue": (ColourRange(((206, 289),)),),
    "purple": (ColourRange(((281, 338),)),),
    "pink": (ColourRange(((330, 374),)), ColourRange(((0, 30),), lightness=(0.62, 1.0), saturation=(0.06, 0.20))),
    "white": (ColourRange(((0, 360),), lightness=(0.80, 1.0), saturation=(0.0, 0.07)),),
    "grey": (ColourRange(((0, 360),), lightness=(0.30, 0.86), saturation=(0.0, GREY_SATURATION)),),
    "black": (ColourRange(((0, 360),), lightness=(0.0, 0.36), saturation=(0.0, 0.16)),),
}  # fmt: skip
GREYS = ("white", "grey", "black")

_SHADES: dict[str, tuple[float, float, float]] = {  # (L×, (1-L)×, C×); one of the first two is 1
    "dark": (0.66, 1.0, 0.61),
    "deep": (0.72, 1.0, 0.85),
    "darker": (0.76, 1.0, 0.80),
    "light": (1.0, 0.55, 0.87),
    "lighter": (1.0, 0.70, 0.92),
    "pale": (1.0, 0.53, 0.70),
    "pastel": (1.0, 0.50, 0.60),
    "bright": (1.14, 1.0, 1.25),
    "vivid": (1.05, 1.0, 1.30),
    "dull": (1.0, 1.0, 0.66),
    "soft": (1.0, 0.85, 0.75),
    "muted": (1.0, 1.0, 0.60),
}
_BY_HAND = {  # materials where they are a colour, and words that neither table has as people mean them
    "golden": "#d4a32b", "gold": "#d4a32b", "silver": "#bfc1c2", "brass": "#b5a642", "bronze": "#a2672f",
    "copper": "#b66325", "ivory": "#fdf5e0", "ebony": "#2b2420", "jet": "#0a0a0a", "cherry": "#b01030",
    "ruby": "#b3123c", "emerald": "#0f9a58", "sapphire": "#1c4aa8", "amber": "#f0a010", "honey": "#e0a030",
    "cream": "#fff4d6", "chocolate": "#4e2a14", "coral": "#ff7f50", "anthracite": "#383e42",
    "yellow": "#ffdc00", "grey": "#929292", "gray": "#929292",
    "blond": "#e2c47d", "blonde": "#e2c47d", "ginger": "#c4692c", "grayish": "#929591",
}  # fmt: skip
_ISH = {
    "reddish": "red", "bluish": "blue", "greenish": "green", "yellowish": "yellow", "brownish": "brown",
    "greyish": "grey", "pinkish": "pink", "purplish": "purple", "orangish": "orange", "whitish": "white",
    "blackish": "black",
}  # fmt: skip
_MORE = {
    "redder": "red", "bluer": "blue", "greener": "green", "yellower": "yellow", "browner": "brown", "pinker": "pink",
    "greyer": "grey", "whiter": "white", "blacker": "black",
}  # fmt: skip
_NO_COLOURS = frozenset({"sky", "grass", "sea", "water", "tree", "leaf", "dirt", "mud", "stone", "snow", "wood"})
"""Names of the tables that are things in a photograph far more often than they are colours."""
_ARTICLES = frozenset(
    {"a", "an", "the", "some", "my", "your", "our", "his", "her", "its", "their", "this", "that", "these", "those"}
)
_BEHIND = frozenset({"in", "on", "of", "with", "at", "by", "near", "behind", "under", "over", "from", "that", "which"})
LEANING = 0.5
"""How far a colour goes towards one that is leaned to ("bluer")."""


@lru_cache(maxsize=1)
def _table() -> dict[str, str]:
    from PIL import ImageColor

    table = {name: value for name, value in ImageColor.colormap.items() if isinstance(value, str)}
    table |= surveyed_colours()
    table.update(_BY_HAND)
    for name in [name for name in table if "grey" in name]:
        table.setdefault(name.replace("grey", "gray"), table[name])
    for name in _NO_COLOURS:
        table.pop(name, None)
    return table


def colour_names() -> list[str]:
    """All names that are known by themselves, sorted."""
    return sorted(_table())


def named(name: str) -> Colour | None:
    """The colour of a name, which may be several words ("dark green", "navy blue"); None: no such name is known."""
    found = " ".join(words(name.replace("-", " ")))
    found = found.removesuffix(" coloured").removesuffix(" colored")
    table = _table()
    if found in _MORE:
        leaned = named(_MORE[found])
        return None if leaned is None else replace(leaned, name=found, share=LEANING)
    if found in _ISH:
        plain = named(_ISH[found])
        return None if plain is None else _shaded(plain, found, (1.0, 1.0, 0.6))
    if found in table or found.replace(" ", "") in table:
        value = table.get(found) or table[found.replace(" ", "")]
        rgb = np.array([int(value[i : i + 2], 16) for i in (1, 3, 5)], np.uint8)
        return _colour(found, to_lab(rgb))
    shade, _, rest = found.partition(" ")
    plain = named(rest) if shade in _SHADES and rest else None
    return None if plain is None else _shaded(plain, found, _SHADES[shade])


def of_hex(name: str, value: str) -> Colour:
    """The colour `value`, "#rrggbb", under a name of one's own. ValueError for any other form."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        raise ValueError(f"{value!r} is not of the form #rrggbb")
    return _colour(name, to_lab(np.array([int(value[i : i + 2], 16) for i in (1, 3, 5)], np.uint8)))


def colours_in(phrase: str) -> list[Colour]:
    """The colours that a phrase names for its thing, in their order: blue of "a blue cup", none of "an orange".

    The words before the noun are looked at, or all where they are nothing but colours. "A cup in dark green" has its
    colour behind.
    """
    found = words(phrase.replace("-coloured", "").replace("-colored", ""))
    article = found[0] if found and found[0] in _ARTICLES else ""
    found = found[1:] if article else found
    whole = _split(found)
    if whole is not None:
        return [] if article in {"a", "an"} and len(found) == 1 else whole
    end = next((i for i, word in enumerate(found) if i and word in _BEHIND), len(found))
    colours = _colours(found[: end - 1])
    if not colours and end < len(found):
        behind = [word for word in found[end:] if word not in _BEHIND | _ARTICLES | {"is", "are", "colour", "color"}]
        colours = _split(behind) or []
    return colours


def _split(found: Sequence[str]) -> list[Colour] | None:
    """The colours of words that are nothing but colours, with "and" between them; None for any other words."""
    if not found:
        return None
    out, part = [], list[str]()
    for word in (*found, "and"):
        if word != "and":
            part.append(word)
            continue
        colour = named(" ".join(part)) if part else None
        if colour is None:
            return None
        out.append(colour)
        part = []
    return out


def _colours(found: Sequence[str]) -> list[Colour]:
    out: list[Colour] = []
    i = 0
    while i < len(found):
        for end in range(min(i + 4, len(found)), i, -1):
            colour = named(" ".join(found[i:end]))
            if colour is not None and not (end == i + 1 and found[i] in _SHADES):
                out.append(colour)
                i = end - 1
                break
        i += 1
    return out


def nearest_names(name: str) -> list[str]:
    """At most three known names that are spelt most like `name`, the nearest first."""
    return difflib.get_close_matches(name.lower(), colour_names(), n=3, cutoff=0.5)


def members(lab: Array, family: str) -> NDArray[np.bool_]:
    """Which of the colours `(..., 3)` the plain name `family` fits; several names may fit one colour."""
    lightness, c, h = lab[..., 0], chroma(lab), hue(lab)
    saturation = c / np.maximum(lightness, 1e-3)
    out = np.zeros(lightness.shape, bool)
    for one in PLAIN_NAMES[family]:
        fits = np.zeros(lightness.shape, bool)
        for first, last in one.hues:
            fits |= (h >= first) & (h <= last)
            if last > 360:
                fits |= h <= last - 360
        fits &= (lightness >= one.lightness[0]) & (lightness <= one.lightness[1])
        fits &= (saturation >= one.saturation[0]) & (saturation <= one.saturation[1])
        out |= fits
    return out


def family_of(lab: Array) -> str:
    """The one family of a colour: among those that it fits the one whose own colour is nearest."""
    fitting = [name for name in PLAIN_NAMES if bool(members(lab[None], name)[0])]
    return min(fitting or PLAIN_NAMES, key=lambda name: float(np.linalg.norm(lab - _centre(name))))


@lru_cache(maxsize=32)
def _centre(family: str) -> Array:
    value = _table()[family]
    return to_lab(np.array([int(value[i : i + 2], 16) for i in (1, 3, 5)], np.uint8))


def _colour(name: str, lab: Array) -> Colour:
    plain = name.split(" ")[-1]
    family = plain if plain in PLAIN_NAMES else family_of(lab)
    return Colour(name, (float(lab[0]), float(lab[1]), float(lab[2])), family)


def _shaded(colour: Colour, name: str, shade: tuple[float, float, float]) -> Colour:
    lightness = 1 - (1 - min(colour.lab[0] * shade[0], 1.0)) * shade[1]
    lab = from_lch(lightness, float(chroma(colour.array)) * shade[2], float(hue(colour.array)))
    # Through 8 bits and the gamut, so that what is promised is what a picture can show.
    return Colour(name, tuple(float(v) for v in to_lab(from_lab(lab))), colour.family, colour.share)  # type: ignore[arg-type]
