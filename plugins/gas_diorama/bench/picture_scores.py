"""How near a finished picture is to the exact one and to what was asked: L1 and L2, and with a CLIP the scores of the
papers on editing by instruction (MagicBrush, Zhang et al. 2023; ZONE, Li et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gas.errors import ModelUnavailable
from gas.types import EditPlan

if TYPE_CHECKING:
    from gas.diffusion.clip import Clip
    from gas.runtime import Runtime

Picture = NDArray[np.uint8]

CLIP = "package:gas_diorama/weights/clip"


@dataclass(frozen=True)
class PictureScores:
    """Of one finished picture; what needs a CLIP is None without one.

    * l1, l2: mean absolute and mean squared difference from the exact result over the whole picture, in [0, 1].
    * clip_i: cosine of the picture with the exact result; clip_t: with the plan's sentence for the result.
    * clip_region: mean over the subtasks of the cosine of the region's crop with what is to be there (what lies behind
      a thing that is to be removed).
    """

    l1: float
    l2: float
    clip_i: float | None = None
    clip_t: float | None = None
    clip_region: float | None = None


def find_clip(name: str, runtime: Runtime) -> Clip | None:
    """The CLIP that `resolve_model` finds under `name`; None where there is none. ModelUnavailable (exit
    6) when what is there is not one."""
    from gas.models.manifest import resolve_model

    try:
        resolve_model(name)
    except ModelUnavailable:
        return None
    from gas.diffusion.clip import Clip

    return Clip.load(name, runtime)


def picture_scores(
    picture: Picture, exact: Picture, plan: EditPlan, regions: Sequence[NDArray[np.bool_]], clip: Clip | None
) -> PictureScores:
    """The scores of `picture` where `exact` was wanted, both uint8 (h, w, 3); `regions` are the exact ones of the
    plan's subtasks, in their order. Pictures of two shapes are refused with a ValueError."""
    if picture.shape != exact.shape:
        raise ValueError(f"a picture of {picture.shape} cannot be compared with one of {exact.shape}")
    difference = (picture.astype(np.float64) - exact) / 255
    l1, l2 = float(np.abs(difference).mean()), float(np.square(difference).mean())
    if clip is None:
        return PictureScores(l1, l2)
    parts = [
        clip.masked_clip_t(picture, region.astype(np.float32), subtask.target or subtask.anchor or "")
        for subtask, region in zip(plan.subtasks, regions, strict=True)
    ]
    return PictureScores(
        l1,
        l2,
        clip_i=clip.clip_i(picture, exact),
        clip_t=clip.clip_t(picture, plan.target_prompt),
        clip_region=float(np.mean(parts)),
    )
