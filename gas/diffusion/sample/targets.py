"""What a sampler is to make: one prompt for the whole picture, or one for each region and one for the whole
(Ground-A-Score's subtasks for editors that sample)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gas.diffusion.guidance import NoisePrediction
from gas.diffusion.masks import weaken_overlaps
from gas.diffusion.schedule import Schedule

COVERED = 0.5
"""Share of a cell that a region must cover to change it. A cell that it only grazes shows other things, which the edit
would redraw; `latent_mask` has scaled thin regions up, so none is lost."""


@dataclass(frozen=True)
class Targets:
    """Rows of a batch and how their predictions make one.

    * prompts: (source, target) of each row; grounded, one row for each subtask and the whole picture's as the last.
    * masks: `(n - 1, 1, h, w)`, where each subtask acts, less where smaller ones overlap it; None when plain.
    * beta: weight of the whole prompt beside the subtasks, at a time t.
    * strengths: weight of each subtask beside the whole prompt and where regions overlap; none given: 1 for all.
    """

    prompts: tuple[tuple[str, str], ...]
    masks: Tensor | None = None
    beta: Callable[[float], float] = lambda t: 1.0
    strengths: tuple[float, ...] = ()

    @classmethod
    def plain(cls, source: str, target: str) -> Targets:
        """One prompt for the whole picture: the published methods."""
        return cls(((source, target),))

    @classmethod
    def grounded(
        cls,
        subtasks: Sequence[tuple[str, str]],
        whole: tuple[str, str],
        masks: Sequence[Tensor],
        schedule: Schedule,
        *,
        overlap: float = 0.3,
        beta: Sequence[float] = (0.5, 0.4, 0.3, 0.2, 0.1),
        strengths: Sequence[float] = (),
    ) -> Targets:
        """(source, target) of each subtask with its mask `(1, 1, h, w)`, and of the whole picture.

        `overlap` is the factor of the larger of two regions where they overlap (Ground-A-Score, supplement 6.1), `beta`
        the weight of the whole prompt for five ranges of signal-to-noise ratio, the clearest first (its section 3.2),
        or one number for all; `strengths` are the plan's. ValueError unless there is one mask (and one strength, if any
        are given) for each subtask, and at least one.
        """
        if not masks or len(masks) != len(subtasks):
            raise ValueError(f"{len(masks)} masks for {len(subtasks)} subtasks")
        if strengths and len(strengths) != len(subtasks):
            raise ValueError(f"{len(strengths)} strengths for {len(subtasks)} subtasks")
        weakened = torch.cat(weaken_overlaps(masks, overlap))
        weights = tuple(beta)
        at = (lambda t: weights[schedule.snr_bin(t)]) if len(weights) > 1 else (lambda t: weights[0])
        return cls((*subtasks, whole), weakened, at, tuple(strengths))

    @property
    def region(self) -> Tensor | None:
        """The union of the masks `(1, 1, h, w)`; None when plain: everywhere."""
        return None if self.masks is None else self.masks.amax(0, keepdim=True)

    def shares(self, t: float, like: Tensor) -> Tensor:
        """How much each row counts in each cell, `(n, 1, h, w)`, at the time t; in every cell the sum is 1.

        Ground-A-Score adds its gradients (eq. 7); predictions of noise must stay one prediction, or the guidance would
        grow with the number of subtasks, so here the same weights are divided by their sum. Outside all regions the
        whole prompt alone counts.
        """
        if self.masks is None:
            return like.new_ones(1, 1, *like.shape[2:])
        masks = self.masks.to(like)
        whole = self.beta(t) * masks.amax(0, keepdim=True)
        own = masks * masks.new_tensor(self.strengths).view(-1, 1, 1, 1) if self.strengths else masks
        weights = torch.cat([own, torch.where(masks.amax(0, keepdim=True) > 0, whole, torch.ones_like(whole))])
        return weights / weights.sum(0, keepdim=True)

    def combine(self, rows: Tensor, t: float) -> Tensor:
        """One prediction `(1, C, h, w)` of the rows' `(n, C, h, w)`."""
        return rows if self.masks is None else (self.shares(t, rows) * rows).sum(0, keepdim=True)

    def guided(self, rows: Tensor, t: float, scale: float) -> Tensor:
        """The guided prediction `(1, C, h, w)` of the predictions for the rows of `Predictor.guided`, one for each of
        `prompts`: the null prompt's first `(1 + n, C, h, w)`, where the model has one; else `(n, C, h, w)`. The
        targets' are combined."""
        null = rows[: len(rows) - len(self.prompts)]
        return NoisePrediction(null if len(null) else None, self.combine(rows[len(null) :], t)).guided(scale)

    def blend(self, z: Tensor, z_source: Tensor) -> Tensor:
        """`z` inside the region and `z_source` outside it, both `(1, C, h, w)` at one time (blended diffusion,
        Avrahami et al. 2022); all of `z` when plain."""
        if (region := self.region) is None:
            return z
        return torch.where(region.to(z.device) >= COVERED, z, z_source)
