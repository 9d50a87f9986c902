"""Prompts and regions of a job, as editors of several families need them."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from gas.errors import InputRefused
from gas.interfaces import EditJob
from gas.remedies import Given, Remedy, Setting, give_region
from gas.types import Region
from gas_editors.model_options import one_or_several


def _five_or_one(value: tuple[float, ...]) -> tuple[float, ...]:
    if len(value) not in (1, 5) or any(one < 0 for one in value):
        raise ValueError("it is one number or five, none below 0")
    return value


NoiseWeights = Annotated[
    tuple[float, ...], Field(min_length=1, max_length=5), BeforeValidator(one_or_several), AfterValidator(_five_or_one)
]
"""A weight for each of five ranges of signal-to-noise ratio, the clearest first, or one number for all."""


def whole_prompts(job: EditJob, *, source: bool = True) -> tuple[str, str]:
    """The plan's whole sentences (before, after). InputRefused (exit 3) when one that is needed is empty."""
    plan = job.plan
    for name, text in (("source", plan.source_prompt), ("target", plan.target_prompt)):
        if not text.strip() and (source or name == "target"):
            raise InputRefused(
                f"the plan has no {name} prompt, a sentence for the whole picture",
                Remedy(
                    "whole_prompts",
                    "give {source} and {target}, or {caption}, or write {field} into the plan",
                    source=Setting("source"),
                    target=Setting("target"),
                    caption=Setting("caption"),
                    field=f"{name}_prompt",
                ),
            )
    return plan.source_prompt, plan.target_prompt


def subtask_regions(job: EditJob, index: int) -> list[Region]:
    """The regions of the subtask `index`. InputRefused (exit 3) when it has none."""
    regions = [region for region in job.regions if region.subtask == index]
    if not regions:
        phrase = job.plan.subtasks[index].region_phrase
        raise InputRefused(f"subtask {index + 1} ({phrase!r}) has no region", give_region(phrase))
    return regions


def is_backdrop(mask: np.ndarray) -> bool:
    """Whether a mask `(H, W)` spans the picture from its left edge to its right one: a ground, a sky, a wall."""
    inside = mask > 0
    return bool(inside[:, 0].any() and inside[:, -1].any())


def region_mask(region: Region) -> np.ndarray:
    """The region's mask `(H, W)`. InputRefused when it has none."""
    if region.mask is None:
        raise InputRefused(
            f"the region of {region.phrase!r} has no mask",
            Remedy("give_mask", "give {region}", region=Given(region.phrase, ("mask", "box"))),
        )
    return region.mask
