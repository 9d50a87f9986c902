"""What editors by instruction share: a subtask's instruction, a plan's turns, and all of them in one denoising."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from gas.checkpoint import prefixed, under
from gas.diffusion.backbone import Backbone
from gas.diffusion.load import load_backbone
from gas.diffusion.stepping import Stepping, Stopped, Work
from gas.errors import ResultRefused, UsageError
from gas.interfaces import Edited, EditJob, Editor
from gas.masks import mask_box
from gas.picture.pasted import Pasted
from gas.regions.rle import RLE, decode_rle
from gas.remedies import Option, Remedy, Setting
from gas.run.turns import edit_in_turns
from gas.types import Region
from gas_editors.instruction.confined import Confined
from gas_editors.instruction.together import Together, not_finite
from gas_editors.instruction.turn import Finished, Turn
from gas_editors.model_options import ModelOptions, check_world, refuse_foreign
from gas_editors.strokes import Strokes
from gas_editors.structure import structured
from gas_editors.told import instruction_of

if TYPE_CHECKING:
    from gas.types import Image


class InstructionOptions(ModelOptions):
    """Settings of the denoising. The scales are those of InstructPix2Pix's own code and of ZONE's. The sampler is
    ZONE's, 20 steps of DPM-Solver++; InstructPix2Pix's own code makes 100 Euler-ancestral ones."""

    steps: int = Field(20, ge=1, le=1000, description="denoising steps of each turn (ZONE: 20, DPM-Solver++)")
    guidance_scale: float = Field(7.5, ge=0, le=100, description="s_T: how much the instruction counts")
    image_guidance_scale: float = Field(1.5, ge=0, le=100, description="s_I: how much the source picture counts")
    wording: Literal["request", "template"] = Field(
        "request",
        description="what the model is told: the plan's own instruction, or one made of phrases, 'turn A into B'",
    )
    confine: Literal["together", "turns"] = Field(
        "together",
        description="grounded: all instructions in one denoising, each in its region, or one after the other",
    )
    overlap: float = Field(
        0.3,
        ge=0,
        le=1,
        description="grounded, together: factor of the larger of two regions where they overlap (Ground-A-Score, "
        "supplement 6.1)",
    )
    stroke: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="grounded, together: where a thing of a named colour is added, the picture is held to a stroke of "
        "that colour down to this share of the schedule, so that the thing comes where it is wanted (ours); 0: none",
    )


InstructionOptionsT = TypeVar("InstructionOptionsT", bound=InstructionOptions)


class InstructionEditor(Editor[InstructionOptionsT]):
    """Base of editors that carry out a plan's instructions: one after the other, or, grounded, all in one denoising."""

    confines = True

    @property
    def model(self) -> Backbone:
        """The shared model; loaded when first asked for."""
        return self._load(self.options.model)

    def _load(self, name: str | None) -> Backbone:
        if not name:
            raise UsageError(
                "no instruction model is named",
                Remedy(
                    "name_model",
                    "use {profile}, or {model} (a folder, or OWNER/NAME of the hub)",
                    profile=Setting("profile", "instruct"),
                    model=Option({"model": "NAME"}),
                ),
            )
        options = self.options
        return load_backbone(name, self.runtime, kind="instruction", **options.reading())

    def resolution(self) -> int:
        return self.model.resolution

    def multiple(self) -> int:
        return self.model.multiple

    def check(self, image: Image) -> None:
        check_world(self, lambda: self.model, image)

    def coded(self, image: Image) -> Image:
        return self.model.decode(self.model.encode(image))

    @abstractmethod
    def start(
        self,
        job: EditJob,
        numbers: Sequence[int],
        instructions: Sequence[str],
        picture: Image,
        confined: Confined | None = None,
        strokes: Strokes | None = None,
    ) -> Turn:
        """The turn that carries out the subtasks `numbers` on `picture`, at its beginning: one, or all of the plan
        where each is `confined` to its region, with `strokes` where something is added."""

    @abstractmethod
    def finish(self, job: EditJob, numbers: Sequence[int], turn: Turn, before: Image, stopped: bool) -> Finished:
        """What becomes of `before` by a turn that has made all its steps, or was `stopped` after one at least."""

    @torch.no_grad()
    def edit(self, job: EditJob) -> Edited:
        """The picture after all turns; of a grounded job after one denoising of all instructions, each in its region.

        Its mask is None when a turn remakes the whole picture; else it is what the turns pasted, taken together, and
        outside it the image is the last turn's own output. InputRefused (exit 3) for a grounded job with a subtask
        that has no region."""
        options, model = self.options, self.model
        if job.grounded and options.confine == "turns":
            return edit_in_turns(self, job)
        refuse_foreign(model, job, options.accept_db)
        instructions = [instruction_of(subtask, options.wording) for subtask in job.plan.subtasks]
        edited = self._together(job, instructions) if job.grounded else self._in_turns(job, instructions)
        return structured(job, edited, options.keep_structure)

    def _together(self, job: EditJob, instructions: Sequence[str]) -> Edited:
        """The picture after one denoising of all instructions: `K + 2` rows a step."""
        options, model = self.options, self.model
        # The places are settled, as if the user had drawn them.
        job = replace(job, regions=tuple(replace(region, given=True) for region in job.regions))
        size = job.image.shape[0] // model.factor, job.image.shape[1] // model.factor
        numbers = range(len(instructions))
        confined = Confined.of(job, size, options.overlap)
        strokes = Strokes.of(job, size, options.stroke) if options.stroke else None
        turn = self.start(job, numbers, instructions, job.image, confined, strokes)
        stopped = False
        try:
            Stepping(job.watch, options.steps).run("instructions", options.steps, Together(turn))
        except Stopped:
            stopped = True
        if not turn.done:
            return Edited(job.image, stopped=stopped, log=self._log(instructions, 0, {}))
        made = self.finish(job, numbers, turn, job.image, stopped)
        log = self._log(instructions, turn.evaluations, {"steps": turn.done, **made.log})
        return Edited(made.image, made.alpha, stopped, log, turn.unedited())

    def _log(self, instructions: Sequence[str], evaluations: int, more: Mapping[str, Any]) -> dict[str, Any]:
        """What every run says of itself: plain JSON values, `more` among them."""
        options, model = self.options, self.model
        cut = {text: words for text in instructions if (words := model.dropped_words(text))}
        notes = [f"the instruction {text[:60]!r} is too long: the model does not see {cut[text]!r}" for text in cut]
        return {
            "model": options.model,
            "guidance_scale": options.guidance_scale,
            "image_guidance_scale": options.image_guidance_scale,
            "evaluations": evaluations,
            "instructions": list(instructions),
            "prompts_cut": cut,
            **more,
            "notes": [*notes, *more.get("notes", ())],
        }

    def _in_turns(self, job: EditJob, instructions: Sequence[str]) -> Edited:
        """The picture after one turn for each instruction, each on what the last one has made."""
        options = self.options
        work = _Turns(self, job, instructions)
        total = len(instructions) * options.steps
        stopped = False
        try:
            Stepping(job.watch, total).run("instructions", total, work)
        except Stopped:
            stopped = True
        work.close()
        turns = [{name: one for name, one in log.items() if name != "place"} for log in work.so_far.logs]
        notes = list(dict.fromkeys(note for one in turns for note in one.get("notes", ())))
        log = self._log(instructions, work.evaluations, {"turns": turns, "notes": notes})
        image, mask = work.so_far.once_raw()
        return Edited(image=image, mask=mask, stopped=stopped, log=log, places=_places(work.so_far.logs))


def _places(logs: Sequence[Mapping[str, Any]]) -> tuple[Region, ...]:
    """The places that the turns chose themselves, from their logs, in which they go through the states."""
    found = [(number, log["place"]) for number, log in enumerate(logs) if "place" in log]
    masks = [(number, decode_rle(RLE.model_validate(one))) for number, one in found]
    return tuple(Region("", mask_box(mask), mask, subtask=number) for number, mask in masks if mask.any())


class _Turns(Work):
    """A plan's instructions, one turn after the other, each on the picture that the one before has left."""

    def __init__(self, editor: InstructionEditor, job: EditJob, instructions: Sequence[str]) -> None:
        self.editor, self.job, self.instructions = editor, job, instructions
        self.steps: int = editor.options.steps
        self.so_far = Pasted.begun(job.image)
        self.turn: Turn | None = None
        self.evaluations = 0
        """Rows that the turns before the present one have asked for."""
        self._values: dict[str, float] = {}

    def step(self, i: int) -> None:
        if i % self.steps == 0:
            self.close()
            self.turn = self._started()
        assert self.turn is not None
        self.turn.step()

    def close(self) -> None:
        """Pastes what the present turn has made, if it has made anything; when it is interrupted, what there is of
        it."""
        turn, number = self.turn, self.so_far.done
        self.turn = None
        if turn is None or not turn.done:
            return
        done = turn.done == self.steps
        made = self.editor.finish(self.job, [number], turn, self.so_far.picture, not done)
        self.evaluations += turn.evaluations
        log = {"instruction": self.instructions[number], "steps": turn.done, **made.log}
        self.so_far.paste(made.image, made.alpha, log, done=done)

    def _started(self) -> Turn:
        number = self.so_far.done
        return self.editor.start(self.job, [number], [self.instructions[number]], self.so_far.picture)

    def state(self) -> dict[str, Any]:
        state = {"evaluations": self.evaluations, **prefixed("turns.", self.so_far.state())}
        return state if self.turn is None else {**state, **prefixed("turn.", self.turn.state())}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.so_far = Pasted.restored(under(state, "turns."), self.job.image, len(self.instructions))
        self.evaluations = int(state["evaluations"])
        if part := under(state, "turn."):
            self.turn = self._started()
            self.turn.restore(part)

    def numbers(self) -> Mapping[str, Tensor]:
        return {} if self.turn is None else self.turn.numbers()

    def not_finite(self, what: str, name: str, i: int) -> ResultRefused:
        turn, step = divmod(i, self.steps)
        return not_finite(name, f"turn {turn + 1}, step {step + 1} of {self.steps}")

    def values(self, renewed: bool) -> Mapping[str, float]:
        assert self.turn is not None
        if renewed or self.turn.done == 1:
            self._values = {"instruction": self.turn.effect(), "turn": self.so_far.done + 1}
        return self._values

    def preview(self) -> Callable[[], Image] | None:
        return None if self.turn is None else self.turn.preview()
