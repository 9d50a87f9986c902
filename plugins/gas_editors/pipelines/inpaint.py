"""The editor `inpaint`: models that fill a masked region (Stable Diffusion, SDXL, Stable Diffusion 3, FLUX.1 Kontext,
FLUX.2 klein, Qwen-Image-Edit, Z-Image, Chroma), each subtask on the crop around its region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pictures
from pydantic import Field

from gas.masks import grow
from gas_editors.pipelines.base import PipelineEditor, PipelineOptions
from gas_editors.pipelines.row import Row
from gas_editors.pipelines.table import MASKED_MODELS
from gas_editors.told import instruction_of

if TYPE_CHECKING:
    from gas.picture.frame import Frame
    from gas.types import Image, Mask, Region, Subtask


class InpaintOptions(PipelineOptions):
    """Settings of `inpaint`."""

    strength: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of the steps that is made; below 1 something of the source stays in the "
        "region; left out: the model's own",
    )
    margin: float = Field(
        1.0,
        ge=0,
        le=16,
        description="how far beyond a found region is pasted, in cells of the model's latent: its mask is only as fine "
        "as they are, and what it fills would be cut off at the region's edge (ours); 0: nothing beyond",
    )


class InpaintEditor(PipelineEditor[InpaintOptions]):
    """Fills each region with what the subtask's target says; models that take instructions are told the instruction.

    A region that was found is pasted a little wider than it is filled. One that the user drew, and any of a grounded
    run, is kept to its last pixel.
    """

    options_type = InpaintOptions
    needs_regions = True
    rows = MASKED_MODELS
    kind = "model that fills a masked region"

    def strength(self, row: Row) -> float | None:
        return row.strength if self.options.strength is None else self.options.strength

    def arguments(self, subtask: Subtask, row: Row, crop: Image, mask: Mask) -> Mapping[str, Any]:
        sentence = instruction_of(subtask) if row.told == "instruction" else subtask.prompts[1]
        return {
            "image": Pictures.fromarray(crop),
            "mask_image": Pictures.fromarray(np.where(mask > 0, 255, 0).astype(np.uint8)),
            "prompt": row.worded(sentence),
        }

    def pasted(self, region: Region, frame: Frame, row: Row, grounded: bool) -> Mask:
        mask = super().pasted(region, frame, row, grounded)
        if region.given or grounded:
            return mask
        return grow(mask, 0.0, at_least=self.options.margin * row.multiple / min(frame.scale))
