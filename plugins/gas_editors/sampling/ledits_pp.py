"""LEDITS++ (Brack et al. 2023, arXiv 2311.16711): several concepts at once added to and taken from an inverted picture,
each where the model itself sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from gas.diffusion.attention.maps import collect_attention
from gas.diffusion.attention.sites import AttentionSite, finest_side, sites_near
from gas.diffusion.predictor import Predictor
from gas.diffusion.sample.edit_friendly import invert_edit_friendly
from gas.diffusion.sample.phases import Phases, State, clean
from gas.diffusion.sample.targets import Targets
from gas.diffusion.schedule import SNR_EDGES, Schedule, times
from gas.files import slug
from gas.interfaces import EditJob
from gas.types import Subtask
from gas_editors.job_regions import whole_prompts
from gas_editors.latent_masks import subtask_mask
from gas_editors.maps import save_map
from gas_editors.sampling.base import SamplingEditor, SamplingOptions

_LEAST_CELLS = 8
"""A coarser attention map than 8 x 8 says next to nothing about a place."""


class LEditsPPOptions(SamplingOptions):
    """Settings of LEDITS++. Defaults are those of its authors' example of replacing one thing by another (diffusers,
    `LEditsPPPipelineStableDiffusionXL`: "tennis ball" out, "tomato" in)."""

    steps: int = Field(50, ge=1, le=1000, description="steps of the inversion, and as many of the edit")
    skip: float = Field(
        0.2,
        ge=0,
        le=5,
        description="steps left out at the noisy end, as a share of steps; more of them keep more of the picture",
    )
    guidance_scale: float = Field(10.0, ge=0, le=100, description="s_e of a concept that is to be there")
    remove_scale: float = Field(5.0, ge=0, le=100, description="s_e of a concept that is to go, in the other direction")
    threshold: float = Field(
        0.85,
        ge=0,
        le=1,
        description="lambda of a concept that is to be there: the quantile of cells that its masks leave out",
    )
    remove_threshold: float = Field(0.9, ge=0, le=1, description="lambda of a concept that is to go")
    mask: Literal["both", "attention", "noise", "none"] = Field(
        "both",
        description="where a concept acts: M1 and M2 (paper), M1 from attention alone, M2 from the noise estimates "
        "alone, or everywhere; a grounded run takes the regions instead",
    )


@dataclass(frozen=True)
class Concept:
    """A phrase and how it acts: `scale` is negative for one that is to go; `row` is the target's that it is part of;
    `tokens` how many tokens the model sees of it (0: they are not looked at)."""

    phrase: str
    scale: float
    threshold: float
    row: int
    tokens: int


class LEditsPPEditor(SamplingEditor[LEditsPPOptions]):
    """Edits by guiding the sampler that remakes the picture towards and away from concepts.

    A subtask's target is added and its source taken away, each with the subtask's `strength`. The whole sentences are
    used only by a grounded run, which keeps every concept to its region (docs/methods.md).
    """

    options_type = LEditsPPOptions

    def times(self, schedule: Schedule) -> tuple[float, ...]:
        """The descending times of both ways."""
        steps = self.options.steps
        every = round(steps * (1 + self.options.skip))
        return times(schedule, every, steps / every)

    def planned(self, job: EditJob) -> int:
        return 2 * len(self.times(self.model.schedule))

    def targets(self, job: EditJob, size: tuple[int, int]) -> Targets:
        pairs = tuple(concepts_of(subtask) for subtask in job.plan.subtasks)
        if not job.grounded:
            return Targets(pairs)
        masks = [subtask_mask(job, index, size) for index in range(len(pairs))]
        options, schedule = self.options, self.model.schedule
        return Targets.grounded(pairs, whole_prompts(job), masks, schedule, overlap=options.overlap, beta=options.beta)

    def run(
        self, job: EditJob, phases: Phases, predictor: Predictor, z_source: Tensor, targets: Targets
    ) -> tuple[Tensor, Mapping[str, Any]]:
        schedule = predictor.schedule
        predictor.model.need_null_row("LEDITS++")
        by_attention = targets.masks is None and self.options.mask in ("both", "attention")
        sites = self._sites(predictor.size) if by_attention else ()
        concepts = self._concepts(job, targets, by_attention)
        every = self.times(schedule)
        inversion = invert_edit_friendly(phases, predictor, z_source, every, job.seed, runtime=self.runtime)
        told = predictor.condition(["", *(concept.phrase for concept in concepts)])

        def step(i: int, state: State) -> State:
            z, t = state["z"], inversion.solver.times[i]
            with ExitStack() as seen:
                maps = None
                if by_attention:
                    rows = range(1, 1 + len(concepts))
                    tokens = range(1, 1 + max(concept.tokens for concept in concepts))
                    maps = seen.enter_context(collect_attention(sites, predictor.size, rows=rows, tokens=tokens))
                null, *noises = predictor.predict(z, t, told).split(1)
            guidance = torch.cat([concept.scale * (one - null) for concept, one in zip(concepts, noises, strict=True)])
            attention = None if maps is None else maps.mean()
            masks = self._masks(targets, concepts, guidance, attention, t)
            eps = null + (masks * guidance).sum(0, keepdim=True)
            estimate = clean(schedule, z, eps, t)
            return {
                "z": targets.blend(inversion.step(i, z, estimate, state["before"]), inversion.at(i + 1)),
                "before": estimate,
                "estimate": targets.blend(estimate, z_source),
                "masks": state["masks"] + masks,
            }

        count = len(inversion.solver.times)
        state = {
            "z": inversion.at(0),
            "before": torch.zeros_like(z_source),
            "masks": z_source.new_zeros(len(concepts), 1, *z_source.shape[2:]),
        }
        state = phases.run("edit", count, state, step)
        self._save(job, concepts, state["masks"] / count)
        return state["z"], {"concepts": [_described(concept) for concept in concepts]}

    def _concepts(self, job: EditJob, targets: Targets, by_attention: bool) -> list[Concept]:
        options = self.options
        words = self.model.need_words("LEDITS++ with masks from attention") if by_attention else None
        strengths = [subtask.strength for subtask in job.plan.subtasks]
        if job.grounded:
            strengths.append(1.0)  # of the whole sentences, which come last
        found = []
        for row, (pair, strength) in enumerate(zip(targets.prompts, strengths, strict=True)):
            scales = (-options.remove_scale, options.guidance_scale)
            for phrase, scale, threshold in zip(
                pair, scales, (options.remove_threshold, options.threshold), strict=True
            ):
                if phrase.strip():
                    tokens = 0 if words is None else max(1, len(words.positions(phrase)) - 2)
                    found.append(Concept(phrase, scale * strength, threshold, row, tokens))
        return found

    def _sites(self, size: tuple[int, int]) -> Sequence[AttentionSite]:
        """The sites nearest to a quarter of the latent's sides (16 x 16 at 512 pixels, as in the paper)."""
        every = self.model.need_sites("cross", "LEDITS++ with masks from attention")
        return sites_near(every, size, (size[0] * size[1]) ** 0.5 / 4, min(_LEAST_CELLS, finest_side(every, size)))

    def _masks(
        self, targets: Targets, concepts: Sequence[Concept], guidance: Tensor, attention: Tensor | None, t: float
    ) -> Tensor:
        """`(n, 1, h, w)`: where each concept's guidance `(n, C, h, w)` acts. `attention` is `(n, tokens, rows,
        columns)`, where it is looked at."""
        if (region := targets.region) is not None:
            shares = targets.shares(t, guidance)[[concept.row for concept in concepts]]
            return shares * (region > 0).to(guidance)
        masks = guidance.new_ones(len(concepts), 1, *guidance.shape[2:])
        kind = self.options.mask
        for index, concept in enumerate(concepts):
            if attention is not None:
                masks[index] *= attention_mask(attention[index, : concept.tokens].sum(0), concept.threshold, masks)
            # At the noisiest times the estimates say little about a place: M1 is alone there (LEDITS++'s own code).
            if kind == "noise" or (kind == "both" and self.model.schedule.snr_bin(t) < len(SNR_EDGES)):
                masks[index] *= above_quantile(guidance[index].abs().sum(0), concept.threshold)
        return masks

    def _save(self, job: EditJob, concepts: Sequence[Concept], masks: Tensor) -> None:
        for number, (concept, mask) in enumerate(zip(concepts, masks, strict=True), start=1):
            sign = "to" if concept.scale > 0 else "from"
            save_map(job.watch, f"{number}-{sign}-{slug(concept.phrase)}", mask[0], job.image.shape[:2])


def concepts_of(subtask: Subtask) -> tuple[str, str]:
    """The phrase that `subtask` moves away from and the one that it moves towards; "" where there is none.

    The things themselves, without the anchor that `Subtask.prompts` adds: that is there already and shall stay.
    """
    return subtask.source * (subtask.action != "add"), subtask.target * (subtask.action != "remove")


def attention_mask(attention: Tensor, threshold: float, like: Tensor) -> Tensor:
    """M1 `(1, h, w)` on the cells of `like` `(..., h, w)`: 1 where a concept's attention `(rows, columns)`, smoothed,
    is not below its quantile `threshold` (LEDITS++, eq. 9 and 10)."""
    # A 3 x 3 Gaussian with the variance of the reference code, whose exponent is squared once more than a Gaussian's.
    side = torch.exp(-(torch.tensor([-1.0, 0.0, 1.0]) ** 2)).to(attention)
    kernel = torch.outer(side, side) / side.sum() ** 2
    # One cell has no mirror image beyond itself.
    mode = "reflect" if min(attention.shape) > 1 else "replicate"
    padded = F.pad(attention[None, None], (1, 1, 1, 1), mode=mode)
    smooth = F.conv2d(padded, kernel[None, None])
    return F.interpolate(above_quantile(smooth, threshold), like.shape[-2:], mode="nearest")[0]


def above_quantile(values: Tensor, threshold: float) -> Tensor:
    """1 where `values` are not below their quantile `threshold`, else 0."""
    return (values >= torch.quantile(values.float(), threshold)).to(values)


def _described(concept: Concept) -> dict[str, Any]:
    return {"phrase": concept.phrase, "scale": concept.scale}
