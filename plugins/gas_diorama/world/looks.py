"""Whether a picture looks like one of this world, told at a glance: by its size and its flat colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gas_diorama.world.scene import SIZE

if TYPE_CHECKING:
    from gas.types import Image

FLAT, STEP = 0.8, 4
"""Share of neighbours in a row that differ by at most STEP of 255: at least 0.91 in drawings, 0.84 in edited ones, and
at most 0.75 in photographs in colour of this size."""
ROUGH = 0.7
"""Such a share that no drawing of this world is below: at least 0.71 when saved as JPEG of quality 70. Most photographs
are: 0.13 to 0.69."""
GREY = 10
"""Mean spread of the channels below which a picture is grey: there are grey photographs as flat as a drawing."""


def is_drawing(image: Image) -> bool:
    """Whether `image` `(H, W, 3)` uint8 is a drawing of this world, or one that was edited here. Loads no network."""
    if image.shape != (SIZE, SIZE, 3):
        return False
    steps = np.abs(np.diff(image.astype(np.int16), axis=1)).max(axis=-1)
    spread = float((image.max(axis=-1).astype(np.int16) - image.min(axis=-1)).mean())
    return float((steps <= STEP).mean()) >= FLAT and spread >= GREY


def is_photograph(image: Image) -> bool:
    """Whether `image` `(H, W, 3)` uint8, of any size, is surely no drawing of this world: seen at its size it is less
    flat than any, also those that were enlarged, edited or saved as JPEG. Loads no network."""
    from PIL import Image as Pictures

    small = Pictures.fromarray(np.ascontiguousarray(image)).resize((SIZE, SIZE), Pictures.Resampling.BOX)
    steps = np.abs(np.diff(np.asarray(small).astype(np.int16), axis=1)).max(axis=-1)
    return float((steps <= STEP).mean()) < ROUGH
