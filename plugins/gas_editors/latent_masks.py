"""The regions of a job as masks at latent resolution."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from gas.diffusion.masks import latent_mask
from gas.errors import InputRefused
from gas.interfaces import EditJob
from gas.remedies import GIVE_REGIONS
from gas_editors.job_regions import region_mask, subtask_regions


def with_halo(mask: np.ndarray, cells: float, size: tuple[int, int]) -> np.ndarray:
    """A mask `(H, W)` grown by `cells` of a latent of `size` (h, w) on every side, corners included; below 0 shrunk,
    but never at the picture's border, and as it was where nothing would be left."""
    radius = round(abs(cells) * min(mask.shape[0] / size[0], mask.shape[1] / size[1]))
    if not radius:
        return mask
    change = ndimage.maximum_filter if cells > 0 else ndimage.minimum_filter
    made = change(mask, 2 * radius + 1, mode="nearest")
    return made if made.any() else mask


def union_mask(job: EditJob, size: tuple[int, int]) -> Tensor:
    """`(1, 1, h, w)`: the union of the masks of all regions. InputRefused when there are none."""
    if not job.regions:
        raise InputRefused("the mask is to be the regions' union, but there are no regions", GIVE_REGIONS)
    return torch.stack([latent_mask(region_mask(region), size) for region in job.regions]).amax(0)


def subtask_mask(job: EditJob, index: int, size: tuple[int, int]) -> Tensor:
    """`(1, 1, h, w)`: where the subtask `index` acts on a latent of `size`: the union of its regions. InputRefused
    (exit 3) when it has none."""
    regions = subtask_regions(job, index)
    return torch.stack([latent_mask(region_mask(region), size) for region in regions]).amax(0)
