"""A job of an editor over a pipeline while it is done: turn after turn, each on its crop, pasted in its mask."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gas.checkpoint import of_this_run, prefixed, under
from gas.diffusion.stepping import KEPT_EVERY, Stopped
from gas.masks import union
from gas.picture.frame import Frame
from gas.picture.pasted import Pasted
from gas_editors.pipelines.calling import PipelineCalls
from gas_editors.pipelines.row import Row
from gas_editors.pipelines.tokens import count, from_latents

if TYPE_CHECKING:
    from gas.interfaces import EditJob
    from gas.types import Image, Mask
    from gas_editors.pipelines.base import PipelineEditor


@dataclass(frozen=True)
class Turn:
    """One call of the pipeline: for the subtask `index`, on the crop of `frame`, in `mask` `(H, W)` of the photograph,
    pasted in `paste`, which may be wider; no masks: the whole picture."""

    index: int
    frame: Frame
    mask: Mask | None = None
    paste: Mask | None = None


class Run:
    """One job while it is done: the turns, and what those so far have left. With `spaced` the pipeline is told evenly
    spaced noise levels, since it has its own, of another number of steps."""

    def __init__(
        self,
        editor: PipelineEditor[Any],
        job: EditJob,
        row: Row,
        turns: list[Turn],
        steps: int,
        guidance: float,
        *,
        spaced: bool = False,
    ) -> None:
        self.editor, self.job, self.row, self.turns = editor, job, row, turns
        self.steps, self.guidance, self.strength = steps, guidance, editor.strength(row)
        self.spaced = spaced
        self.planned = steps if self.strength is None else min(math.ceil(steps * self.strength), steps)
        self.so_far = Pasted.begun(job.image)
        self.rows = 0
        self.within: tuple[int, Tensor] | None = None
        """Steps that the present turn has made, and the tokens that they have left; None: none, or nobody knows."""
        if (state := job.watch.resume) is not None:
            with of_this_run():
                self.so_far = Pasted.restored(under(state, "turns."), job.image, len(turns))
                self.rows = int(state["rows"])
                if "within.step" in state:
                    self.within = int(state["within.step"]), torch.as_tensor(state["within.latents"])
                    if not row.latents or not 0 < self.within[0] < steps or self.within[1].ndim != 3:
                        raise ValueError("its steps differ")

    @property
    def done(self) -> int:
        """How many steps are made."""
        return self.so_far.done * self.planned + (self.within[0] if self.within else 0)

    @property
    def mask(self) -> Mask | None:
        """Where the turns so far have pasted anything, `(H, W)`; None: everywhere."""
        kept = self.so_far.kept
        if kept is None:
            return None
        pasted = (kept < 1).astype(np.float32)
        own = [region.mask for region in self.job.regions if region.mask is not None]
        return pasted if pasted.any() or not own else union(own)

    def arguments(self, given: Mapping[str, Any], frame: Frame) -> dict[str, Any]:
        """What the pipeline is called with for a crop of `frame`: what is `given` for it, and what every call has."""
        row = self.row
        return {
            **given,
            **({} if self.strength is None else {"strength": self.strength}),
            "num_inference_steps": self.steps,
            row.guided_by: self.guidance,
            **({"negative_prompt": row.negative} if row.negative is not None and self.guidance > 1 else {}),
            **({"sigmas": np.linspace(1, 1 / self.steps, self.steps).tolist()} if self.spaced else {}),
            **({"width": frame.size[0], "height": frame.size[1]} if row.sized else {}),
            **row.arguments(frame.size),
        }

    def make(self, calls: PipelineCalls) -> None:
        """The next turn: the crop edited and pasted."""
        number = self.so_far.done
        turn = self.turns[number]
        subtask = self.job.plan.subtasks[turn.index]
        frame, before = turn.frame, self.so_far.picture
        crop = frame.cut(before)
        mask = np.ones(crop.shape[:2], np.float32) if turn.mask is None else frame.cut_mask(turn.mask)
        arguments = self.arguments(self.editor.arguments(subtask, self.row, crop, mask), frame)
        seed = self.job.seed + number
        begun = 0
        if self.within is not None:
            begun, tokens = self.within
            with of_this_run():
                if tokens.shape[1] != count(frame.size):
                    raise ValueError("its size differs")
            tokens = tokens.to(calls.pipeline._execution_device)
            arguments |= from_latents(tokens, begun, self.steps, self.row, frame.size)

        def after(i: int, latents: Tensor) -> Tensor:
            self.within = begun + i + 1, latents
            if self.within[0] % KEPT_EVERY == 0:
                self.keep(calls.rows)
            return latents

        values = {"subtask": turn.index + 1}
        kept = after if self.row.latents else None
        try:
            made = calls.make(arguments, seed, frame.size, self.planned - begun, values, kept)
        except Stopped:
            self.keep(calls.rows)
            raise
        self.within = None
        image, known, told = self.editor.finished(crop, made, mask)
        told = {"subtask": turn.index + 1, "seed": seed, "told": arguments["prompt"], **told}
        self.paste(turn, frame, image, known, told)

    def paste(self, turn: Turn, frame: Frame, image: Image, known: np.ndarray | None, told: Mapping[str, Any]) -> None:
        """Pastes the picture `image` of `frame` where a turn may, and where it is `known` (`(h, w)` bool; None:
        everywhere); the turn is done then."""
        if turn.paste is None:
            self.so_far.paste(frame.enlarge(image), None, told)
            return
        x0, y0, x1, y1 = frame.crop
        after = self.so_far.picture.copy()
        after[y0:y1, x0:x1] = frame.enlarge(image)
        alpha = turn.paste if known is None else frame.native_mask(known.astype(np.float32), turn.paste)
        self.so_far.paste(after, frame.paste_mask(alpha), told)

    def keep(self, rows: int) -> None:
        """Gives the watch the state from which the run can go on: after a turn, or within one whose pipeline can begin
        at latents."""
        watch = self.job.watch
        if watch.checkpoint is None or self.so_far.done == len(self.turns):
            return
        state: dict[str, Any] = {"rows": rows, **prefixed("turns.", self.so_far.state())}
        if self.within is not None and self.within[0] < self.steps:
            step, latents = self.within
            state |= {"within.step": step, "within.latents": latents.detach().cpu().clone()}
        watch.checkpoint(state)
