"""Another colour for a surface, its lightness structure kept: folds, shading, texture and highlights stay.

A darker paint takes its share of all light that is the surface's own, and what shines on it stays; a lighter one
follows a curve. The saturation C/L and the hue of each pixel keep their place relative to the surface's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gas.picture.colour_names import Colour
from gas.picture.mapping import mapped, mixed
from gas.picture.oklab import Array, chroma, from_lch, hue, hue_difference
from gas.picture.selection.surface import Surface

if TYPE_CHECKING:
    from gas.types import Image, Mask

STEEPEST = 5.0
TOWARDS_TARGET = 0.6
"""How much of the way to the named colour's lightness the surface goes: a white cup made navy keeps its light."""
DARK = 0.25
"""Lightness up to which a surface without a hue is black."""
DARKEST, LIGHTEST = 0.26, 0.88
"""Lightness that a surface made black or white gets: beyond, nothing would be left of its shading."""
HUE_KEPT = 0.5
"""How much of a pixel's difference in hue from its surface is kept."""
LEAST_CHROMA = 0.85
"""Least chroma of the result over the named colour's: a dull thing stays a little duller than the name."""
GREY_CHROMA = 0.03
"""Chroma up to which a surface counts as having no hue of its own."""


@dataclass(frozen=True)
class Mapping:
    """The change of a surface into a colour, as a function of a pixel's own colour alone.

    `towards` is how much of the way to the named colour's lightness it goes, in [0, 1]: 0.6 looks as if the thing had
    been painted in its light, 1 is the very colour.
    """

    surface: Surface
    target: Colour
    towards: float = TOWARDS_TARGET

    @property
    def lightness(self) -> float:
        """The lightness that takes the place of `own_lightness`."""
        wanted = self.target.lab[0]
        if self.target.grey:
            return min(max(wanted, DARKEST), LIGHTEST)
        return self.towards * wanted + (1 - self.towards) * self.own_lightness

    @property
    def own_lightness(self) -> float:
        """The lightness of the surface that the named colour takes the place of.

        White and grey are judged where the light falls on them: what is darker there is their shade.
        """
        lit = self.surface.lit
        return lit if lit is not None and self.from_grey and not self.dark else self.surface.lightness

    @property
    def chroma(self) -> float:
        """The chroma that the surface's median gets."""
        wanted = float(chroma(self.target.array))
        if self.target.grey:
            return wanted
        if self.from_grey:
            return max(0.6, self.towards) * wanted
        least = max(LEAST_CHROMA, self.towards) * wanted
        return float(np.clip(math.sqrt(wanted * self.surface.chroma), least, wanted))

    @property
    def from_grey(self) -> bool:
        """Whether the surface has no hue of its own."""
        return self.surface.chroma < GREY_CHROMA

    @property
    def dark(self) -> bool:
        """Whether the surface is black: all that is seen of it is what shines on it."""
        return self.surface.lightness < DARK and self.surface.chroma < GREY_CHROMA

    def shining(self, lightness: Array) -> Array:
        """The new lightness of what shines, in [0, 1]: a curve through 0, the surface's own, and 1.

        Of a black surface nothing is left below its own lightness, so that there a colour is added to what shines.
        """
        l0, l1 = self._ends
        if self.dark:
            shine = np.clip(lightness - l0, 0, None) * (1 - l1) / (1 - l0)
            return np.asarray(l1 * np.clip(0.8 + 0.2 * lightness / l0, 0, 1) + shine, np.float32)
        bend = float(np.clip((l0 / l1 - 1) / (1 - l0), 1 / STEEPEST - 1, STEEPEST - 1))
        return np.asarray(lightness / (bend * (1 - lightness) + 1), np.float32)

    def __call__(self, lab: Array) -> Array:
        """The new OKLab colours of `lab` `(..., 3)`, in any part of which sRGB may not have them."""
        lightness = np.clip(lab[..., 0], 0, 1)
        l0, l1 = self._ends
        saturation = chroma(lab) / np.maximum(lightness, 0.02)
        if self.from_grey:
            relative = np.ones_like(saturation)
            # Of white nothing shines more than the surface itself does.
            matt = np.full_like(saturation, np.clip((l0 - 0.6) / 0.25, 0, 1))
        else:
            relative = np.clip(saturation / max(self.surface.saturation, 1e-3), 0, 1.35)
            matt = np.clip(2 * relative - 1, 0, 1)
        new = self.shining(lightness)
        if l1 < l0 and not self.dark:
            # A darker paint takes its share of all light; what shines on it is paler than itself, and stays.
            new = new + matt * (np.minimum(lightness * l1 / l0, 1) - new)
        if self.dark:
            # What is lighter than black shines, and a shine has little of the surface's colour.
            relative = relative * np.clip((1 - new) / (1 - l1), 0.15, 1)
        turned = hue_difference(hue(lab), self.surface.hue)
        turned = np.where(np.abs(turned) > 90, 0, turned)
        kept = 0.0 if self.from_grey else HUE_KEPT
        new_hue = float(hue(self.target.array)) + kept * turned
        return from_lch(new, self.chroma / l1 * relative * new, new_hue)

    @property
    def _ends(self) -> tuple[float, float]:
        """Old and new lightness of the surface, away from both ends."""
        return min(max(self.own_lightness, 0.02), 0.98), min(max(self.lightness, 0.02), 0.98)


def recolour(image: Image, alpha: Mask, surface: Surface, target: Colour, towards: float = TOWARDS_TARGET) -> Image:
    """`image` `(H, W, 3)` with the surface made `target`, as strongly as `alpha` `(H, W)` says; where that is 0 it is
    `image`, bit for bit."""
    return mixed(image, mapped(image, Mapping(surface, target, towards)), alpha * target.share)
