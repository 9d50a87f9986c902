"""What SDS, DDS, CDS and Ground-A-Score share: options, picture in, the loop, picture out."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from gas import notes
from gas.diffusion.backbone import Backbone
from gas.diffusion.distill.convergence import Convergence
from gas.diffusion.distill.draws import Draw, Draws, TOrder
from gas.diffusion.distill.loop import distill
from gas.diffusion.distill.terms import STEP_SIZE, Distilled, Method, Problem, Term
from gas.diffusion.schedule import Schedule
from gas.errors import UsageError
from gas.files import slug
from gas.interfaces import Edited, EditJob, Watch
from gas.remedies import Option, Remedy
from gas.types import EditPlan, Subtask
from gas_editors.latent_masks import union_mask
from gas_editors.maps import save_map
from gas_editors.model_options import ModelOptions, refuse_foreign
from gas_editors.structure import structured
from gas_editors.text_to_image import TextToImageEditor, refuse_same_prompts

PairDraws = Iterable[tuple[float, Tensor] | Draw]


class ScoreDistillationOptions(ModelOptions):
    """Settings of the loop. Where no other source is named, a default is the DDS reference notebook's."""

    steps: int = Field(200, ge=1, le=100_000, description="optimisation steps (DDS, CDS: 200; Ground-A-Score: 500)")
    guidance_scale: float = Field(7.5, ge=0, le=100, description="classifier-free guidance w, on both branches")
    step_size: float = Field(
        STEP_SIZE, gt=0, le=10, description="eta of z <- z - eta g; the papers' 0.1 * 2000 / 4096, at every resolution"
    )
    official_hw_scaling: bool = Field(
        False,
        description="eta = 0.1 * 2000 / (h w) as in reference code: it shrinks with resolution; step_size is unused",
    )
    t_range: tuple[int, int] = Field(
        (50, 948),
        description="first and last t, both included (reference code: 50..948); for a flow model: the times with as "
        "much noise as these have on Stable Diffusion 1.x",
    )
    t_schedule: TOrder = Field("uniform", description="how t is drawn: uniform (papers), logit-normal, or descending")
    alpha_exp: float = Field(0.0, ge=-10, le=10, description="w(t) = alpha^a sigma^b: a (notebook: 0)")
    sigma_exp: float = Field(0.0, ge=-10, le=10, description="w(t) = alpha^a sigma^b: b (notebook: 0)")
    momentum: float = Field(0.0, ge=0, lt=1, description="mu of v <- mu v + g, z <- z - eta v; the papers have none: 0")
    bank: int = Field(
        0,
        ge=0,
        le=10_000,
        description="fixed (t, eps) pairs whose source half is computed once; 0: fresh ones",
    )
    convergence: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="end when the change over 50 steps falls below this share; 0: never (0.02 is a good one)",
    )
    rows_per_call: int | None = Field(None, ge=1, description="most rows in one network call; less memory, more time")

    @field_validator("t_range")
    @classmethod
    def _in_order(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 0 <= value[0] <= value[1]:
            raise ValueError("two times are needed, the smaller one first, neither below 0")
        return value


LOOP: dict[str, Any] = {
    "guidance_scale": 7.5,
    "step_size": STEP_SIZE,
    "official_hw_scaling": False,
    "t_range": (50, 948),
    "t_schedule": "uniform",
    "alpha_exp": 0.0,
    "sigma_exp": 0.0,
    "momentum": 0.0,
    "bank": 0,
    "convergence": 0.0,
}
"""The papers' values of everything above that is a matter of method."""


class DeltaOptions(ScoreDistillationOptions):
    """Settings of a method that subtracts what is predicted for the source."""

    source_guidance: float | None = Field(
        None, ge=0, le=100, description="guidance of the source side; none: as guidance_scale (papers)"
    )


DELTA: dict[str, Any] = {**LOOP, "source_guidance": None}
"""The papers' values of these."""


class WholePictureOptions(ScoreDistillationOptions):
    """Settings of a method that is steered by one whole sentence before and one after."""

    mask: Literal["none", "union"] = Field(
        "none",
        description="where the gradient acts: everywhere (the published methods), or in the union of the regions",
    )


DistillationOptionsT = TypeVar("DistillationOptionsT", bound=ScoreDistillationOptions)
DeltaOptionsT = TypeVar("DeltaOptionsT", bound=DeltaOptions)


class ScoreDistillationEditor(TextToImageEditor[DistillationOptionsT]):
    """Base of the editors that optimise a latent by score distillation. A subclass says which terms it sums."""

    batches = True

    @abstractmethod
    def terms(self, job: EditJob, size: tuple[int, int], step_size: float) -> tuple[Term, ...]:
        """The summands of the gradient, for a latent of `size` = (h, w) and the step size eta that is in force."""

    def check_plan(self, plan: EditPlan) -> None:
        """Warns where a thing is to be added, and names editors that add (docs/benchmark.md, "Additions")."""
        if added := [one.target for one in plan.subtasks if one.action == "add" and not self.adds(one)]:
            things = ", ".join(map(repr, added))
            notes.warn(
                f"score distillation seldom adds things: {things} may come out faint, of another size or not at all; "
                "instruct-pix2pix and zone add, with an instruction model, and ground-a-score with its option stroke",
                stacklevel=2,
            )

    def adds(self, subtask: Subtask) -> bool:
        """Whether it has a way of its own for the addition `subtask`, so that nobody need be warned."""
        return False

    def paste_mask(self, job: EditJob) -> np.ndarray | None:
        """Where the edit is to be pasted, `(H, W)`; None: in the job's regions, or everywhere when there are none."""
        return None

    def method(self, size: tuple[int, int]) -> Method:
        """How the loop is to run for a latent of `size`."""
        options = self.options
        return Method(
            steps=options.steps,
            guidance_scale=options.guidance_scale,
            step_size=0.1 * 2000 / (size[0] * size[1]) if options.official_hw_scaling else options.step_size,
            momentum=options.momentum,
            rows_per_call=options.rows_per_call,
            convergence=Convergence(options.convergence) if options.convergence else None,
        )

    def problem(self, job: EditJob, z_source: Tensor, draws: PairDraws | None = None) -> Problem:
        """What `distill` is to solve for `job`, whose encoded picture is `z_source`.

        All randomness comes from one generator with the job's seed. `draws` replaces the (t, eps) pairs that it would
        draw.
        """
        size = (z_source.shape[2], z_source.shape[3])
        method = self.method(size)
        terms = self.terms(job, size, method.step_size)
        generator = torch.Generator().manual_seed(job.seed)
        if draws is None:
            options, schedule = self.options, self.model.schedule_for(size)
            draws = Draws(
                generator,
                tuple(z_source.shape),
                method.draws_needed(len(terms)),
                schedule,
                time_range(schedule, options.t_range),
                options.t_schedule,
                options.bank,
            )
        return Problem(z_source, terms, draws, generator)

    def edit(self, job: EditJob) -> Edited:
        return self.edit_together([job])[0]

    def edit_together(self, jobs: Sequence[EditJob], draws: Sequence[PairDraws] | None = None) -> list[Edited]:
        """The edited pictures of several jobs of one size, which share every network call; the first job's `watch` is
        used.

        `draws` gives each job its (t, eps) pairs from outside.
        """
        watch = jobs[0].watch
        model = self.model
        latents = [self._encode(model, job) for job in jobs]
        given: Sequence[PairDraws | None] = draws or [None] * len(jobs)
        problems = [self.problem(job, z, one) for job, z, one in zip(jobs, latents, given, strict=True)]
        for problem in problems:
            refuse_same_prompts(model, [(term.source, term.target) for term in problem.terms])
        method = self.method((latents[0].shape[2], latents[0].shape[3]))
        maps = watch.save_map is not None
        results = distill(model, problems, method, watch=watch, decode=model.decode, maps=maps)
        edited = []
        for job, problem, result in zip(jobs, problems, results, strict=True):
            log = {"model": self.options.model, **result.log, "prompts_cut": _prompts_cut(model, problem.terms)}
            if watch.save_map is not None:
                log["maps_scale"] = _save_maps(job.watch, problem.terms, result, job.image.shape[:2])
            image, unedited = model.decode(result.z), model.decode(problem.z_source)
            one = Edited(image, self.paste_mask(job), result.stopped, log, unedited)
            edited.append(structured(job, one, self.options.keep_structure))
        return edited

    def time_weight(self, factor: float = 1.0) -> Callable[[float], float]:
        """`factor * alpha_t^a * sigma_t^b` as a function of t, with the options' exponents."""
        a, b = self.options.alpha_exp, self.options.sigma_exp
        schedule = self.model.schedule
        return lambda t: factor * schedule.alpha(t) ** a * schedule.sigma(t) ** b

    def _encode(self, model: Backbone, job: EditJob) -> Tensor:
        z = model.encode(job.image)
        refuse_foreign(model, job, self.options.accept_db, z)
        return z


class DeltaEditor(ScoreDistillationEditor[DeltaOptionsT]):
    """Base of those with `DeltaOptions`."""

    def method(self, size: tuple[int, int]) -> Method:
        return replace(super().method(size), source_guidance=self.options.source_guidance)


def time_range(schedule: Schedule, published: tuple[int, int]) -> tuple[float, float]:
    """The first and the last time of `schedule` that an option `t_range` means. UsageError (exit 2) for times that a
    table does not have."""
    try:
        first, last = (schedule.published(t) for t in published)
    except ValueError as error:
        remedy = Remedy("smaller_times", "choose smaller times with {range}", range=Option({"t_range": None}))
        raise UsageError(f"t_range {published}: {error}", remedy) from None
    return first, last


def whole_picture_mask(editor: ScoreDistillationEditor, job: EditJob, size: tuple[int, int]) -> Tensor | None:
    """The mask that the option `mask` of a whole-picture editor asks for; None is everywhere."""
    return union_mask(job, size) if editor.options.mask == "union" else None


def _prompts_cut(model: Backbone, terms: Sequence[Term]) -> dict[str, str]:
    """Each prompt that is too long for the text encoder, with the words that it does not see."""
    prompts = {prompt for term in terms for prompt in (term.source, term.target) if prompt}
    return {prompt: words for prompt in sorted(prompts) if (words := model.dropped_words(prompt))}


def _save_maps(watch: Watch, terms: Sequence[Term], result: Distilled, size: tuple[int, int]) -> float:
    """The value that stands for 1 in the saved maps, which share one scale so that they can be compared."""
    peak = max(float(one.max()) for one in result.maps)
    scale = peak if math.isfinite(peak) and peak > 0 else 1.0
    for number, (term, one) in enumerate(zip(terms, result.maps, strict=True), start=1):
        save_map(watch, f"{number}-{slug(term.target, empty='nothing')}", one / scale, size)
    return scale
