"""Contrastive Denoising Score (Nam et al. 2023, arXiv 2311.18608): DDS and a loss that keeps the structure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from gas.diffusion.distill.terms import Method, Term
from gas.interfaces import EditJob
from gas_editors.distillation.base import DELTA, DeltaEditor, DeltaOptions, WholePictureOptions, whole_picture_mask
from gas_editors.distillation.contrast import CONTRAST, ContrastOptions, contrast
from gas_editors.job_regions import whole_prompts

_PAPER = {**DELTA, **CONTRAST, "steps": 200, "mask": "none", "w_dds": 1.0, "w_cut": 3.0, "latents": "fp32"}


class CDSOptions(WholePictureOptions, DeltaOptions, ContrastOptions):
    w_dds: float = Field(1.0, ge=0, le=100, description="weight of the DDS part")
    w_cut: float = Field(
        3.0, ge=0, le=1000, description="weight of the contrastive loss (in CDS's own run.py the flag has no effect)"
    )
    latents: Literal["fp32", "network"] = Field(
        "fp32", description="format of z: fp32, or the network's as in CDS's code, where small steps are lost in fp16"
    )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": _PAPER,
        "official-code": {**_PAPER, "official_hw_scaling": True, "separate_contrast": True, "latents": "network"},
        "fast": {**_PAPER, "bank": 64},
    }


class CDSEditor(DeltaEditor[CDSOptions]):
    """`z <- z - eta g_DDS - 0.1 w_cut grad_z L_cut` on the self-attention features of the up blocks (CDS, eq. 8 and
    9)."""

    options_type = CDSOptions

    def method(self, size: tuple[int, int]) -> Method:
        dtype = self.model.dtype if self.options.latents == "network" else None
        method = super().method(size)
        return replace(method, separate_contrast=self.options.separate_contrast, latent_dtype=dtype)

    def terms(self, job: EditJob, size: tuple[int, int], step_size: float) -> tuple[Term, ...]:
        source, target = whole_prompts(job)
        options = self.options
        loss = contrast(options, options.w_cut, step_size) if options.w_cut else None
        weight = self.time_weight(options.w_dds)
        return (Term(target, source, whole_picture_mask(self, job, size), weight, contrast=loss, name="whole"),)
