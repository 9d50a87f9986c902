"""What editors that sample share: the model, the targets of a plan, and the way from a picture to the edited one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gas.diffusion.predictor import Predictor
from gas.diffusion.sample.phases import NoiseAt, Phases
from gas.diffusion.sample.targets import Targets
from gas.diffusion.stepping import Stopped
from gas.interfaces import Edited, EditJob
from gas_editors.job_regions import NoiseWeights, whole_prompts
from gas_editors.latent_masks import subtask_mask
from gas_editors.model_options import ModelOptions, refuse_foreign
from gas_editors.structure import structured
from gas_editors.text_to_image import TextToImageEditor, refuse_same_prompts


class SamplingOptions(ModelOptions):
    """Settings of every run that samples; those of grounded runs are Ground-A-Score's."""

    steps: int = Field(50, ge=1, le=1000, description="steps of the sampler over the whole schedule (DDIM: 50)")
    guidance_scale: float = Field(7.5, ge=0, le=100, description="classifier-free guidance w")
    overlap: float = Field(
        0.3,
        ge=0,
        le=1,
        description="grounded: factor of the larger of two regions where they overlap (Ground-A-Score, supplement 6.1)",
    )
    beta: NoiseWeights = Field(
        (0.5, 0.4, 0.3, 0.2, 0.1),
        description="grounded: weight of the whole prompt beside a subtask's: one for each of five ranges of "
        "signal-to-noise ratio, the clearest first, or one number for all (Ground-A-Score, section 3.2)",
    )


SamplingOptionsT = TypeVar("SamplingOptionsT", bound=SamplingOptions)


class SamplingEditor(TextToImageEditor[SamplingOptionsT]):
    """Base of editors that make the picture by sampling. A subclass says how (`run`) and in how many steps
    (`planned`)."""

    confines = True
    needs_source: ClassVar[bool] = True
    """Whether it works with prompts of the picture as it is; else a plan without them will do."""
    compares_prompts: ClassVar[bool] = True
    """Whether what it does lies between the prompts before and after, so that the same ones are an edit of nothing."""

    @abstractmethod
    def planned(self, job: EditJob) -> int:
        """How many steps `run` makes for `job`, all phases together, for its progress."""

    @abstractmethod
    def run(
        self, job: EditJob, phases: Phases, predictor: Predictor, z_source: Tensor, targets: Targets
    ) -> tuple[Tensor, Mapping[str, Any]]:
        """The edited latent `(1, C, h, w)`, and plain JSON values that were measured. All randomness comes from the
        job's seed; all steps are made by `phases`."""

    def paste_mask(self, job: EditJob) -> np.ndarray | None:
        """Where the edit is to be pasted, `(H, W)`; None: in the job's regions, or everywhere when there are none.
        Asked when `run` has come to its end."""
        return None

    @torch.no_grad()
    def edit(self, job: EditJob) -> Edited:
        model = self.model
        z_source = model.encode(job.image)
        refuse_foreign(model, job, self.options.accept_db, z_source)
        size = (z_source.shape[2], z_source.shape[3])
        targets = self.targets(job, size)
        if self.needs_source and self.compares_prompts:
            refuse_same_prompts(model, targets.prompts)
        predictor = Predictor(model, size)
        phases = Phases(job.watch, model.decode, z_source, self.planned(job))
        stopped, mask = False, None
        measured: Mapping[str, Any] = {}
        try:
            z, measured = self.run(job, phases, predictor, z_source, targets)
            mask = self.paste_mask(job)
        except Stopped:
            z, stopped = phases.estimate, True
        cut = {text: words for pair in targets.prompts for text in pair if (words := model.dropped_words(text))}
        log = {
            "model": self.options.model,
            "grounded": job.grounded,
            "steps": phases.done,
            "evaluations": predictor.rows,
            "prompts_cut": cut,
            **measured,
        }
        edited = Edited(model.decode(z), mask, stopped, log, unedited=model.decode(z_source))
        return structured(job, edited, self.options.keep_structure)

    def targets(self, job: EditJob, size: tuple[int, int]) -> Targets:
        """What is to be made of `job` on a latent of `size` (h, w): the whole sentences, or, when the job is grounded,
        each subtask in its region too. InputRefused (exit 3) for a sentence or a region that is missing."""
        whole = whole_prompts(job, source=self.needs_source)
        if not job.grounded:
            return Targets.plain(*whole)
        subtasks = job.plan.subtasks
        masks = [subtask_mask(job, index, size) for index in range(len(subtasks))]
        options = self.options
        return Targets.grounded(
            [subtask.prompts for subtask in subtasks],
            whole,
            masks,
            self.model.schedule,
            overlap=options.overlap,
            beta=options.beta,
            strengths=[subtask.strength for subtask in subtasks],
        )


def guided(predictor: Predictor, targets: Targets, guidance_scale: float) -> NoiseAt:
    """For a latent at a time the noise `(1, C, h, w)` under the target prompts with guidance, the null prompt (where
    the model has a row for it) and all target rows in one network call, combined by the targets' shares."""
    told = predictor.guided([target for _, target in targets.prompts], guidance_scale)

    def noise(z: Tensor, t: float, i: int) -> Tensor:
        return targets.guided(predictor.predict(z, t, told), t, guidance_scale)

    return noise
