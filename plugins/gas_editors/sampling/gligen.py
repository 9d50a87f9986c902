"""GLIGEN inpainting (Li et al. 2023, arXiv 2301.07093): each subtask's box is filled anew, by a model that is told
which phrase belongs into which box."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gas.diffusion.backbone import Backbone
from gas.diffusion.gligen import MOST_THINGS, RelativeBox, keeping, with_boxes
from gas.diffusion.load import load_backbone
from gas.diffusion.masks import box_cells, cells_mask
from gas.diffusion.predictor import Predictor
from gas.diffusion.sample.phases import Phases, sample
from gas.diffusion.sample.targets import Targets
from gas.diffusion.schedule import times
from gas.errors import InputRefused, UsageError
from gas.interfaces import EditJob
from gas.masks import box_mask, mask_box
from gas.remedies import Option, Remedy
from gas.types import Box, Region, Subtask
from gas_editors.job_regions import region_mask, subtask_regions
from gas_editors.maps import save_map
from gas_editors.sampling.base import SamplingEditor, SamplingOptions

MODEL = "masterful/gligen-1-4-inpainting-text-box"
"""The inpainting model that was published in diffusers' layout; its newest revision. It is not in a profile, since
profiles name safetensors and this one has none."""
REVISION = "d6d957f8d27c40889c0d570a616571a5645c8be3"


class GLIGENOptions(SamplingOptions):
    """Settings of GLIGEN inpainting. Defaults are those of diffusers' own pipeline for it, which agree with the
    authors' code."""

    model: str | None = Field(
        None,
        description=f"hub id, id@revision, or folder of a GLIGEN model, such as {MODEL}@{REVISION} with "
        "allow_pickle=true (its weights are .bin files)",
    )
    scheduled_sampling: float = Field(
        0.3,
        ge=0,
        le=1,
        description="share of the steps, from the noisiest on, in which the boxes are told (paper: tau; 0.3 to 1)",
    )


class GLIGENEditor(SamplingEditor[GLIGENOptions]):
    """Fills the boxes of all regions anew and keeps the rest: outside them the source's latent of the same time is put
    back after each step.

    A subtask's target belongs into its boxes; of a removal the anchor does, what lies behind it, if the plan names it.
    A grounded run fills the regions themselves, one row for each subtask beside the whole prompt's (docs/methods.md).
    """

    options_type = GLIGENOptions
    draws = False
    needs_regions = True
    edits_pictures = False
    needs_source = False

    @property
    def model(self) -> Backbone:
        options = self.options
        if not options.model:
            raise UsageError(
                "no GLIGEN model is named",
                Remedy(
                    "name_gligen",
                    "use {folder}, or {hub}",
                    folder=Option({"model": "FOLDER"}),
                    hub=Option({"model": MODEL, "allow_pickle": True}),
                ),
            )
        return load_backbone(options.model, self.runtime, kind="boxes", **options.reading())

    def planned(self, job: EditJob) -> int:
        return len(times(self.model.schedule, self.options.steps))

    def run(
        self, job: EditJob, phases: Phases, predictor: Predictor, z_source: Tensor, targets: Targets
    ) -> tuple[Tensor, Mapping[str, Any]]:
        model, schedule, options = self.model, predictor.schedule, self.options
        keep = self._kept(job, targets, z_source)
        things = self._things(job)
        untold = predictor.guided([target for _, target in targets.prompts], options.guidance_scale)
        if (beside := keeping(model, z_source, keep)) is not None:
            untold = untold.with_extra(beside=beside.expand(len(untold), -1, -1, -1))
        # The null prompt's row is told nothing, where there is one; the whole prompt's, the last, of all things.
        every = [thing for own in things for thing in own]
        rows = [*(things if job.grounded else ()), every]
        told = with_boxes(model, untold, [*([[]] * (len(untold) - len(rows))), *rows])
        ordered = times(schedule, options.steps)
        last_told = math.ceil(options.scheduled_sampling * len(ordered))  # up, so that of few steps one is told too
        # One noise for all times, for then what is put back outside is one path, as what is made inside is; the authors
        # draw it anew for each step, with a sampler that forgives it.
        noise = torch.randn(z_source.shape, generator=torch.Generator().manual_seed(job.seed)).to(z_source)

        def predict(z: Tensor, t: float, i: int) -> Tensor:
            rows = predictor.predict(z, t, told if i < last_told else untold)
            return targets.guided(rows, t, options.guidance_scale)

        def source_at(s: float) -> Tensor:
            return z_source if s == schedule.clean else schedule.add_noise(z_source, noise, s)

        def blend(z: Tensor, s: float, i: int) -> Tensor:
            return keep * source_at(s) + (1 - keep) * z

        z = sample(phases, "inpainting", schedule, blend(noise, ordered[0], 0), ordered, predict, blend)
        save_map(job.watch, "filled", 1 - keep[0, 0], job.image.shape[:2])
        texts = {phrase for phrase, _ in every} | {text for _, text in targets.prompts}
        cut = {text: words for text in sorted(texts) if (words := model.dropped_words(text))}
        described = [{"phrase": phrase, "box": list(box)} for phrase, box in every]
        return z, {"things": described, "steps_told": last_told, "prompts_cut": cut}

    def paste_mask(self, job: EditJob) -> np.ndarray | None:
        if job.grounded:
            return None
        height, width = job.image.shape[:2]
        return np.maximum.reduce([box_mask(_box(region), (width, height)) for region in job.regions])

    def _kept(self, job: EditJob, targets: Targets, like: Tensor) -> Tensor:
        """`(1, 1, h, w)`: 1 where the picture stays: outside the boxes, or outside the regions of a grounded run."""
        if (region := targets.region) is not None:
            return (region <= 0).to(like)
        for index in range(len(job.plan.subtasks)):
            subtask_regions(job, index)
        size = (like.shape[2], like.shape[3])
        boxes = [cells_mask(box_cells(_box(region), job.image.shape[:2], size), size) for region in job.regions]
        return 1 - torch.stack(boxes).amax(0).to(like)

    def _things(self, job: EditJob) -> list[list[tuple[str, RelativeBox]]]:
        """Which phrase belongs into which box, for each subtask. InputRefused (exit 3) for more than the model
        knows."""
        height, width = job.image.shape[:2]
        own: list[list[tuple[str, RelativeBox]]] = []
        for index, subtask in enumerate(job.plan.subtasks):
            boxes = [_box(region) for region in job.regions if region.subtask == index]
            phrase = phrase_of(subtask)
            own.append([(phrase, (b[0] / width, b[1] / height, b[2] / width, b[3] / height)) for b in boxes if phrase])
        if (count := sum(map(len, own))) > MOST_THINGS:
            raise InputRefused(
                f"the plan has {count} boxes with phrases; GLIGEN was trained with at most {MOST_THINGS}",
                "make the edit in several runs",
            )
        return own


def phrase_of(subtask: Subtask) -> str:
    """What shall be in a subtask's box: its target; of a removal the anchor, what lies behind it ("" if not known)."""
    return (subtask.anchor or "").strip() if subtask.action == "remove" else subtask.target


def _box(region: Region) -> Box:
    """The region's box in pixels, or the one around its mask."""
    return region.box or mask_box(region_mask(region))
