"""MasaCtrl (Cao et al. 2023, arXiv 2304.08465): the target prompt is sampled from the picture's own noise, and from
some step and layer on it looks at the source picture instead of at itself: other poses of the same things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from gas.diffusion.attention.inject import Parts, share_attention
from gas.diffusion.attention.sites import AttentionSite
from gas.diffusion.predictor import Predictor
from gas.diffusion.sample.inversion import invert
from gas.diffusion.sample.phases import Phases, sample
from gas.diffusion.sample.targets import Targets
from gas.diffusion.schedule import times
from gas.errors import UsageError
from gas.interfaces import EditJob
from gas_editors.job_regions import whole_prompts
from gas_editors.latent_masks import union_mask
from gas_editors.sampling.base import SamplingEditor, SamplingOptions


class MasaCtrlOptions(SamplingOptions):
    """Settings of MasaCtrl. Defaults are those of its authors' code for real pictures (`playground_real.ipynb`)."""

    start_step: int = Field(4, ge=0, le=1000, description="first step that looks at the source, counted from 0 (S)")
    start_layer: int = Field(
        10,
        ge=0,
        le=200,
        description="first self-attention layer that looks at the source, counted from 0 as they are computed (L): "
        "Stable Diffusion 1.x has 16, those from 10 on are the decoder's two finest levels",
    )
    source_prompt: Literal["empty", "plan"] = Field(
        "empty", description="what the source picture is inverted with: the empty prompt, or the plan's source prompt"
    )
    within_regions: bool = Field(
        False,
        description="cells of the regions look at the source's regions only, the others at the rest (sec. 3.3, the "
        "job's regions in place of masks from attention)",
    )
    fixed_point: int = Field(
        0, ge=0, le=20, description="times that each step of the inversion is refined (Pan et al. 2023); 0: not at all"
    )


class MasaCtrlEditor(SamplingEditor[MasaCtrlOptions]):
    """Samples the target prompt with the keys and values of the source picture.

    The source's are computed on the path of the inversion itself, so that they are the picture's (docs/methods.md).
    """

    options_type = MasaCtrlOptions
    needs_source = False

    def planned(self, job: EditJob) -> int:
        return 2 * len(times(self.model.schedule, self.options.steps))

    def run(
        self, job: EditJob, phases: Phases, predictor: Predictor, z_source: Tensor, targets: Targets
    ) -> tuple[Tensor, Mapping[str, Any]]:
        options, schedule = self.options, predictor.schedule
        sites = self._sites()
        prompt = whole_prompts(job)[0] if options.source_prompt == "plan" else ""
        parts = self._parts(job, targets, (z_source.shape[2], z_source.shape[3]))
        when = times(schedule, options.steps)
        inversion = invert(phases, predictor, z_source, prompt, when, refine=options.fixed_point, runtime=self.runtime)
        # Rows: the source's, the null prompt's, and one for each target; all but the first look at the first.
        wanted = [target for _, target in targets.prompts]
        every = predictor.guided(wanted, options.guidance_scale, unguided=[prompt])
        own, taken = every[1:], dict.fromkeys(range(1, len(every)), 0)

        def noise(z: Tensor, t: float, i: int) -> Tensor:
            rows = z.expand(len(own), -1, -1, -1)
            if i >= options.start_step:
                with share_attention(sites, taken, parts):
                    both = torch.cat([inversion.at(i), rows])
                    eps = predictor.predict(both, t, every)[1:]
            else:
                eps = predictor.predict(rows, t, own)
            return targets.guided(eps, t, options.guidance_scale)

        def after(z: Tensor, s: float, i: int) -> Tensor:
            return targets.blend(z, inversion.reached(s, i))

        z = sample(phases, "sampling", schedule, inversion.noise(), when, noise, after)
        return z, {"layers": [site.name for site in sites], "shared_steps": max(0, len(when) - options.start_step)}

    def _sites(self) -> tuple[AttentionSite, ...]:
        sites = self.model.need_sites("self", "MasaCtrl")
        first = self.options.start_layer
        if first >= len(sites):
            raise UsageError(
                f"start_layer {first} is beyond the model's {len(sites)} self-attention layers",
                f"use at most {len(sites) - 1}",
            )
        return sites[first:]

    def _parts(self, job: EditJob, targets: Targets, size: tuple[int, int]) -> dict[int, Parts]:
        """For each row that is restricted, where it may look: a subtask's own region; for the whole and the null prompt
        all of them."""
        if not self.options.within_regions:
            return {}
        whole = union_mask(job, size)
        masks = [*(() if targets.masks is None else targets.masks.split(1)), whole]
        null_row = [whole] if self.model.guidance == "null" else []
        shown = [*null_row, *((one > 0).float() for one in masks)]
        return {row: Parts(one[0, 0], one[0, 0]) for row, one in enumerate(shown, 1)}
