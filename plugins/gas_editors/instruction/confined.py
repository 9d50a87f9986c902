"""Several instructions in one denoising, each in its own region: InstructPix2Pix's guidance (eq. 3) with the masks of
Ground-A-Score (eq. 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gas.diffusion.masks import weaken_overlaps
from gas.diffusion.sample.targets import COVERED
from gas.interfaces import EditJob
from gas_editors.latent_masks import subtask_mask


@dataclass(frozen=True)
class Confined:
    """Where each instruction acts on a latent of (h, w) cells.

    * shares: `(K, 1, h, w)`, how much of the guidance by text each has in a cell; where regions overlap they share it.
    * region: `(1, 1, h, w)` bool, the union; outside it the latent is the source's own with the run's noise on it.
    """

    shares: Tensor
    region: Tensor

    @classmethod
    def of(cls, job: EditJob, size: tuple[int, int], overlap: float) -> Confined:
        """The regions of `job`, the larger of two with the factor `overlap` where they overlap. A subtask's strength
        multiplies its share. InputRefused (exit 3) for a subtask without a region."""
        subtasks = job.plan.subtasks
        masks = [subtask_mask(job, index, size) for index in range(len(subtasks))]
        return cls.from_masks(masks, overlap, [subtask.strength for subtask in subtasks])

    @classmethod
    def from_masks(cls, masks: Sequence[Tensor], overlap: float, strengths: Sequence[float]) -> Confined:
        """The same from a mask `(1, 1, h, w)` in [0, 1] and a strength for each subtask."""
        weakened = torch.cat(weaken_overlaps(masks, overlap))
        shares = weakened / weakened.sum(0, keepdim=True).clamp(min=1)
        region = torch.stack(list(masks)).amax(0) >= COVERED
        return cls(shares * shares.new_tensor(strengths).view(-1, 1, 1, 1), region)

    def blend(self, z: Tensor, z_source: Tensor) -> Tensor:
        """`z` inside the region and `z_source` outside it, both `(1, C, h, w)` at one time."""
        return torch.where(self.region.to(z.device), z, z_source)

    def mean(self, values: Sequence[float]) -> Tensor:
        """`(1, 1, h, w)`: in each cell the mean of the subtasks' `values` by their shares; 0 where there are none."""
        weighted = (self.shares * self.shares.new_tensor(values).view(-1, 1, 1, 1)).sum(0, keepdim=True)
        return weighted / self.shares.sum(0, keepdim=True).clamp(min=1e-6)
