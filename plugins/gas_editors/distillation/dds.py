"""Delta Denoising Score (Hertz et al. 2023, arXiv 2304.07090)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from gas.diffusion.distill.terms import Term
from gas.interfaces import EditJob
from gas_editors.distillation.base import DELTA, DeltaEditor, DeltaOptions, WholePictureOptions, whole_picture_mask
from gas_editors.job_regions import whole_prompts


class DDSOptions(WholePictureOptions, DeltaOptions):
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {**DELTA, "steps": 200, "mask": "none"},
        "official-code": {**DELTA, "steps": 200, "mask": "none", "official_hw_scaling": True},
        "fast": {**DELTA, "steps": 200, "mask": "none", "bank": 64},
    }


class DDSEditor(DeltaEditor[DDSOptions]):
    """`g = eps_w(z_t, y) - eps_w(z0_t, x)`, same t and eps on both sides (DDS, eq. 3)."""

    options_type = DDSOptions

    def terms(self, job: EditJob, size: tuple[int, int], step_size: float) -> tuple[Term, ...]:
        source, target = whole_prompts(job)
        return (Term(target, source, whole_picture_mask(self, job, size), self.time_weight(), name="whole"),)
