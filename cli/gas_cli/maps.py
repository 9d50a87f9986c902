"""`--save-maps`: what an editor sees inside, each map over the picture that it works on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gas import files

if TYPE_CHECKING:
    from gas.types import Image, Mask

LEAST = 512
"""Pixels that the shorter side of what is shown has at least."""
_LIGHT = (255, 150, 20)


class Maps:
    """Writes maps into a folder as they come: enlarged, with their names above, over the working picture, and none
    twice."""

    def __init__(self, folder: Path, write: Callable[[Path, Image], None]) -> None:
        self._folder, self._write = folder, write
        self._picture: Image | None = None
        self._seen: dict[bytes, str] = {}
        self.same: dict[str, str] = {}
        """Maps that were not written, and the one that each is the same as."""

    def on_picture(self, image: Image) -> None:
        """The working picture, `(H, W, 3)` uint8, is known."""
        self._picture = image

    def add(self, name: str, values: Mask) -> None:
        """Writes the map `values` `(H, W)` in [0, 1], unless one of the same values was written."""
        import numpy as np

        levels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
        digest = hashlib.sha256(repr(levels.shape).encode() + levels.tobytes()).digest()
        if digest in self._seen:
            self.same[name] = self._seen[digest]
            return
        self._seen[digest] = name
        picture = self._picture
        if picture is None or picture.shape[:2] != levels.shape:
            picture = np.zeros((*levels.shape, 3), np.uint8)
        self._write(self._folder / f"{files.slug(name)}.png", over(picture, levels, name))


def over(picture: Image, levels: Image, name: str) -> Image:
    """`(h, w, 3)` uint8: the picture in dim grey with the map's `levels` `(H, W)` uint8 as light on it, enlarged by a
    whole number until its shorter side has LEAST pixels, and its name above."""
    import numpy as np

    from gas.picture.overlay import strip

    top = int(levels.max()) or 1
    share = 0.8 * (levels.astype(np.float32) / top)[..., None]
    grey = 0.5 * picture.astype(np.float32).mean(axis=2, keepdims=True)
    shown = np.rint((1 - share) * grey + share * np.array(_LIGHT, np.float32)).astype(np.uint8)
    factor = max(1, math.ceil(LEAST / min(levels.shape)))
    large = shown.repeat(factor, axis=0).repeat(factor, axis=1)
    return strip([(name, large)], height=large.shape[0])
