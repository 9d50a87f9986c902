"""Score Distillation Sampling (Poole et al. 2022) as a baseline for editing, in the form of DDS's reference
notebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from gas.diffusion.distill.terms import Term
from gas.interfaces import EditJob
from gas_editors.distillation.base import LOOP, ScoreDistillationEditor, WholePictureOptions, whole_picture_mask
from gas_editors.job_regions import whole_prompts


class SDSOptions(WholePictureOptions):
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {**LOOP, "steps": 200, "mask": "none"},
        "official-code": {**LOOP, "steps": 200, "mask": "none", "official_hw_scaling": True},
    }


class SDSEditor(ScoreDistillationEditor[SDSOptions]):
    """`g = eps_w(z_t, y) - eps`: pulls the picture to the target prompt with nothing to hold it (DDS, eq. 2)."""

    options_type = SDSOptions

    def terms(self, job: EditJob, size: tuple[int, int], step_size: float) -> tuple[Term, ...]:
        _, target = whole_prompts(job, source=False)
        mask = whole_picture_mask(self, job, size)
        return (Term(target, None, mask, self.time_weight(), name="whole"),)
