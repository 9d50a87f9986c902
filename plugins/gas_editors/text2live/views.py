"""The views of a picture that Text2LIVE trains its generator on and shows to CLIP, drawn from a seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

# Where no other source is named, numbers are those of Text2LIVE's code.
TURN, SHIFT, SLANT, SMALLEST_CUT = math.radians(15), 0.1, 0.4, 0.6
P_FLIP, P_AFFINE, P_SLANT, P_COLOUR, P_GREY = 0.5, 0.8, 0.5, 0.7, 0.15
TONE, HUE = 0.1, 0.1
CROP_LEAST, SCALES, P_CROP_COLOUR = 0.85, (0.8, 1.2), 0.1

_LIGHT = np.array([0.299, 0.587, 0.114])
_YIQ = np.array([_LIGHT, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


@dataclass(frozen=True)
class Views:
    """How each of n views looks at a picture.

    `places` `(n, 3, 3)` maps a view's homogeneous coordinates, in which the whole is -1 to 1 both ways, to the
    picture's. `brightness` and `contrast` `(n,)` and then `colours` `(n, 3, 3)` change its colours.
    """

    places: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    colours: np.ndarray

    def look(self, picture: Tensor, size: tuple[int, int], outside: float = 1.0) -> Tensor:
        """`(n, C, h, w)`: the views, of `size`, of a picture `(1, C, H, W)`; what is beyond its border has the value
        `outside` (white). Differentiable; colours are left alone."""
        h, w = size
        y, x = torch.meshgrid(_middles(h), _middles(w), indexing="ij")
        at = torch.stack([x, y, torch.ones_like(x)], -1).to(picture) @ self._tensor(self.places, picture).mT[:, None]
        grid = at[..., :2] / at[..., 2:]
        several = picture.expand(len(grid), -1, -1, -1) - outside
        return F.grid_sample(several, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + outside

    def recolour(self, views: Tensor) -> Tensor:
        """The views `(n, 3, h, w)` with changed brightness, contrast, hue and saturation, in [0, 1]."""
        brightness, contrast = (self._tensor(one, views).view(-1, 1, 1, 1) for one in (self.brightness, self.contrast))
        views = (views * brightness).clamp(0, 1)
        light = torch.einsum("nchw,c->nhw", views, self._tensor(_LIGHT, views)).mean((1, 2)).view(-1, 1, 1, 1)
        views = (light + contrast * (views - light)).clamp(0, 1)
        return torch.einsum("nchw,ndc->ndhw", views, self._tensor(self.colours, views)).clamp(0, 1)

    @staticmethod
    def _tensor(values: np.ndarray, like: Tensor) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(like)


def clip_views(rng: np.random.Generator, count: int, aspect: float, *, recoloured: bool = True) -> Views:
    """Views for CLIP of a picture whose width is `aspect` times its height (`ClipExtractor`): the first of the whole,
    the others of 60 to 100 % of its sides; flipped, turned, moved, seen at a slant, recoloured."""
    places, tones = [], []
    for number in range(count):
        place = _cut(rng, 1.0 if number == 0 else float(rng.uniform(SMALLEST_CUT, 1)))
        if rng.random() < P_FLIP:
            place = place @ np.diag([-1.0, 1, 1])
        if rng.random() < P_AFFINE:
            angle, shift = rng.uniform(-TURN, TURN), rng.uniform(-2 * SHIFT, 2 * SHIFT, 2)
            c, s = math.cos(angle), math.sin(angle)
            place = place @ np.array([[c, -s / aspect, shift[0]], [s * aspect, c, shift[1]], [0, 0, 1]])
        if rng.random() < P_SLANT:
            place = place @ _slant(rng)
        places.append(place)
        tones.append(_tones(rng, P_COLOUR if recoloured else 0.0, P_GREY if recoloured else 0.0))
    return Views(np.stack(places), *(np.stack(part) for part in zip(*tones, strict=True)))


def training_crop(rng: np.random.Generator, height: int, width: int) -> tuple[Views, tuple[int, int]]:
    """One view for the generator and its size (h, w): a crop of 85 to 100 % of the sides, scaled by 0.8 to 1.2,
    flipped half the time, now and then recoloured (`SingleImageDataset`)."""
    share, scale = float(rng.uniform(CROP_LEAST, 1)), float(rng.uniform(*SCALES))
    place = _cut(rng, share)
    if rng.random() < P_FLIP:
        place = place @ np.diag([-1.0, 1, 1])
    tones = (one[None] for one in _tones(rng, P_CROP_COLOUR, 0.0))
    return Views(place[None], *tones), (max(1, int(height * scale * share)), max(1, int(width * scale * share)))


def _middles(count: int) -> Tensor:
    """The middles of `count` pixels that fill -1 to 1."""
    return (torch.arange(count) * 2 + 1) / count - 1


def _cut(rng: np.random.Generator, share: float) -> np.ndarray:
    x, y = rng.uniform(share - 1, 1 - share, 2) if share < 1 else (0.0, 0.0)
    return np.array([[share, 0, x], [0, share, y], [0, 0, 1]])


def _slant(rng: np.random.Generator) -> np.ndarray:
    """The map from corners that are moved inwards, each by up to `SLANT`, to the corners of the whole."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
    moved = corners * (1 - rng.uniform(0, SLANT, (4, 2)))
    rows, values = [], []
    for (x, y), (u, v) in zip(moved, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.append(np.linalg.solve(np.array(rows), np.array(values)), 1).reshape(3, 3)


def _tones(rng: np.random.Generator, p_colour: float, p_grey: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    brightness, contrast, colours = np.array(1.0), np.array(1.0), np.eye(3)
    if rng.random() < p_colour:
        brightness, contrast, saturation = (np.array(rng.uniform(1 - TONE, 1 + TONE)) for _ in range(3))
        angle = 2 * math.pi * rng.uniform(-HUE, HUE)
        c, s = saturation * math.cos(angle), saturation * math.sin(angle)
        # Hue is turned in the plane of the two colour differences, which is linear; the published code turns it in
        # HSV, which is not, and comes out nearly the same for a tenth of a turn.
        colours = np.linalg.inv(_YIQ) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ _YIQ
    if rng.random() < p_grey:
        colours = np.tile(_LIGHT, (3, 1)) @ colours
    return brightness, contrast, colours
