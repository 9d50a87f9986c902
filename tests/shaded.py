"""Pictures with known colours for the tests of selection and recolouring: surfaces in light and in shade."""

import numpy as np

from gas.picture.oklab import from_lab, from_lch

Picture = np.ndarray


def surface(size: tuple[int, int], h: float, saturation: float, *, dark: float = 0.2, light: float = 0.75) -> Picture:
    """(height, width, 3) uint8: one surface from shade on the left into light on the right."""
    lightness = np.tile(np.linspace(dark, light, size[1]), (size[0], 1))
    return from_lab(from_lch(lightness, lightness * saturation, h))


def disc(size: tuple[int, int], radius: float) -> np.ndarray:
    """(height, width) bool: a disc in the middle."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.hypot(y - size[0] / 2, x - size[1] / 2) <= radius


def on_top(below: Picture, above: Picture, where: np.ndarray) -> Picture:
    """`below` with `above` where the mask is set."""
    return np.where(where[..., None], above, below).astype(np.uint8)
