"""The trial's photographs, as installed with other packages, and the hand-drawn masks of things in them."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw

if TYPE_CHECKING:
    from gas.types import Box, Image, Mask

FINE = 4
"""Drawn masks are drawn so many times larger, for soft edges."""


@dataclass(frozen=True)
class Recolouring:
    """One recolouring of the trial: `source` may be empty, `how` is "box" or "mask".

    `since` says when it was first looked at: "recipe" while the parameters were chosen, "looked at" while faults were
    mended, "held out" when all was done.
    """

    picture: str
    thing: str
    how: str
    source: str
    target: str
    since: str


@lru_cache(maxsize=1)
def _cases() -> dict[str, Any]:
    return dict(json.loads(files("gas_editors.retouch.trial").joinpath("cases.json").read_text(encoding="utf-8")))


def recolourings() -> list[Recolouring]:
    """All recolourings of pictures that are installed here."""
    return [Recolouring(*row) for row in _cases()["recolourings"] if path_of(row[0]) is not None]


def cuts() -> list[tuple[str, str]]:
    """(picture, thing) of all masks that cuts are compared with, of pictures that are installed here."""
    return [(picture, thing) for picture, thing in _cases()["cuts"] if path_of(picture) is not None]


def missing() -> list[str]:
    """The trial's pictures that are not installed here."""
    return [name for name in _cases()["pictures"] if path_of(name) is None]


def path_of(name: str) -> Path | None:
    """The file of a picture, inside the package that it comes with; None where that is not installed."""
    told = _cases()["pictures"][name]
    found = importlib.util.find_spec(told["from"])
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / told["file"]
    return path if path.is_file() else None


def load(name: str) -> Image:
    """A picture `(H, W, 3)`."""
    path = path_of(name)
    if path is None:
        raise FileNotFoundError(f"the picture {name!r} is not installed")
    with Pictures.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def box_of(picture: str, thing: str) -> Box:
    """The box of a thing."""
    x0, y0, x1, y1 = (float(side) for side in _cases()["things"][picture][thing]["box"])
    return x0, y0, x1, y1


def mask_of(picture: str, thing: str, size: tuple[int, int]) -> Mask:
    """The hand-drawn mask `(H, W)` of a thing; `size` is the picture's `(width, height)`."""
    drawn = _cases()["things"][picture][thing]
    large = Pictures.new("L", (size[0] * FINE, size[1] * FINE))
    pen = ImageDraw.Draw(large)
    for x, y, wide, high in drawn.get("ellipses", ()):
        pen.ellipse([(x - wide) * FINE, (y - high) * FINE, (x + wide) * FINE, (y + high) * FINE], fill=255)
    for corners in drawn.get("polygons", ()):
        pen.polygon([(x * FINE, y * FINE) for x, y in corners], fill=255)
    return np.asarray(large.resize(size, Pictures.Resampling.BOX), np.float32) / 255
