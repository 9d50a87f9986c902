"""All segments of a picture from a grid of points, as the authors' SamAutomaticMaskGenerator finds them, without
torchvision and for all of Sam's successors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from gas.interfaces import Step
from gas_grounders.boxes import iou

if TYPE_CHECKING:
    from gas.interfaces import Watch
    from gas_grounders.sam.network import SamOptions

POINTS_AT_ONCE = 64
LOGITS_AT_ONCE = 2**27


@dataclass(frozen=True)
class _Packed:
    """A mask in one bit a pixel: a large photograph's candidates would fill the memory otherwise."""

    bits: np.ndarray
    shape: tuple[int, int]
    box: np.ndarray
    score: float

    @classmethod
    def of(cls, mask: np.ndarray, score: float) -> _Packed:
        return cls(np.packbits(mask), (mask.shape[0], mask.shape[1]), outline(mask), score)

    @property
    def mask(self) -> np.ndarray:
        return np.unpackbits(self.bits, count=self.shape[0] * self.shape[1]).reshape(self.shape).astype(bool)


def all_segments(
    predict: Callable[[np.ndarray], tuple[Tensor, Tensor]],
    enlarge: Callable[[Tensor], Tensor],
    size: tuple[int, int],
    options: SamOptions,
    watch: Watch,
) -> list[tuple[np.ndarray, float]]:
    """Masks, bool `(H, W)`, with the IoU expected of each; the best first (Kirillov et al. 2023, appendix B).

    `predict` gives small logits `(n, 3, h, w)` and expected IoUs `(n, 3)` for points `(n, 2)` in pixels of a picture of
    `size` (height, width), `enlarge` brings logits to that size. What is not expected to be good, or changes with the
    logit's threshold, or has the box of a better one, is left out. `watch` is told of every 64 points, and asked before
    them whether to stop: Interrupted (exit 130).
    """
    height, width = size
    points = grid(options.points_per_side) * (width, height)
    at_once = max(LOGITS_AT_ONCE // (height * width), 1)
    found: list[_Packed] = []
    for start in range(0, len(points), POINTS_AT_ONCE):
        watch.check_stop()
        low, quality = predict(points[start : start + POINTS_AT_ONCE])
        low, quality = low.flatten(0, 1), quality.flatten()
        if options.iou_threshold > 0:
            keep = quality > options.iou_threshold
            low, quality = low[keep], quality[keep]
        for first in range(0, len(low), at_once):
            logits = enlarge(low[None, first : first + at_once])[0]
            steady = stability(logits, options.mask_threshold, options.stability_offset)
            masks = (logits > options.mask_threshold).cpu().numpy()
            scores = quality[first : first + at_once].tolist()
            for mask, score, share in zip(masks, scores, steady.tolist(), strict=True):
                if mask.any() and (options.stability_threshold <= 0 or share >= options.stability_threshold):
                    found.append(_Packed.of(mask, score))
        if watch.on_step is not None:
            watch.on_step(Step(min(start + POINTS_AT_ONCE, len(points)), len(points)))
    found = [found[i] for i in suppress([one.box for one in found], [one.score for one in found], options.nms)]
    if options.smallest_area > 0:
        found = _tidy(found, options.smallest_area, options.nms)
    return [(one.mask, one.score) for one in found]


def grid(side: int) -> np.ndarray:
    """`side` by `side` points, float64 `(side * side, 2)` in [0, 1], in the middle of equal cells, row by row."""
    line = np.linspace(1 / (2 * side), 1 - 1 / (2 * side), side)
    x, y = np.meshgrid(line, line)
    return np.stack([x.ravel(), y.ravel()], axis=-1)


def stability(logits: Tensor, threshold: float, offset: float) -> Tensor:
    """The IoU `(n,)` of each mask at a higher with that at a lower threshold; 0 where the lower one is empty."""
    high = (logits > threshold + offset).flatten(1).sum(1).float()
    return high / (logits > threshold - offset).flatten(1).sum(1).clamp(min=1)


def suppress(boxes: Sequence[np.ndarray], scores: Sequence[float], limit: float) -> list[int]:
    """The indices, best score first, of boxes whose IoU with every better kept one is at most `limit` (NMS)."""
    if not len(boxes):
        return []
    places = np.asarray(boxes, np.float64)
    waiting = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    kept: list[int] = []
    while len(waiting):
        kept.append(int(waiting[0]))
        waiting = waiting[1:][iou(places[waiting[0]], places[waiting[1:]]) <= limit]
    return kept


def outline(mask: np.ndarray) -> np.ndarray:
    """The box `(4,)` from the mask's first to its last row and column, the last ones inclusive as the authors have it;
    zeros for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.zeros(4)
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], np.float64)


def without_small(mask: np.ndarray, area: int) -> np.ndarray:
    """The mask without holes, then without islands, of fewer than `area` pixels; its largest island always stays."""
    from scipy import ndimage

    round_about = np.ones((3, 3))
    holes, _ = ndimage.label(~mask, round_about)
    sizes = np.bincount(holes.ravel())
    small = sizes < area
    small[0] = False
    mask = mask | small[holes]
    islands, count = ndimage.label(mask, round_about)
    sizes = np.bincount(islands.ravel())
    sizes[0] = 0
    keep = sizes >= area
    keep[0] = False
    if count and not keep.any():
        keep[np.argmax(sizes)] = True
    return keep[islands]


def _tidy(found: Sequence[_Packed], area: int, limit: float) -> list[_Packed]:
    """Segments without small islands and holes; of two that have become alike, one that was left as it was is kept."""
    cleaned = [without_small(one.mask, area) for one in found]
    same = [float(np.array_equal(mask, one.mask)) for mask, one in zip(cleaned, found, strict=True)]
    tidy = [_Packed.of(mask, one.score) for mask, one in zip(cleaned, found, strict=True)]
    return [tidy[i] for i in suppress([one.box for one in tidy], same, limit)]
