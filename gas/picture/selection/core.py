"""The rough selection of a colour: what has its hue and saturation, in whole parts, with its shades and its haze.

Hue and saturation (C/L) of one surface stay from light into shade, so they are what is compared, never lightness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gas.picture.colour_names import PLAIN_NAMES, Colour, members
from gas.picture.oklab import Array, chroma, hue, hue_difference
from gas.picture.selection.surface import Bools, steps, weighted_median

NOT_THERE = 0.03
"""Share of the mask below which a colour counts as absent: absent ones reached 1.7 to 3.1 % in hand masks."""
NOISY_CHROMA = 0.03
"""Chroma below which a pixel's own hue is noise."""
COLOUR_CELLS = 24
"""Cells along each axis of OKLab in which colours in a mask and around it are counted."""
SAME_AROUND = 0.15
"""Share of a white or grey around a mask from which it takes more than the colour to be the thing's."""
LEAST_OWN = 0.05
"""Mean share of the pixels of a colour that are the thing's own, below which its surroundings tell nothing."""
EDGE_OF_FAMILY, MOST_CLIMBED = 6, 15
"""Degrees: a peak of hue this near the edge of a colour's family may lie outside, and by how much at most."""


def hued_core(lab: Array, within: Bools, source: Colour, least: float = NOT_THERE / 4) -> Array:
    c = chroma(lab)
    saturation = c / np.maximum(lab[..., 0], 0.02)
    h = _steady_hue(lab, c)
    candidates = members(lab, source.family) & within
    if candidates.sum() < max(least * within.sum(), 4):
        return np.zeros(within.shape, np.float32)
    own = own_colours(lab, within, candidates)
    mode = _hue_mode(h[candidates], (c * own)[candidates])
    mode = _climbed(mode, source, h[within], (c * own)[within])
    near = within & (np.abs(hue_difference(h, mode)) <= 25)
    near &= candidates | (np.abs(hue_difference(h, mode)) <= 8)
    weight = c * own * near
    h0 = mode + weighted_median(hue_difference(h, mode), weight)
    away = np.abs(hue_difference(h, h0))
    hue_mad = weighted_median(away, weight)
    s0 = weighted_median(saturation, weight)
    s_mad = weighted_median(np.abs(saturation - s0), weight)

    reach = float(np.clip(4 * hue_mad, 5, 14))
    depth = float(np.clip(4 * s_mad, 0.15 * s0, 0.5 * s0))
    by_hue = np.clip((reach + 6 - away) / 6, 0, 1)
    by_saturation = np.clip((saturation - (s0 - depth)) / (0.15 * s0) + 1, 0, 1)
    core = (by_hue * by_saturation * within).astype(np.float32)
    core = _whole_parts(core, own, h, saturation, h0, max(4.0, 3 * hue_mad), s0, max(0.28 * s0, depth))
    return _with_shades(core, lab, h, saturation, within, h0, reach, s0)


def own_colours(lab: Array, within: Bools, candidates: Bools) -> Array:
    """How much rarer each pixel's colour is around the mask than in it, in [0, 1]: of a green car on grass the car's.

    All ones where nothing around tells, or where nothing of the colour is the thing's own.
    """
    from scipy.ndimage import gaussian_filter

    around = ~within
    if around.sum() < 0.05 * within.size:
        return np.ones(within.shape, np.float32)
    low, high = np.array([0.0, -0.4, -0.4]), np.array([1.0, 0.4, 0.4])
    cell = np.clip((lab - low) / (high - low) * COLOUR_CELLS, 0, COLOUR_CELLS - 1).astype(np.int32)
    index = np.ravel_multi_index(tuple(np.moveaxis(cell, -1, 0)), (COLOUR_CELLS,) * 3)

    def density(where: Bools) -> Array:
        counts = np.bincount(index[where], minlength=COLOUR_CELLS**3).reshape((COLOUR_CELLS,) * 3)
        return gaussian_filter(counts / where.sum(), 0.7)

    inside, outside = density(within), density(around)
    ratio = (inside / np.maximum(inside + outside, 1e-12)).ravel()[index]
    own = np.clip(2 * ratio - 1, 0, 1).astype(np.float32)
    return own if own[candidates].mean() > LEAST_OWN else np.ones(within.shape, np.float32)


def grey_core(lab: Array, within: Bools, source: Colour, least: float = NOT_THERE / 4) -> Array:
    """Pixels of a colour without hue: near one point of the chroma plane, and light, dark or between."""
    scale = np.maximum(lab[..., 0], 0.1)[..., None]
    plane = lab[..., 1:] / scale
    seen = members(lab, source.family) & within
    if seen.sum() < max(least * within.sum(), 4):
        return np.zeros(within.shape, np.float32)
    apart = own_colours(lab, within, seen)
    own = apart * seen
    middle = np.array([weighted_median(plane[..., i], own) for i in range(2)], np.float32)
    distance = np.linalg.norm(plane - middle, axis=-1)
    reach = float(np.clip(4 * weighted_median(distance, own), 0.03, 0.07))
    near = np.clip((reach + 0.03 - distance) / 0.03, 0, 1)
    lightness = lab[..., 0]
    l0 = weighted_median(lightness, own)
    if source.family == "white":
        fits = np.clip((lightness - 0.55 * l0) / (0.1 * l0), 0, 1)
    elif source.family == "black":
        # In the dark the colour of a pixel is noise: what is as dark as black need not be near.
        near = np.maximum(near, np.clip((0.30 - lightness) / 0.05, 0, 1))
        fits = np.clip((l0 + 0.30 - lightness) / 0.08, 0, 1)
    else:
        fits = np.clip((0.30 - np.abs(lightness - l0)) / 0.08, 0, 1)
    beside = source.family != "black" and (~within).any()  # in the dark all is the same
    if beside and members(lab[~within], source.family).mean() > SAME_AROUND:
        near = near * np.clip(2 * apart, 0, 1)  # a white house in the snow: only what the snow has not
    found = (near * fits * within).astype(np.float32)
    kept = found > 0.5
    return np.where(_haze(lab, kept, within, 0.05), 1, found).astype(np.float32) if kept.any() else found


def _steady_hue(lab: Array, c: Array) -> Array:
    """The hue of each pixel, of its neighbours where its own is noise."""
    from scipy.ndimage import gaussian_filter

    noisy = c < NOISY_CHROMA
    if not noisy.any():
        return hue(lab)
    radius = max(max(lab.shape[:2]) / 200, 1.0)
    filled = lab.copy()
    for i in (1, 2):
        filled[..., i] = np.where(noisy, gaussian_filter(lab[..., i], radius), lab[..., i])
    return hue(filled)


def _hue_mode(h: Array, c: Array) -> float:
    """The hue at which most chroma is."""
    return float(np.argmax(_hue_histogram(h, c))) + 0.5


def _hue_histogram(h: Array, c: Array) -> NDArray[np.float64]:
    """(360,) how much chroma there is at each hue, smoothed by 4 degrees."""
    counts = np.bincount(np.floor(h).astype(int) % 360, weights=c, minlength=360)
    offsets = np.arange(-12, 13)
    kernel = np.exp(-0.5 * (offsets / 4) ** 2)
    return np.sum([weight * np.roll(counts, offset) for offset, weight in zip(offsets, kernel, strict=True)], axis=0)


def _climbed(mode: float, source: Colour, h: Array, c: Array) -> float:
    """The hue of the peak that a mode at the edge of its family lies on: a cat's green eyes are nearly yellow.

    A mode inside its family stays: the next peak may be the wood beside a red cup.
    """
    sides = [side for family in PLAIN_NAMES[source.family] for side in family.hues[0]]
    if min(abs(float(hue_difference(mode, side))) for side in sides) > EDGE_OF_FAMILY:
        return mode
    histogram = _hue_histogram(h, c)
    at = int(mode)
    for _ in range(MOST_CLIMBED):
        better = max((at - 1, at, at + 1), key=lambda degree: histogram[degree % 360])
        if better == at:
            break
        at = better
    return at % 360 + 0.5


def _whole_parts(
    core: Array, own: Array, h: Array, saturation: Array, h0: float, hue_limit: float, s0: float, depth: float
) -> Array:
    """The connected parts that are of the colour as a whole. A patch of something else that only touches the range,
    as coffee does beside a red cup, goes; a small one must be nearer, and not of a colour that is common around."""
    from scipy import ndimage

    labels, count = ndimage.label(core > 0.5, structure=np.ones((3, 3)))
    if count == 0:
        return core
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    index = np.arange(1, count + 1)
    hues = ndimage.median(hue_difference(h, h0), labels, index)
    saturations = ndimage.median(saturation, labels, index)
    small = sizes[1:] < 0.02 * sizes.max()
    owned = ndimage.mean(own, labels, index)
    limits = np.where((saturations >= 0.95 * s0) & (owned >= 0.5), max(hue_limit, 7.0), hue_limit)
    stays = (np.abs(hues) <= np.where(small, 0.75, 1) * limits) & (saturations >= s0 - np.where(small, 0.6, 1) * depth)
    stays &= sizes[1:] >= max(core.size * 2e-6, 2)
    stays &= (owned >= 0.2) | (sizes[1:] >= 0.1 * sizes.max())
    kept = np.concatenate([[False], stays])[labels]
    # What fades out around a kept part stays with it.
    halo = ndimage.maximum_filter(kept, size=5)
    return np.where(halo, core, 0).astype(np.float32)


def _with_shades(
    core: Array, lab: Array, h: Array, saturation: Array, within: Bools, h0: float, reach: float, s0: float
) -> Array:
    """The core with the other shades of the same surface: a flower's heart, the haze low in a sky.

    A part of a neighbouring hue joins when most of its border touches what is kept, or when it touches it without any
    step of colour.
    """
    from scipy import ndimage

    kept = core > 0.5
    if not kept.any():
        return core
    for far in (reach + 24.0, reach + 34.0):
        wide = within & ~kept & (np.abs(hue_difference(h, h0)) <= far) & (saturation >= 0.35 * s0)
        wide &= chroma(lab) >= NOISY_CHROMA
        labels, count = ndimage.label(wide)
        if count == 0:
            continue
        grown = ndimage.binary_dilation(kept)
        rim = (labels > 0) & ~ndimage.binary_erosion(labels > 0)
        touching = rim & grown
        border = np.bincount(labels[rim], minlength=count + 1)
        touches = np.bincount(labels[touching], minlength=count + 1)
        share = touches / np.maximum(border, 1)
        step = steps(lab, labels, touching, kept, count)
        joins = (share >= 0.5) | ((share >= 0.2) & (step < 0.02))
        joins[0] = False
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        joins &= sizes <= kept.sum()  # the surface takes in its shades, not they it
        kept |= joins[labels]
    kept |= _haze(lab, kept, within)
    return np.maximum(core, kept.astype(np.float32))


def _haze(lab: Array, kept: Bools, within: Bools, most: float = 0.012) -> Bools:
    """What is too pale to have a hue and goes over into what is kept without any step: a sky's haze, a lamp's glow."""
    from scipy import ndimage

    pale = within & ~kept & (chroma(lab) < 1.5 * NOISY_CHROMA)
    pale &= lab[..., 0] >= 0.85 * float(np.median(lab[..., 0][kept]))
    labels, count = ndimage.label(pale)
    if count == 0:
        return pale
    touching = pale & ndimage.binary_dilation(kept)
    step = steps(lab, labels, touching, kept, count)
    own = np.bincount(labels[pale & ~ndimage.binary_erosion(pale)], minlength=count + 1)
    share = np.bincount(labels[touching], minlength=count + 1) / np.maximum(own, 1)
    joins = (step < most) & (share >= 0.1)
    joins[0] = False
    return np.asarray(joins[labels])
