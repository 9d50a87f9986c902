"""The editor `edit-model`: models that are told a picture and what to change in it (FLUX.1 Kontext, FLUX.2,
Qwen-Image-Edit and others), each subtask on the crop around its region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image as Pictures
from pydantic import Field

from gas_editors.pipelines.base import PipelineEditor, PipelineOptions
from gas_editors.pipelines.calling import PipelineCalls
from gas_editors.pipelines.crops_first import check, make_crops_first, suits
from gas_editors.pipelines.register import find_move, move_back
from gas_editors.pipelines.row import Row
from gas_editors.pipelines.run import Run
from gas_editors.pipelines.table import EDIT_MODELS
from gas_editors.told import instruction_of

if TYPE_CHECKING:
    from gas.picture.frame import Frame
    from gas.types import Image, Mask, Subtask


class EditModelOptions(PipelineOptions):
    """Settings of `edit-model`."""

    wording: Literal["request", "template"] = Field(
        "request",
        description="what the model is told: the plan's own instruction, or one made of phrases, 'turn A into B'",
    )
    realign: bool = Field(
        True,
        description="move an edited crop back where the model has shifted or enlarged it, by what is around the region",
    )
    crops_first: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="several regions: the share of the steps that each is made alone on its own crop, before all are "
        "made together in one picture (MIRAGE, arXiv 2604.05180: 0.2); 0: each by itself, one after the other",
    )


class EditModelEditor(PipelineEditor[EditModelOptions]):
    """Carries out a plan's instructions with a model that edits pictures; a crop that has moved is moved back."""

    options_type = EditModelOptions
    rows = EDIT_MODELS
    kind = "model that edits a picture by an instruction"

    def arguments(self, subtask: Subtask, row: Row, crop: Image, mask: Mask) -> Mapping[str, Any]:
        sentence = instruction_of(subtask, self.options.wording)
        return {"image": Pictures.fromarray(crop), "prompt": row.worded(sentence)}

    def carry_out(self, run: Run, calls: PipelineCalls) -> None:
        share = self.options.crops_first
        if not share or not suits(run):
            super().carry_out(run, calls)
            return
        check(run, share)
        subtasks = [run.job.plan.subtasks[index] for index in dict.fromkeys(turn.index for turn in run.turns)]
        sentences = [instruction_of(subtask, self.options.wording).rstrip(". ") for subtask in subtasks]

        def together(frame: Frame) -> Mapping[str, Any]:
            crop = Pictures.fromarray(frame.cut(run.job.image))
            return {"image": crop, "prompt": run.row.worded(". ".join(sentences))}

        make_crops_first(run, calls, share, together)

    def finished(self, crop: Image, made: Image, mask: Mask) -> tuple[Image, np.ndarray | None, Mapping[str, Any]]:
        move = find_move(crop, made, mask) if self.options.realign else None
        if move is None:
            return made, None, {}
        image, known = move_back(made, move)
        told = {"dx": move.dx, "dy": move.dy, "scale": move.scale, "alike": [move.before, move.after]}
        return image, known, {"moved_back": told}
