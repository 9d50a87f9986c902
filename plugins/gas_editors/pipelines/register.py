"""Finds how far an edited picture has moved against its source, by what is around the region, and moves it back.

Models that make the whole picture anew now and then shift or enlarge it by some pixels; a region that is pasted from
such a picture does not meet its surroundings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, signal

if TYPE_CHECKING:
    from gas.types import Image, Mask

MOST_SHIFT = 0.12
"""Of a side: beyond it something else was found."""
SCALES = np.linspace(0.9, 1.1, 11)
ALIKE = 0.5
"""The least correlation of the surroundings after they were brought together."""
GAIN = 0.02
"""By how much moving must make them more alike."""
_COARSE, _FINE, _ROUNDS = 96, 1024, 12
_LEAST_AROUND = 0.1


@dataclass(frozen=True)
class Move:
    """What is at `p` of the source is at `c + scale (p - c) + (dx, dy)` of the edited picture; `c` is the middle,
    dx and dy are in pixels. `before` and `after` are the correlations of the surroundings, at most 1."""

    dx: float
    dy: float
    scale: float
    before: float
    after: float


def find_move(source: Image, edited: Image, mask: Mask) -> Move | None:
    """How `edited` has moved against `source`, both `(H, W, 3)` uint8, judged where `mask` `(H, W)` is 0.

    None where there is too little around the region, where the two are not alike there, or where nothing would be
    gained. Shift and scale are found on a coarse picture by normalised correlation, then refined by Gauss-Newton steps
    (Lucas and Kanade 1981) on finer ones.
    """
    weight = (ndimage.binary_dilation(mask > 0, iterations=2) == 0).astype(np.float32)
    if weight.mean() < _LEAST_AROUND:
        return None
    a, b = _grey(source), _grey(edited)
    levels = [(a, b, weight)]
    while min(levels[-1][0].shape) >= 2 * _COARSE:
        levels.append(tuple(_halved(one) for one in levels[-1]))  # type: ignore[arg-type]
    levels = [level for level in levels if max(level[0].shape) <= _FINE] or levels[-1:]
    levels = [(_detail(a), _detail(b), (w > 0.99).astype(np.float32)) for a, b, w in levels]
    a, b, w = levels[-1]
    if float(np.sqrt((w * a * a).sum() / max(w.sum(), 1))) < 0.5:
        return None  # a plain wall says nothing
    scale, dx, dy = _coarsely(a, b, w)
    for number, (a, b, w) in enumerate(reversed(levels)):
        if number:
            dx, dy = dx * 2, dy * 2
        scale, dx, dy = _refined(a, b, w, scale, dx, dy)
    before, after = _alike(a, b, w), _alike(a, _sampled(b, scale, dx, dy), w)
    grown = source.shape[1] / a.shape[1], source.shape[0] / a.shape[0]
    found = Move(dx * grown[0], dy * grown[1], scale, before, after)
    most = MOST_SHIFT * max(source.shape[:2])
    near = abs(found.dx) <= most and abs(found.dy) <= most and SCALES[0] - 0.02 <= scale <= SCALES[-1] + 0.02
    return found if near and after >= ALIKE and after >= before + GAIN else None


def move_back(edited: Image, move: Move) -> tuple[Image, np.ndarray]:
    """The edited picture where the source is, and where it is known, `(H, W)` bool: a picture that was enlarged lacks
    nothing, one that was shifted has an edge less."""
    height, width = edited.shape[:2]
    channels = [_sampled(edited[..., c].astype(np.float32), move.scale, move.dx, move.dy, order=3) for c in range(3)]
    y, x = _places(height, width, move.scale, move.dx, move.dy)
    known = ((y >= 0) & (y <= height - 1))[:, None] & ((x >= 0) & (x <= width - 1))[None, :]
    return np.clip(np.rint(np.stack(channels, axis=-1)), 0, 255).astype(np.uint8), known


def _grey(image: Image) -> np.ndarray:
    return image.astype(np.float32).mean(axis=2)


def _halved(array: np.ndarray) -> np.ndarray:
    height, width = (side // 2 * 2 for side in array.shape)
    return array[:height, :width].reshape(height // 2, 2, width // 2, 2).mean((1, 3))


def _detail(grey: np.ndarray) -> np.ndarray:
    """The picture without its slow changes of brightness, which an edit model makes too."""
    fine = ndimage.gaussian_filter(grey, 1.0)
    return fine - ndimage.gaussian_filter(grey, 8.0)


def _places(height: int, width: int, scale: float, dx: float, dy: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the edited picture that belong to those of the source."""
    cy, cx = (height - 1) / 2, (width - 1) / 2
    return cy + scale * (np.arange(height) - cy) + dy, cx + scale * (np.arange(width) - cx) + dx


def _sampled(array: np.ndarray, scale: float, dx: float, dy: float, order: int = 1) -> np.ndarray:
    """The array `(H, W)` read at the places that belong to the source's."""
    height, width = array.shape
    y, x = _places(height, width, scale, dx, dy)
    return ndimage.affine_transform(
        array, np.array([scale, scale]), offset=(y[0], x[0]), order=order, mode="nearest", output=np.float32
    )


def _alike(a: np.ndarray, b: np.ndarray, w: np.ndarray) -> float:
    """The normalised correlation of two pictures where `w` is set."""
    below = float(np.sqrt((w * a * a).sum() * (w * b * b).sum()))
    return float((w * a * b).sum()) / below if below else 0.0


def _coarsely(a: np.ndarray, b: np.ndarray, w: np.ndarray) -> tuple[float, float, float]:
    """Scale and shift, in whole pixels, of the highest normalised correlation where `w` is set."""
    height, width = a.shape
    reach = int(MOST_SHIFT * max(height, width))
    best, found = -1.0, (1.0, 0.0, 0.0)
    padded = ((reach, reach), (reach, reach))
    for scale in sorted(SCALES, key=lambda one: abs(one - 1)):
        other = np.pad(_sampled(b, float(scale), 0, 0), padded)
        above = signal.correlate(other, w * a, "valid", "fft")
        below = signal.correlate(other**2, w, "valid", "fft") * float((w * a * a).sum())
        score = above / np.sqrt(np.maximum(below, 1e-3 * float(below.max()) + 1e-9))
        at = np.unravel_index(int(score.argmax()), score.shape)
        if score[at] > best + 1e-3:
            best = float(score[at])
            # `other` at p + d is the edited picture at c + scale (p + d - c).
            found = float(scale), float(scale) * (int(at[1]) - reach), float(scale) * (int(at[0]) - reach)
    return found


def _refined(
    a: np.ndarray, b: np.ndarray, w: np.ndarray, scale: float, dx: float, dy: float
) -> tuple[float, float, float]:
    """Scale and shift after Gauss-Newton steps on the squared difference where `w` is set; b's contrast is free."""
    height, width = a.shape
    y = (np.arange(height) - (height - 1) / 2)[:, None]
    x = (np.arange(width) - (width - 1) / 2)[None, :]
    inside = w > 0
    for _ in range(_ROUNDS):
        now = _sampled(b, scale, dx, dy)
        by, bx = np.gradient(now)
        by, bx = by / scale, bx / scale
        columns = [part[inside] for part in (bx, by, bx * x + by * y, now)]
        jacobian = np.stack(columns, axis=1).astype(np.float64)
        # a ≈ gain · now + steps along the first three columns
        solved, *_ = np.linalg.lstsq(jacobian.T @ jacobian, jacobian.T @ a[inside].astype(np.float64), rcond=None)
        gain = solved[3] if abs(solved[3]) > 0.1 else 1.0
        step = solved[:3] / gain
        dx, dy, scale = dx + float(step[0]), dy + float(step[1]), scale + float(step[2])
        if not 0.5 < scale < 2 or max(abs(dx) / width, abs(dy) / height) > 1:
            return 1.0, 0.0, 0.0
        if abs(step[0]) + abs(step[1]) < 0.01 and abs(step[2]) * max(height, width) < 0.02:
            break
    return scale, dx, dy
