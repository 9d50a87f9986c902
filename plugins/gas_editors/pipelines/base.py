"""What editors over diffusers' pipelines share: the model, the turns, the crops, and how they are pasted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import numpy as np
from pydantic import BeforeValidator, Field

from gas.diffusion.pipeline import load_pipeline, named_pipeline
from gas.diffusion.stepping import Stopped
from gas.errors import ModelUnavailable, UsageError
from gas.interfaces import Edited, EditJob, Editor, Options
from gas.picture.frame import Frame, work_frame
from gas.remedies import Option, Remedy, Setting
from gas.run.turns import turn_order
from gas_editors.job_regions import subtask_regions
from gas_editors.model_options import one_or_several
from gas_editors.pipelines.calling import PipelineCalls
from gas_editors.pipelines.row import Row, row_of
from gas_editors.pipelines.run import Run, Turn
from gas_editors.structure import structured

if TYPE_CHECKING:
    from gas.types import Image, Mask, Region, Subtask


class PipelineOptions(Options):
    """Which model, and how it is called. What is left out is the value that its authors name."""

    model: str | None = Field(None, description="hub id, id@revision or folder; a profile usually says it")
    variant: str | None = Field(None, description="middle part of the weights' file names, e.g. fp16")
    lora: Annotated[tuple[str, ...], BeforeValidator(one_or_several)] = Field(
        (), description="LoRAs that are merged into the model: FILE or FILE=WEIGHT, several with commas"
    )
    allow_pickle: bool = Field(False, description="read weights that exist as .bin only (tensors only)")
    steps: int | None = Field(None, ge=1, le=1000, description="steps of each turn; left out: the model's own")
    guidance_scale: float | None = Field(
        None, ge=0, le=100, description="how much the words count; left out: the model's own"
    )
    resolution: int | None = Field(
        None, ge=64, le=4096, description="side of the square whose area each crop is worked at; left out: the model's"
    )
    enlarge: float = Field(
        1.0, ge=1, le=8, description="how many times the crop around a small region may be enlarged (ours); 1: never"
    )
    keep_structure: bool = Field(
        False,
        description="where a subtask changes only a colour or a material: the edit gives the colour, the source all "
        "else inside its region (ours)",
    )


PipelineOptionsT = TypeVar("PipelineOptionsT", bound=PipelineOptions)


class PipelineEditor(Editor[PipelineOptionsT]):
    """Base of editors that call a pipeline once for each subtask, on the photograph's own pixels around its region.

    The subtasks are turns, the largest region first; what a turn made is pasted in its region, so that every pixel
    outside all regions keeps its bits.
    """

    confines = True
    rows: ClassVar[tuple[Row, ...]]
    kind: ClassVar[str]
    """What such a model is called in an error."""

    def resolution(self) -> None:
        """None: it works on the photograph's own pixels, and cuts crops of the model's size itself."""
        return

    def multiple(self) -> int:
        return 1

    @property
    def row(self) -> Row:
        """How the model's pipeline is called. UsageError (exit 2) when no model is named; ModelUnavailable (exit 6)
        for one that is not here, or of another kind."""
        model = self._model
        named = named_pipeline(model)
        row = row_of(named, self.rows)
        if row is None:
            raise ModelUnavailable(f"{model} is for diffusers' {named}, which is no {self.kind}", self._other_editor())
        return row

    @property
    def _model(self) -> str:
        if not self.options.model:
            raise UsageError(
                "no model is named",
                Remedy(
                    "name_model",
                    "use {profile}, or {model} (a folder, or OWNER/NAME of the hub)",
                    profile=Setting("profile", "kontext"),
                    model=Option({"model": "NAME"}),
                ),
            )
        return self.options.model

    def _other_editor(self) -> Remedy:
        return Remedy(
            "other_editor",
            "leave {profile} and {editor} out, so that the kind of the model chooses both, or name a model for one of: "
            "{names}",
            profile=Setting("profile"),
            editor=Setting("editor"),
            names=", ".join(sorted(row.reads[0] for row in self.rows)),
        )

    def pipeline(self, row: Row) -> Any:
        """The shared pipeline; loaded when first asked for."""
        options = self.options
        return load_pipeline(
            self._model,
            self.runtime,
            row.name,
            may_lack=row.may_lack,
            variant=options.variant,
            allow_pickle=options.allow_pickle,
            loras=options.lora,
        )

    @abstractmethod
    def arguments(self, subtask: Subtask, row: Row, crop: Image, mask: Mask) -> Mapping[str, Any]:
        """What the pipeline is given of a `subtask` beside what every call has: `crop` `(h, w, 3)` uint8 and the region
        in it, `mask` `(h, w)` in [0, 1]."""

    def strength(self, row: Row) -> float | None:
        """The share of the steps that a pipeline is to make; None for one that is not told it."""
        return row.strength

    def pasted(self, region: Region, frame: Frame, row: Row, grounded: bool) -> Mask:
        """Where the turn of a region may paste, `(H, W)` of the photograph: the region, unless a subclass goes beyond
        it. The region has a mask."""
        assert region.mask is not None
        return region.mask

    def finished(self, crop: Image, made: Image, mask: Mask) -> tuple[Image, np.ndarray | None, Mapping[str, Any]]:
        """What is pasted of the picture `made` of a crop: it, where it is known (`(h, w)` bool; None: everywhere), and
        what there is to say of it as plain JSON values."""
        return made, None, {}

    def carry_out(self, run: Run, calls: PipelineCalls) -> None:
        """Makes all turns of a run that are left, one after the other."""
        while run.so_far.done < len(run.turns):
            run.make(calls)
            run.keep(calls.rows)

    def edit(self, job: EditJob) -> Edited:
        """The photograph after all turns. Its mask is what they pasted taken together, None when one remade the whole
        picture. InputRefused (exit 3) for a grounded job with a subtask that has no region."""
        row = self.row
        turns = self._turns(job, row)
        pipeline = self.pipeline(row)
        config = pipeline.config
        steps, guidance = row.defaults(bool(config.get("is_distilled")))
        options = self.options
        own = config.get("sample_sigmas") or ()  # noise levels that its authors chose, one for each step
        steps = options.steps or len(own) or steps
        guidance = guidance if options.guidance_scale is None else options.guidance_scale
        run = Run(self, job, row, turns, steps, guidance, spaced=bool(own) and options.steps is not None)
        calls = PipelineCalls(pipeline, job.watch, len(turns) * run.planned, run.done, run.rows)
        stopped = False
        try:
            self.carry_out(run, calls)
        except Stopped:
            stopped = True
        log = {
            "model": options.model,
            "pipeline": row.name,
            "steps": steps,
            "guidance_scale": guidance,
            **({} if run.strength is None else {"strength": run.strength}),
            "evaluations": calls.rows,
            "turns": run.so_far.logs,
            "notes": _lacking(pipeline, row),
        }
        return structured(job, Edited(run.so_far.picture, run.mask, stopped, log), options.keep_structure)

    def _turns(self, job: EditJob, row: Row) -> list[Turn]:
        """The calls that a job takes: for each subtask one for each of its regions, the largest first; those without a
        region, which are about the whole picture, before them."""
        height, width = job.image.shape[:2]
        whole = Frame((width, height), (0, 0, width, height), row.size(width, height, self.options.resolution))
        found: list[Turn] = []
        everywhere = []
        for index in range(len(job.plan.subtasks)):
            own = [one for one in job.regions if one.subtask == index and one.mask is not None]
            if job.grounded and not own:
                own = subtask_regions(job, index)  # says which it is
            found += [self._turn(index, one, job, row) for one in own]
            everywhere += [] if own else [Turn(index, whole)]
        order = turn_order([turn.mask for turn in found if turn.mask is not None])
        return [*everywhere, *(found[at] for at in order)]

    def _turn(self, index: int, region: Region, job: EditJob, row: Row) -> Turn:
        """The call for a region of a subtask, on the crop around it, at the size that the model works at."""
        height, width = job.image.shape[:2]
        options = self.options
        side = round((options.resolution or row.resolution) / options.enlarge)
        x0, y0, x1, y1 = work_frame((width, height), [region], "crop", side).crop
        frame = Frame((width, height), (x0, y0, x1, y1), row.size(x1 - x0, y1 - y0, options.resolution))
        assert region.mask is not None
        return Turn(index, frame, region.mask, self.pasted(region, frame, row, job.grounded))


def _lacking(pipeline: Any, row: Row) -> list[str]:
    """A sentence for each text encoder that the model's folder is without."""
    lacking = [part for part in row.may_lack if getattr(pipeline, part) is None and "encoder" in part]
    return [f"the model has no {part.replace('_', ' ')}, and sees less of a long prompt" for part in lacking]
