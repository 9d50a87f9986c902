"""What became of the pixels of a region: nothing, noise, black, or something that only a model can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gas.masks import any_set

if TYPE_CHECKING:
    from gas.interfaces import VerifyJob
    from gas.types import Failure, Image

VISIBLE = 16
"""Levels of 255 by which a pixel must change to count as changed: beyond what JPEG or a model's coding does."""
ROUGH, ALIKE = 24.0, 0.5
"""Noise: neighbouring pixels differ by so many levels in the mean, and correlate less than that. Gravel or leaves in a
photograph differ by as much, and correlate."""
DARK, LIGHT = 12.0, 24.0
"""Black: no channel above the one, where the mean was above the other."""


@dataclass(frozen=True)
class Change:
    """What became of a region.

    * mean: mean absolute difference, in levels of 255 over all channels;
    * share: of the region's pixels that have changed by more than VISIBLE levels, in [0, 1];
    * roughness: mean difference of neighbouring pixels after the edit, in levels of 255; `roughness_before` before it;
    * correlation: of neighbouring pixels after the edit, in [-1, 1]; 1 for a flat region;
    * black: whether it is black now, and was not.
    """

    mean: float
    share: float
    roughness: float
    roughness_before: float
    correlation: float
    black: bool

    @property
    def noise(self) -> bool:
        """Whether the region is noise now, and was not."""
        rough = self.roughness >= max(ROUGH, 1.5 * self.roughness_before)
        return rough and self.correlation < ALIKE


def region_of(job: VerifyJob, subtask: int) -> np.ndarray | None:
    """The pixels `(H, W)` bool that a subtask may change; None where it has no region."""
    masks = job.masks(subtask)
    if not masks:
        return None
    inside = any_set(masks)
    return inside if bool(inside.any()) else None


def change(before: Image, after: Image, inside: np.ndarray) -> Change:
    """What became of the pixels `inside` `(H, W)` bool of a picture, of which there is at least one."""
    old, new = before[inside].astype(np.float32), after[inside].astype(np.float32)
    difference = np.abs(old - new)
    rough, alike = _neighbours(after, inside)
    return Change(
        mean=float(difference.mean()),
        share=float((difference.max(axis=1) > VISIBLE).mean()),
        roughness=rough,
        roughness_before=_neighbours(before, inside)[0],
        correlation=alike,
        black=bool(new.max() <= DARK) and bool(old.mean() > LIGHT),
    )


def spoilt(job: VerifyJob, subtask: int) -> Failure | None:
    """The failure that needs no model to be seen: a region that is bit for bit the photograph's ("unchanged"), noise
    ("noise") or black ("erased"). None for any other, and for a subtask without a region in a picture that changed.

    Every verifier begins with it: a model that compares two phrases prefers one of them on noise too.
    """
    inside = region_of(job, subtask)
    if inside is None:
        return "unchanged" if bool((job.before == job.after).all()) else None
    if bool((job.before[inside] == job.after[inside]).all()):
        return "unchanged"
    found = change(job.before, job.after, inside)
    if found.black:
        return "erased"
    return "noise" if found.noise else None


def outside_share(job: VerifyJob) -> float | None:
    """The share of the pixels outside all regions that have visibly changed, in [0, 1]; None where there is no region,
    or nothing outside."""
    masks = [region.mask for region in job.regions if region.mask is not None]
    if not masks:
        return None
    outside = ~any_set(masks)
    if not bool(outside.any()):
        return None
    difference = np.abs(job.before[outside].astype(np.int16) - job.after[outside])
    return float((difference.max(axis=1) > VISIBLE).mean())


def _neighbours(image: Image, inside: np.ndarray) -> tuple[float, float]:
    """How much neighbouring pixels inside differ, in levels, and how they correlate (1 where there are few, or all are
    the same)."""
    grey = image.astype(np.float32).mean(axis=2)
    right, below = inside[:, 1:] & inside[:, :-1], inside[1:] & inside[:-1]
    one = np.concatenate([grey[:, 1:][right], grey[1:][below]])
    other = np.concatenate([grey[:, :-1][right], grey[:-1][below]])
    if len(one) < 16:
        return 0.0, 1.0
    rough = float(np.abs(one - other).mean())
    spread = float(one.std() * other.std())
    if spread < 1e-3:
        return rough, 1.0
    return rough, float(((one - one.mean()) * (other - other.mean())).mean() / spread)
