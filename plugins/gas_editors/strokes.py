"""A stroke of paint where a thing is to be added, for an editor that would choose the place itself (after SDEdit, Meng
et al. 2021, arXiv 2108.01073, whose edits begin with strokes)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gas.diffusion.sample.targets import COVERED
from gas.masks import mask_box, union
from gas.picture.colour_names import Colour, colours_in
from gas.picture.oklab import from_lab
from gas_editors.job_regions import region_mask, subtask_regions
from gas_editors.latent_masks import subtask_mask

if TYPE_CHECKING:
    from gas.interfaces import EditJob
    from gas.types import Image, Mask, Subtask

INSIDE = 0.72
"""A stroke's size over its region's box: a region has room around the thing."""


@dataclass(frozen=True)
class Strokes:
    """The job's picture `(H, W, 3)` with a stroke for each addition that names a colour, and where they are in a
    latent, `(1, 1, h, w)` bool. `until`: an editor that samples holds the place to the picture down to this share of
    the schedule."""

    picture: Image
    places: Tensor
    until: float

    @classmethod
    def of(cls, job: EditJob, size: tuple[int, int], until: float = 1.0) -> Strokes | None:
        """Those of `job` for latents of `size` (h, w); None where it adds nothing of a named colour."""
        picture, places = job.image.copy(), []
        for index, subtask in enumerate(job.plan.subtasks):
            if (colour := stroke_colour(subtask)) is not None:
                mask = union([region_mask(region) for region in subtask_regions(job, index)])
                picture[_ellipse(mask)] = from_lab(colour.array[None])[0]
                places.append(subtask_mask(job, index, size) >= COVERED)
        return cls(picture, torch.stack(places).any(0), until) if places else None


def stroke_colour(subtask: Subtask) -> Colour | None:
    """The colour of the stroke for `subtask`: the one that an addition names; None where it names none or several, and
    for what is no addition."""
    named = colours_in(subtask.target) if subtask.action == "add" else []
    return named[0] if len(named) == 1 else None


def _ellipse(mask: Mask) -> np.ndarray:
    """The ellipse in the middle of a mask's box, `(H, W)` bool."""
    x0, y0, x1, y1 = mask_box(mask)
    rows, columns = np.mgrid[: mask.shape[0], : mask.shape[1]]
    across = (columns + 0.5 - (x0 + x1) / 2) / ((x1 - x0) / 2 * INSIDE)
    down = (rows + 0.5 - (y0 + y1) / 2) / ((y1 - y0) / 2 * INSIDE)
    return np.asarray(across**2 + down**2 < 1)
