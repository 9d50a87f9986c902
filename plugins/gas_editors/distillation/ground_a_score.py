"""Ground-A-Score (Chang et al. 2024, arXiv 2403.13551): a masked gradient for each subtask, and the whole prompt
between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import AfterValidator, Field, model_validator
from torch import Tensor

from gas.diffusion.distill.terms import Contrast, Method, Penalty, Problem, Term
from gas.diffusion.masks import Cells, bounding_cells, box_cells, cells_mask, latent_mask, weaken_overlaps
from gas.errors import InputRefused, UsageError
from gas.interfaces import Edited, EditJob
from gas.masks import union
from gas.remedies import Given, Option, Remedy, Setting
from gas.types import Region, Subtask
from gas_editors.distillation.base import DELTA, DeltaEditor, DeltaOptions, PairDraws, time_range
from gas_editors.distillation.contrast import CONTRAST, ContrastOptions, contrast
from gas_editors.job_regions import NoiseWeights, is_backdrop, region_mask, subtask_regions, whole_prompts
from gas_editors.latent_masks import with_halo
from gas_editors.strokes import Strokes, stroke_colour

_PAPER = {
    **DELTA,
    **CONTRAST,
    "steps": 500,
    "mask": "region",
    "overlap": 0.3,
    "overlap_mode": "assign",
    "subtasks": True,
    "full_prompt": True,
    "full_source": "sentence",
    "beta": (0.5, 0.4, 0.3, 0.2, 0.1),
    "penalty": True,
    "penalty_strength": 5.0,
    "penalty_area": 0.15,
    "penalty_norm": "mask",
    "cut": "plan",
    "w_cut": 1.0,
    "cut_prompt": "own",
    "sequential": False,
    "halo": 0.0,
    "window_kept": None,
    "window_backdrop": None,
    "window_free": None,
    "stroke": None,
}


def _in_order(value: tuple[int, int] | None) -> tuple[int, int] | None:
    if value is not None and not 0 <= value[0] <= value[1]:
        raise ValueError("two times are needed, the smaller one first, neither below 0")
    return value


Window = Annotated[tuple[int, int] | None, AfterValidator(_in_order)]


class GroundAScoreOptions(DeltaOptions, ContrastOptions):
    """Settings of Ground-A-Score. Where paper and reference code differ: docs/methods.md."""

    steps: int = Field(500, ge=1, le=100_000, description="optimisation steps (paper, supplement 6.1)")
    mask: Literal["region", "box", "none"] = Field(
        "region",
        description="a subtask's mask: its region's own mask (a drawn mask, a segment, or the box of a box-only "
        "detector, which is the paper's case), always the box as in the reference code, or "
        "none at all (ablation)",
    )
    overlap: float = Field(
        0.3, ge=0, le=1, description="factor of the larger of two regions where they overlap (supplement 6.1)"
    )
    overlap_mode: Literal["assign", "multiply"] = Field(
        "assign", description="under several smaller regions: the factor once (code), or once for each"
    )
    subtasks: bool = Field(True, description="the subtasks' own gradients; false: the whole prompt alone (ablation)")
    full_prompt: bool = Field(
        True, description="the whole prompt's gradient in the union of masks (eq. 7); false: ablation"
    )
    full_source: Literal["sentence", "joined"] = Field(
        "sentence", description="the whole source prompt: the plan's sentence, or the phrases joined"
    )
    beta: NoiseWeights = Field(
        (0.5, 0.4, 0.3, 0.2, 0.1),
        description="weight of the whole prompt: one for each of five ranges of signal-to-noise ratio, the clearest "
        "first (on Stable Diffusion 1.x: t // 200), or one number for all",
    )
    penalty: bool = Field(True, description="null-text penalty on small regions (eq. 11); false: ablation")
    penalty_strength: float = Field(
        5.0, ge=0, description="lambda of the penalty: larger is milder (code: 5; the paper's value is not known)"
    )
    penalty_area: float = Field(
        0.15,
        ge=0,
        le=1,
        description="share of the picture below which the penalty applies (supplement 6.3); 1: nearly always",
    )
    penalty_norm: Literal["mask", "all"] = Field(
        "mask", description="the penalty is a mean over the mask (eq. 11) or over the whole latent (code)"
    )
    cut: Literal["plan", "all", "none"] = Field(
        "plan",
        description="contrastive loss: where the plan keeps the shape, for every subtask and the whole, or nowhere",
    )
    w_cut: float = Field(1.0, ge=0, le=1000, description="weight of the contrastive loss (code)")
    cut_prompt: Literal["own", "full"] = Field(
        "own",
        description="features under each subtask's own prompt, or all under the whole prompt: one backward row (B.3)",
    )
    sequential: bool = Field(
        False,
        description="each term a step with its own (t, eps) as in the code, not one sum as in the paper",
    )

    halo: float = Field(
        0.0,
        ge=-8,
        le=8,
        description="mask=region: latent cells by which a subtask's mask is grown; below 0: shrunk, as far as anything "
        "is left of it (paper: 0)",
    )
    window_kept: Window = Field(
        None, description="first and last t at which a subtask acts that keeps its shape; none: all of t_range (paper)"
    )
    window_backdrop: Window = Field(
        None, description="the same for one whose regions span the picture from its left edge to its right one"
    )
    window_free: Window = Field(None, description="the same for any other")
    stroke: Window = Field(
        None,
        description="the same for an addition that names a colour, whose thing then begins as a stroke of that colour, "
        "so that it comes where it is wanted (ours); none: no stroke",
    )

    @model_validator(mode="after")
    def _windows_are_reached(self) -> Self:
        first, last = self.t_range
        for name in ("window_kept", "window_backdrop", "window_free"):
            window: Window = getattr(self, name)
            if window is not None and (window[1] < first or window[0] > last):
                raise ValueError(f"{name} is {window[0]},{window[1]}, where t_range {first},{last} never comes")
        return self

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": _PAPER,
        "official-code": {
            **_PAPER,
            "official_hw_scaling": True,
            "mask": "box",
            "full_source": "joined",
            "penalty_norm": "all",
            "separate_contrast": True,
            "sequential": True,
        },
        "fast": {**_PAPER, "bank": 64, "cut_prompt": "full"},
    }


@dataclass(frozen=True)
class _Place:
    """Where a subtask acts: its mask `(1, 1, h, w)` before overlaps, its boxes in cells, its share of the picture."""

    mask: Tensor
    boxes: tuple[Cells, ...]
    share: float


class GroundAScoreEditor(DeltaEditor[GroundAScoreOptions]):
    """`g = sum_k gamma_k m_k g_k + beta_t m_union g_full` (eq. 10), and the contrastive loss where the shape is kept.

    The overlap rule weakens the larger of two overlapping regions. Regions of equal size weaken neither, so two
    subtasks with one and the same box pull at it with their sum. A subtask's `strength` multiplies g_k, not
    its contrastive loss.
    """

    options_type = GroundAScoreOptions
    needs_regions = True
    edits_pictures = False
    confines = True

    def edit_together(self, jobs: Sequence[EditJob], draws: Sequence[PairDraws] | None = None) -> list[Edited]:
        edited = super().edit_together(jobs, draws)
        note = "Ground-A-Score confines each subtask to its region anyway; a grounded run is the same as a plain one"
        return [
            replace(one, log={**one.log, "notes": [note]}) if job.grounded else one
            for job, one in zip(jobs, edited, strict=True)
        ]

    def method(self, size: tuple[int, int]) -> Method:
        options = self.options
        method = super().method(size)
        return replace(method, sequential=options.sequential, separate_contrast=options.separate_contrast)

    def adds(self, subtask: Subtask) -> bool:
        return self.options.stroke is not None and stroke_colour(subtask) is not None

    def problem(self, job: EditJob, z_source: Tensor, draws: PairDraws | None = None) -> Problem:
        """As for every editor of this kind; with `stroke` the latent begins with the strokes of the additions."""
        problem = super().problem(job, z_source, draws)
        size = (z_source.shape[2], z_source.shape[3])
        if self.options.stroke is None or (strokes := Strokes.of(job, size)) is None:
            return problem
        painted = self.model.encode(strokes.picture)
        return replace(problem, z_start=torch.where(strokes.places.to(z_source.device), painted, z_source))

    def terms(self, job: EditJob, size: tuple[int, int], step_size: float) -> tuple[Term, ...]:
        options = self.options
        if not options.subtasks and not options.full_prompt:
            raise UsageError("subtasks=false and full_prompt=false leave nothing to do", "set one of them to true")
        if job.grounded and (options.mask == "none" or not options.subtasks):
            name, value = ("mask", "none") if options.mask == "none" else ("subtasks", False)
            raise UsageError(
                f"{name}={value} does not confine subtasks to their regions, as a grounded run must",
                Remedy(
                    "leave_out_either",
                    "leave out {option} or {grounded}",
                    option=Option({name: value}, "ground-a-score"),
                    grounded=Setting("grounded", True),
                ),
            )
        places = [self._place(job, index, size) for index in range(len(job.plan.subtasks))]
        terms = self._subtask_terms(job, places, step_size) if options.subtasks else []
        if options.full_prompt:
            terms.append(self._full_term(job, places, step_size))
        return tuple(terms)

    def paste_mask(self, job: EditJob) -> np.ndarray | None:
        if self.options.mask != "box":
            return None
        from gas.masks import box_mask

        height, width = job.image.shape[:2]
        return np.maximum.reduce([box_mask(_box(region), (width, height)) for region in job.regions])

    def _place(self, job: EditJob, index: int, size: tuple[int, int]) -> _Place:
        regions = subtask_regions(job, index)
        height, width = job.image.shape[:2]
        if self.options.mask == "none":
            return _Place(torch.ones(1, 1, *size), ((0, 0, size[1], size[0]),), 1.0)
        if self.options.mask == "region":
            masks = [latent_mask(with_halo(region_mask(region), self.options.halo, size), size) for region in regions]
            boxes = tuple(bounding_cells(mask) for mask in masks)
        else:
            boxes = tuple(box_cells(_box(region), (height, width), size) for region in regions)
            masks = [cells_mask(box, size) for box in boxes]
        if self.options.mask == "box" and len(regions) == 1:
            x0, y0, x1, y1 = _box(regions[0])  # as it was found, not as it was rounded
            share = (x1 - x0) * (y1 - y0) / (height * width)
        elif self.options.mask == "box":
            share = float(torch.stack(masks).amax(0).mean())
        else:
            share = float(np.maximum.reduce([region_mask(region) for region in regions]).mean())
        return _Place(torch.stack(masks).amax(0), boxes, share)

    def _subtask_terms(self, job: EditJob, places: Sequence[_Place], step_size: float) -> list[Term]:
        options, plan = self.options, job.plan
        penalty = Penalty(options.penalty_strength, options.penalty_norm)
        masks = weaken_overlaps([place.mask for place in places], options.overlap, options.overlap_mode)
        terms = []
        for index, (subtask, place, mask) in enumerate(zip(plan.subtasks, places, masks, strict=True)):
            source, target = subtask.prompts
            kept = options.cut == "all" or (options.cut == "plan" and subtask.preserve_shape)
            terms.append(
                Term(
                    target,
                    source,
                    mask,
                    self._windowed(job, index),
                    penalty if options.penalty and place.share < options.penalty_area else None,
                    self._contrast(job, place.boxes, step_size) if kept else None,
                    name=f"subtask {index + 1}",
                )
            )
        return terms

    def _windowed(self, job: EditJob, index: int) -> Callable[[float], float]:
        """A subtask's weight as a function of t: 0 outside the window of its kind."""
        subtask, options = job.plan.subtasks[index], self.options
        weight = self.time_weight(subtask.strength)
        if self.adds(subtask):
            window: Window = options.stroke
        elif subtask.preserve_shape:
            window = options.window_kept
        elif is_backdrop(union([region_mask(region) for region in subtask_regions(job, index)])):
            window = options.window_backdrop
        else:
            window = options.window_free
        if window is None:
            return weight
        first, last = time_range(self.model.schedule, window)
        return lambda t: weight(t) if first <= t <= last else 0.0

    def _full_term(self, job: EditJob, places: Sequence[_Place], step_size: float) -> Term:
        options, plan = self.options, job.plan
        source, target = self._full_prompts(job)
        schedule, base, beta = self.model.schedule, self.time_weight(), options.beta

        def weight(t: float) -> float:
            here = beta[schedule.snr_bin(t)] if len(beta) > 1 else beta[0]
            return here * base(t)

        kept = options.cut == "all" or (options.cut == "plan" and plan.preserve_shape)
        loss = self._contrast(job, None, step_size) if kept else None
        union = torch.stack([place.mask for place in places]).amax(0)
        return Term(target, source, union, weight, contrast=loss, name="whole")

    def _full_prompts(self, job: EditJob) -> tuple[str, str]:
        joined = self.options.full_source == "joined"
        source, target = whole_prompts(job, source=not joined)
        return (" and ".join(subtask.prompts[0] for subtask in job.plan.subtasks) if joined else source), target

    def _contrast(self, job: EditJob, boxes: tuple[Cells, ...] | None, step_size: float) -> Contrast | None:
        options = self.options
        if not options.w_cut:
            return None
        prompts = self._full_prompts(job) if options.cut_prompt == "full" else None
        # A feature crop of one cell has nothing to be told apart from; reference code lets it pass without effect.
        smallest = 1 if options.mask == "box" else 2
        return contrast(options, options.w_cut, step_size, boxes, prompts, smallest)


def _box(region: Region) -> tuple[float, float, float, float]:
    if region.box is None:
        raise InputRefused(
            f"the region of {region.phrase!r} has no box",
            Remedy(
                "mask_region_or_box",
                "use {mask}, or give {region}",
                mask=Option({"mask": "region"}),
                region=Given(region.phrase, ("box",)),
            ),
        )
    return region.box
