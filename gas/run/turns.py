"""Grounded runs: each subtask's edit confined to its own region (the future work of Ground-A-Score, arXiv 2403.13551).

An editor that can confine its subtasks itself (`Editor.confines`) is asked to. With any other the subtasks are turns:
each is an edit of its own, of which only what lies in its region is kept before the next one begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gas.checkpoint import of_this_run
from gas.errors import InputRefused, ResultRefused
from gas.interfaces import Edited, EditJob, Step, Watch
from gas.masks import union
from gas.picture.blend import blend, unblend
from gas.remedies import OTHER_SEED, Given, Remedy, Setting
from gas.run.compose import is_unchanged
from gas.types import EditPlan

if TYPE_CHECKING:
    from gas.interfaces import Editor
    from gas.types import Image, Mask

Check = Callable[[EditJob, Edited], None]


def _accept(job: EditJob, edited: Edited) -> None:
    pass


def edit_grounded(editor: Editor, job: EditJob, check: Check = _accept) -> Edited:
    """The picture in which each subtask has changed its own region only; `log["confined_by"]` says how.

    By the "editor" itself where it says that it can; its image is then its own output, as in any run. Else by "turns",
    the largest region first, so that small things lie on top of large ones: the image is then the job's own, bit for
    bit, outside all regions. A turn's seed is the job's plus the subtask's index. `check(job, edited)` is called with
    all that the editor gives back, and raises what is to be refused of it.

    InputRefused (exit 3) for a subtask without a region; ResultRefused (exit 11) for a turn whose edit is black.
    """
    masks = _masks(job)
    if editor.confines:
        edited = editor.edit(replace(job, grounded=True))
        check(job, edited)
        return replace(edited, log={**edited.log, "confined_by": "editor"})
    return _Turns(editor, job, masks, check).run()


def single_plan(plan: EditPlan, index: int) -> EditPlan:
    """The plan of the subtask `index` alone, with its own prompts in the place of the whole sentences.

    They name what is in its region and nothing of the other subtasks, which would pull at it too. Where one of the two
    is empty (an addition or a removal that says nothing of the place) the plan's whole sentences stay, both of them: a
    phrase beside a sentence would ask for all else that the sentence speaks of.
    """
    subtask = plan.subtasks[index]
    source, target = subtask.prompts
    if not source.strip() or not target.strip():
        source, target = plan.source_prompt, plan.target_prompt
    return plan.model_copy(
        update={
            "subtasks": (subtask,),
            "source_prompt": source,
            "target_prompt": target,
            "preserve_shape": subtask.preserve_shape,
        }
    )


def turn_order(masks: list[Mask]) -> list[int]:
    """The indices of the subtasks in the order of their turns: the largest region first, equal ones as in the plan."""
    sizes = [float(mask.sum(dtype=np.float64)) for mask in masks]
    return sorted(range(len(masks)), key=lambda index: (-sizes[index], index))


def _masks(job: EditJob) -> list[Mask]:
    """What each subtask may change, `(H, W)`."""
    out = []
    for index, subtask in enumerate(job.plan.subtasks):
        own = [region.mask for region in job.regions if region.subtask == index and region.mask is not None]
        if not own:
            phrase = subtask.region_phrase or subtask.target
            raise InputRefused(
                f"subtask {index + 1} ({phrase!r}) has no region, which a grounded run needs",
                Remedy(
                    "give_region_or_ungrounded",
                    "give {region}, or leave {grounded} out",
                    region=Given(phrase, ("box",)),
                    grounded=Setting("grounded", True),
                ),
            )
        out.append(union(own))
    return out


@dataclass
class _SoFar:
    """What the turns have left: how many are `done`, the `picture`, how much of the first one is `kept` in it `(H, W)`,
    the steps that each turn counts for (0: not known yet), and what each turn measured."""

    done: int
    picture: Image
    kept: Mask
    steps: int
    logs: list[dict[str, Any]]

    @classmethod
    def begun(cls, image: Image) -> _SoFar:
        return cls(0, image, np.ones(image.shape[:2], np.float32), 0, [])

    @classmethod
    def restored(cls, state: Mapping[str, Any], job: EditJob) -> _SoFar:
        with of_this_run():
            found = cls(
                int(state["grounded.done"]),
                state["grounded.picture"].numpy(),
                state["grounded.kept"].numpy(),
                int(state["grounded.steps"]),
                list(state["grounded.logs"]),
            )
            shapes = found.picture.shape == job.image.shape and found.kept.shape == job.image.shape[:2]
            if not shapes or not 0 <= found.done < len(job.plan.subtasks):
                raise ValueError("its size or number of turns differs")
        return found

    def state(self) -> dict[str, Any]:
        import torch  # only where states are kept: they are saved as tensors

        return {
            "grounded.done": self.done,
            "grounded.picture": torch.from_numpy(self.picture.copy()),
            "grounded.kept": torch.from_numpy(self.kept.copy()),
            "grounded.steps": self.steps,
            "grounded.logs": list(self.logs),
        }


class _Turns:
    """One subtask after the other, each with an editor that knows nothing of the others."""

    def __init__(self, editor: Editor, job: EditJob, masks: list[Mask], check: Check) -> None:
        self.editor, self.job, self.check = editor, job, check
        self.order = turn_order(masks)
        self.masks = masks

    def run(self) -> Edited:
        resume = self.job.watch.resume
        so_far = _SoFar.begun(self.job.image) if resume is None else _SoFar.restored(resume, self.job)
        inner = {
            name.removeprefix("turn."): value for name, value in (resume or {}).items() if name.startswith("turn.")
        }
        stopped = False
        while so_far.done < len(self.order) and not stopped:
            stopped = self._turn(so_far, inner or None)
            inner = {}
            if not stopped and so_far.done < len(self.order) and self.job.watch.checkpoint is not None:
                self.job.watch.checkpoint(so_far.state())
        image, mask = unblend(self.job.image, so_far.picture, so_far.kept, self.job.image)
        return Edited(image=image, mask=mask, stopped=stopped, log=self._log(so_far))

    def _turn(self, so_far: _SoFar, resume: Mapping[str, Any] | None) -> bool:
        """Makes the next turn; whether it was told to stop, and so is not done."""
        index = self.order[so_far.done]
        made: list[int] = []
        job = self._job(index, so_far, resume, made)
        edited = self.editor.edit(job)
        self.check(job, edited)
        if edited.stopped and not made and resume is None:
            return True  # nothing is begun: what such an editor gives back is its input, gone through its model
        alpha, before = self._alpha(index, edited), so_far.picture
        if not edited.stopped:
            self._refuse_black(index, before, edited.image, alpha)
        if edited.stopped or not is_unchanged(before, edited, alpha):
            so_far.picture = blend(before, edited.image, alpha)
        so_far.kept = so_far.kept * (1 - alpha)
        notes = [f"subtask {index + 1} ({self._name(index)!r}): {note}" for note in edited.log.get("notes", ())]
        if not edited.stopped and (so_far.picture == before).all():
            notes.append(f"subtask {index + 1} ({self._name(index)!r}) has changed nothing")
        so_far.logs.append({"subtask": index + 1, "seed": job.seed, "notes": notes, "log": dict(edited.log)})
        so_far.done += not edited.stopped
        return edited.stopped

    def _job(self, index: int, so_far: _SoFar, resume: Mapping[str, Any] | None, made: list[int]) -> EditJob:
        own = [region for region in self.job.regions if region.subtask == index]
        if self.editor.finds_regions:  # the place is settled, as if the user had drawn it
            own = [replace(region, given=True) for region in own]
        return replace(
            self.job,
            image=so_far.picture.copy(),
            plan=single_plan(self.job.plan, index),
            regions=tuple(replace(region, subtask=0) for region in own),
            seed=self.job.seed + index,
            intermediate=so_far.done > 0,
            watch=self._watch(index, so_far, resume, made),
        )

    def _watch(self, index: int, so_far: _SoFar, resume: Mapping[str, Any] | None, made: list[int]) -> Watch:
        """What one turn reports to: its steps count on from those of the turns before. Each turn gets the share of the
        total that the first one announced; one that is longer or shorter is scaled to it."""
        outer, turns = self.job.watch, len(self.order)
        # What comes next in `so_far` must not change what a preview that is looked at later shows.
        picture = so_far.picture
        last = so_far.done * so_far.steps

        def on_step(step: Step) -> None:
            nonlocal last
            made.append(step.index)
            so_far.steps = so_far.steps or step.total
            count = so_far.done * so_far.steps + math.ceil(step.index * so_far.steps / step.total)
            if outer.on_step is None or count <= last:
                return
            last = count
            show = step.preview
            preview = None if show is None else lambda: blend(picture, show(), self.masks[index])
            outer.on_step(Step(count, turns * so_far.steps, {"subtask": index + 1, **step.values}, preview))

        def checkpoint(state: Mapping[str, Any]) -> None:
            if outer.checkpoint is not None:
                outer.checkpoint({**so_far.state(), **{f"turn.{name}": value for name, value in state.items()}})

        def save_map(name: str, values: Mask) -> None:
            if outer.save_map is not None:
                outer.save_map(f"subtask-{index + 1}-{name}", values)

        return Watch(
            on_step=on_step,
            should_stop=outer.should_stop,
            checkpoint=checkpoint if outer.checkpoint is not None else None,
            resume=resume,
            save_map=save_map if outer.save_map is not None else None,
        )

    def _alpha(self, index: int, edited: Edited) -> Mask:
        """How much of a turn's edit is kept: its region, and never more than the editor itself would paste."""
        alpha = self.masks[index]
        return alpha if edited.mask is None else np.minimum(alpha, edited.mask)

    def _refuse_black(self, index: int, before: Image, after: Image, alpha: Mask) -> None:
        inside = alpha > 0
        if inside.any() and not after[inside].any() and before[inside].any():
            raise ResultRefused(
                f"subtask {index + 1} ({self._name(index)!r}): the edited part is all black",
                OTHER_SEED,
            )

    def _name(self, index: int) -> str:
        subtask = self.job.plan.subtasks[index]
        return subtask.target or subtask.source

    def _log(self, so_far: _SoFar) -> dict[str, Any]:
        logs = [one["log"] for one in so_far.logs]
        log: dict[str, Any] = {
            "confined_by": "turns",
            "order": [index + 1 for index in self.order],
            "notes": [note for one in so_far.logs for note in one["notes"]],
            "turns": so_far.logs,
        }
        if logs and all("evaluations" in one for one in logs):
            log["evaluations"] = sum(one["evaluations"] for one in logs)
        return log
