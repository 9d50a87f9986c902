"""DiffEdit (Couairon et al. 2022, arXiv 2210.11427): a mask from what two prompts disagree about, and an edit of the
inverted picture within it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from gas.diffusion.sample.inversion import invert
from gas.diffusion.sample.phases import sample
from gas.diffusion.schedule import times
from gas.errors import ResultRefused
from gas.remedies import Remedy, Setting
from gas_editors.maps import save_map
from gas_editors.sampling.base import SamplingEditor, SamplingOptions, guided

if TYPE_CHECKING:
    from gas.diffusion.predictor import Predictor
    from gas.diffusion.sample.phases import Phases, State
    from gas.diffusion.sample.targets import Targets
    from gas.diffusion.schedule import Schedule
    from gas.interfaces import EditJob


class DiffEditOptions(SamplingOptions):
    """Settings of DiffEdit. Defaults are the paper's, where no other source is named."""

    encoding_ratio: float = Field(
        0.8, gt=0, le=1, description="r, share of the way to noise that the picture is taken: more follows the prompt"
    )
    inversion_prompt: Literal["empty", "source"] = Field(
        "empty", description="prompt of the inversion: none (section 3.2), or the source sentence"
    )
    refine: int = Field(0, ge=0, le=20, description="inversion: fixed-point iterations a step (ours)")
    reference: Literal["source", "empty"] = Field(
        "source", description="what the mask compares the target sentence with: the source sentence, or no words"
    )
    mask_strength: float = Field(0.5, gt=0, le=1, description="share of the noise at which the mask is made")
    mask_noises: int = Field(10, ge=1, le=1000, description="n, how many noises the mask is the mean of")
    mask_clamp: float = Field(
        3.0,
        gt=0,
        le=1000,
        description="differences are cut at so many times their mean (diffusers; the paper: no number)",
    )
    mask_scale: Literal["top", "clamp"] = Field(
        "top",
        description="what the cut difference is divided by: its largest value (section 3.2: scaled to [0, 1]), or "
        "what it was cut at (diffusers), which gives far smaller masks where nothing was cut",
    )
    mask_threshold: float = Field(0.5, ge=0, lt=1, description="the mask is where the scaled difference is above it")
    grounded_mask: Literal["region", "both"] = Field(
        "region", description="grounded: a subtask's mask is its region, or its own DiffEdit mask within the region"
    )


class DiffEditEditor(SamplingEditor[DiffEditOptions]):
    """Finds where source and target sentence disagree, takes the picture some way to noise without words, and samples
    it again under the target sentence; after each step what is outside the mask is the picture's own latent.

    In a grounded run each subtask's region is its mask (`grounded_mask=region`): what the planner and the grounders
    have found, instead of what the model finds from prompts. `both` looks within the region for the mask of the
    subtask's own phrases.
    """

    options_type = DiffEditOptions
    compares_prompts = False  # it compares what the model makes of them, and says so
    _mask: Tensor | None = None

    @property
    def needs_source(self) -> bool:  # type: ignore[override]
        return "source" in (self.options.reference, self.options.inversion_prompt)

    def times(self, schedule: Schedule) -> tuple[float, ...]:
        """The descending times of both ways."""
        return times(schedule, self.options.steps, self.options.encoding_ratio)

    def planned(self, job: EditJob) -> int:
        return 2 * len(self.times(self.model.schedule)) + (self.options.mask_noises if self._finds_mask(job) else 0)

    def run(
        self, job: EditJob, phases: Phases, predictor: Predictor, z_source: Tensor, targets: Targets
    ) -> tuple[Tensor, Mapping[str, Any]]:
        options, every = self.options, self.times(predictor.schedule)
        self._mask = None
        measured = {}
        if self._finds_mask(job):
            masks = self._masks(job, phases, predictor, z_source, targets)
            self._mask = masks.amax(0, keepdim=True)
            measured["mask_area"] = float(self._mask.mean())
            if targets.masks is not None:
                targets = replace(targets, masks=targets.masks.to(masks) * masks)
        prompt = job.plan.source_prompt if options.inversion_prompt == "source" else ""
        inversion = invert(phases, predictor, z_source, prompt, every, refine=options.refine, runtime=self.runtime)

        def after(z: Tensor, s: float, i: int) -> Tensor:
            own = inversion.reached(s, i)
            return targets.blend(z, own) if self._mask is None else torch.where(self._mask > 0, z, own)

        predict = guided(predictor, targets, options.guidance_scale)
        z = sample(phases, "sampling", predictor.schedule, inversion.noise(), every, predict, after)
        return z, measured

    def paste_mask(self, job: EditJob) -> np.ndarray | None:
        if self._mask is None:
            return None
        height, width = job.image.shape[:2]
        large = F.interpolate(self._mask, size=(height, width), mode="nearest")[0, 0].float().cpu().numpy()
        if not job.grounded:
            return large
        return large * np.maximum.reduce([region.mask for region in job.regions if region.mask is not None])

    def _finds_mask(self, job: EditJob) -> bool:
        return not job.grounded or self.options.grounded_mask == "both"

    def _masks(self, job: EditJob, phases: Phases, predictor: Predictor, z_source: Tensor, targets: Targets) -> Tensor:
        """`(n, 1, h, w)` of zeros and ones: where source and target disagree, of the whole sentences, or of each
        subtask of a grounded run within its region (section 3.2, step 1). ResultRefused (exit 11) when they agree."""
        options, schedule = self.options, predictor.schedule
        if targets.masks is None:
            pairs, within = targets.prompts, torch.ones_like(z_source[:, :1])
        else:
            pairs, within = targets.prompts[:-1], (targets.masks > 0).to(z_source)
        count = len(pairs)
        sources = [source if options.reference == "source" else "" for source, _ in pairs]
        told = predictor.condition([*sources, *(target for _, target in pairs)])
        for (_, target), source, one, other in zip(pairs, sources, *told.embeddings.split(count), strict=True):
            if torch.equal(one, other):
                raise _agree(source, target)
        t = schedule.share(options.mask_strength)
        generator = torch.Generator().manual_seed(job.seed)
        noises = torch.randn((options.mask_noises, *z_source.shape), generator=generator).to(z_source)

        def step(i: int, state: State) -> State:
            noisy = schedule.add_noise(z_source, noises[i], t)
            before, now = predictor.predict(noisy, t, told).split(count)
            return {"sum": state["sum"] + (now - before).abs().mean(1, keepdim=True)}

        start = z_source.new_zeros(count, 1, *z_source.shape[2:])
        difference = phases.run("mask", options.mask_noises, {"sum": start}, step)["sum"] / options.mask_noises
        masks = []
        for number, ((_, target), source, one, inside) in enumerate(
            zip(pairs, sources, difference, within, strict=True), start=1
        ):
            scaled = scaled_difference(one, inside > 0, options.mask_clamp, options.mask_scale)
            if bool(inside.any()) and not bool(scaled.any()):
                raise _agree(source, target)
            masks.append((scaled > options.mask_threshold).to(z_source))
            for name, values in (("difference", scaled), ("mask", masks[-1])):
                save_map(job.watch, f"{number}-{name}", values[0], job.image.shape[:2])
        return torch.stack(masks)


def scaled_difference(
    difference: Tensor, within: Tensor, clamp: float, scale: Literal["top", "clamp"] = "top"
) -> Tensor:
    """The difference of two predictions in [0, 1]: cut at `clamp` times its mean, so that single cells do not decide,
    divided by its largest value (`top`) or by where it was cut (`clamp`, as in diffusers), and 0 outside the boolean
    `within`; all 0 where there is no difference. All of one shape."""
    inside = difference * within
    limit = clamp * inside.sum() / within.sum().clamp(min=1)
    cut = torch.minimum(inside, limit)
    whole = cut.max() if scale == "top" else limit
    return cut / whole if whole > 0 else cut


def _agree(source: str, target: str) -> ResultRefused:
    before = repr(source) if source else "no words"
    return ResultRefused(
        f"{before} and {target!r} mean the same to the model, so their difference gives no mask",
        Remedy(
            "name_change_or_ground",
            "name what is to change in the target sentence, or give the regions and use {grounded}",
            grounded=Setting("grounded", True),
        ),
    )
