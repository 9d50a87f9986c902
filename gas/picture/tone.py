"""Tones: brighter, warmer, faded, black and white: changes of a picture or a part of it that keep what is in it.

Each has an amount: 0.5 is a little, 1 as it is asked for, 2 much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from gas.picture.mapping import mapped
from gas.picture.oklab import Array, chroma, from_lch, lab_to_linear, linear_to_lab, to_lab
from gas.picture.selection.surface import MEDIAN_OF, weighted_median

if TYPE_CHECKING:
    from gas.types import Image, Mask

Tone = Literal[
    "brighter",
    "darker",
    "warmer",
    "cooler",
    "more contrast",
    "less contrast",
    "more saturated",
    "less saturated",
    "faded",
    "black and white",
    "sepia",
]
TONES: tuple[Tone, ...] = get_args(Tone)

LIGHTER = 0.68
"""Odds of darkness that are left when something gets brighter: L becomes L / (L + (1 - L) q)."""
WARM_GAINS = np.array([1.12, 1.0, 0.84], np.float32)
CONTRAST = 1.3
SEPIA_HUE, SEPIA_CHROMA = 72.0, 0.055
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


def toned(image: Image, tone: Tone, amount: float = 1.0, mask: Mask | None = None) -> Image:
    """`image` `(H, W, 3)` in another tone, all of it. Contrast turns around the median lightness in `mask` `(H, W)`."""
    middle = _median_lightness(image, mask) if tone.endswith("contrast") else 0.5
    return mapped(image, change_of(tone, amount, middle))


def change_of(tone: Tone, amount: float = 1.0, middle: float = 0.5) -> Callable[[Array], Array]:
    """The change of OKLab colours `(n, 3)` that a tone is; `middle` is the lightness that contrast turns around."""

    def with_lightness(lab: Array, new: Array) -> Array:
        """The colours with another lightness, their saturation kept."""
        return lab * (new / np.maximum(lab[..., 0], 1e-4))[..., None]

    def bright(lab: Array) -> Array:
        odds = LIGHTER ** (amount if tone == "brighter" else -amount)
        lightness = lab[..., 0]
        return with_lightness(lab, lightness / (lightness + (1 - lightness) * odds))

    def warm(lab: Array) -> Array:
        gains = WARM_GAINS ** (amount if tone == "warmer" else -amount)
        light = np.clip(lab_to_linear(lab), 0, None)
        changed = light * gains
        scale = (light @ _LUMINANCE) / np.maximum(changed @ _LUMINANCE, 1e-6)
        return linear_to_lab(changed * scale[..., None])

    def contrast(lab: Array) -> Array:
        steepness = CONTRAST ** (amount if tone == "more contrast" else -amount)
        # Along the odds of lightness, so that neither end is cut off.
        odds = np.log(np.clip(lab[..., 0], 1e-3, 1 - 1e-3) / (1 - np.clip(lab[..., 0], 1e-3, 1 - 1e-3)))
        centre = np.log(middle / (1 - middle))
        new = 1 / (1 + np.exp(-(centre + steepness * (odds - centre))))
        return with_lightness(lab, new)

    def saturation(lab: Array) -> Array:
        c = chroma(lab)
        factor = 1 + 0.35 * amount * np.exp(-c / 0.18) if tone == "more saturated" else max(1 - 0.35 * amount, 0.0)
        out = lab.copy()
        out[..., 1:] *= np.asarray(factor)[..., None]
        return out

    def faded(lab: Array) -> Array:
        out = lab.copy()
        out[..., 0] += amount * (0.13 - 0.18 * lab[..., 0])
        out[..., 1:] *= 0.65**amount
        return out

    def grey(lab: Array) -> Array:
        out = lab.copy()
        out[..., 1:] *= max(1 - amount, 0.0)
        return out

    def sepia(lab: Array) -> Array:
        lightness = np.clip(lab[..., 0], 0, 1)
        brown = from_lch(lightness, SEPIA_CHROMA * np.sqrt(4 * lightness * (1 - lightness)), SEPIA_HUE)
        return np.asarray(lab + min(amount, 1.0) * (brown - lab), np.float32)

    changes: dict[str, Callable[[Array], Array]] = {
        "brighter": bright,
        "darker": bright,
        "warmer": warm,
        "cooler": warm,
        "more contrast": contrast,
        "less contrast": contrast,
        "more saturated": saturation,
        "less saturated": saturation,
        "faded": faded,
        "black and white": grey,
        "sepia": sepia,
    }
    return changes[tone]


def _median_lightness(image: Image, mask: Mask | None) -> float:
    step = max(int((image.shape[0] * image.shape[1] / MEDIAN_OF) ** 0.5), 1)
    lightness = to_lab(image[::step, ::step])[..., 0]
    weight = np.ones_like(lightness) if mask is None else mask[::step, ::step]
    return float(np.clip(weighted_median(lightness, weight), 0.05, 0.95))
