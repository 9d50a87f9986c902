"""The names of the colour survey of xkcd (what people call colours), as data alone: reading them needs no array."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files


@lru_cache(maxsize=1)
def surveyed_colours() -> dict[str, str]:
    """Name (lower case, "sea green") → sRGB as "#rrggbb"."""
    text = files("gas.picture").joinpath("xkcd_colours.txt").read_text(encoding="utf-8")
    lines = (line.split(" ", 1) for line in text.splitlines() if not line.startswith("# "))
    return {name: value for value, name in lines}
