"""Settings of the contrastive loss, shared by CDS and Ground-A-Score."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from gas.diffusion.distill.contrastive import Query
from gas.diffusion.distill.terms import STEP_SIZE, Contrast
from gas.diffusion.masks import Cells
from gas_editors.distillation.base import ScoreDistillationOptions


class ContrastOptions(ScoreDistillationOptions):
    """Settings of the contrastive loss. Source: CDS's reference code, which is also Ground-A-Score's."""

    patches: int = Field(256, ge=2, le=65536, description="most patches that are compared in one feature map")
    patch_sizes: Annotated[tuple[int, ...], Field(min_length=1, max_length=4)] = Field(
        (1, 2), description="sides of the patches, in feature cells"
    )
    temperature: float = Field(0.07, gt=0, le=10, description="tau of the contrastive loss")
    nce_query: Query = Field(
        "source", description="which side is the anchor: source (CDS's code) or target (as in the CUT paper)"
    )
    separate_contrast: bool = Field(
        False, description="compute the loss' predictions a second time as reference code does: same result, more cost"
    )


CONTRAST: dict[str, Any] = {
    "patches": 256,
    "patch_sizes": (1, 2),
    "temperature": 0.07,
    "nce_query": "source",
    "separate_contrast": False,
}


def contrast(
    options: ContrastOptions,
    weight: float,
    step_size: float,
    boxes: tuple[Cells, ...] | None = None,
    prompts: tuple[str, str] | None = None,
    smallest: int = 2,
) -> Contrast:
    """The loss with the papers' weight w_cut turned into a weight inside g.

    Reference code moves z by `0.1 w_cut` times the loss' gradient and by eta times the rest, hence `lambda = 0.1
    w_cut / eta` with the eta of 64 x 64 cells (2.048 w_cut); where eta follows the resolution, so does lambda.
    """
    eta = step_size if options.official_hw_scaling else STEP_SIZE
    return Contrast(
        weight=0.1 * weight / eta,
        boxes=boxes,
        prompts=prompts,
        patches=options.patches,
        sizes=options.patch_sizes,
        temperature=options.temperature,
        query=options.nce_query,
        smallest=smallest,
    )
