"""Grounded runs: each subtask's edit confined to its own region (the future work of Ground-A-Score, arXiv 2403.13551).

An editor that can confine its subtasks itself (`Editor.confines`) is asked to. With any other the subtasks are turns:
each is an edit of its own, of which only what lies in its region is kept before the next one begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gas.checkpoint import of_this_run, prefixed, under
from gas.errors import InputRefused, ResultRefused
from gas.interfaces import Edited, EditJob, Step, Watch
from gas.masks import union
from gas.picture.blend import blend
from gas.picture.pasted import Pasted
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
        return replace(edited, log={"confined_by": "editor", **edited.log})
    return _Turns(editor, job, masks, check).run()


def edit_in_turns(editor: Editor, job: EditJob) -> Edited:
    """The same by turns, also for an editor that confines: for one that has them as an option."""
    return _Turns(editor, replace(job, grounded=False), _masks(job), _accept).run()


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


class _Turns:
    """One subtask after the other, each with an editor that knows nothing of the others."""

    def __init__(self, editor: Editor, job: EditJob, masks: list[Mask], check: Check) -> None:
        self.editor, self.job, self.check = editor, job, check
        self.order = turn_order(masks)
        self.masks = masks
        self.so_far = Pasted.begun(job.image)
        self.steps = 0
        """The steps that each turn counts for; 0: not known yet."""

    def run(self) -> Edited:
        inner: Mapping[str, Any] = {}
        if (resume := self.job.watch.resume) is not None:
            with of_this_run():
                self.so_far = Pasted.restored(under(resume, "grounded."), self.job.image, len(self.order))
                self.steps = int(resume["grounded.steps"])
            inner = under(resume, "turn.")
        stopped = False
        while self.so_far.done < len(self.order) and not stopped:
            stopped = self._turn(inner or None)
            inner = {}
            if not stopped and self.so_far.done < len(self.order) and self.job.watch.checkpoint is not None:
                self.job.watch.checkpoint(self._state())
        image, mask = self.so_far.once()
        return Edited(image=image, mask=mask, stopped=stopped, log=self._log())

    def _state(self) -> dict[str, Any]:
        return prefixed("grounded.", {**self.so_far.state(), "steps": self.steps})

    def _turn(self, resume: Mapping[str, Any] | None) -> bool:
        """Makes the next turn; whether it was told to stop, and so is not done."""
        so_far = self.so_far
        index = self.order[so_far.done]
        made: list[int] = []
        job = self._job(index, resume, made)
        edited = self.editor.edit(job)
        self.check(job, edited)
        if edited.stopped and not made and resume is None:
            return True  # nothing is begun: what such an editor gives back is its input, gone through its model
        alpha, before = self._alpha(index, edited), so_far.picture
        if not edited.stopped:
            self._refuse_black(index, before, edited.image, alpha)
        # A turn that has changed nothing leaves what was there, and not what its model makes of that.
        image = edited.image if edited.stopped or not is_unchanged(before, edited, alpha) else before
        notes = [f"subtask {index + 1} ({self._name(index)!r}): {note}" for note in edited.log.get("notes", ())]
        log = {"subtask": index + 1, "seed": job.seed, "notes": notes, "log": dict(edited.log)}
        so_far.paste(image, alpha, log, done=not edited.stopped)
        if not edited.stopped and (so_far.picture == before).all():
            so_far.logs[-1]["notes"].append(f"subtask {index + 1} ({self._name(index)!r}) has changed nothing")
        return edited.stopped

    def _job(self, index: int, resume: Mapping[str, Any] | None, made: list[int]) -> EditJob:
        own = [region for region in self.job.regions if region.subtask == index]
        if self.editor.finds_regions:  # the place is settled, as if the user had drawn it
            own = [replace(region, given=True) for region in own]
        return replace(
            self.job,
            image=self.so_far.picture.copy(),
            plan=single_plan(self.job.plan, index),
            regions=tuple(replace(region, subtask=0) for region in own),
            seed=self.job.seed + index,
            intermediate=self.so_far.done > 0,
            watch=self._watch(index, resume, made),
        )

    def _watch(self, index: int, resume: Mapping[str, Any] | None, made: list[int]) -> Watch:
        """What one turn reports to: its steps count on from those of the turns before. Each turn gets the share of the
        total that the first one announced; one that is longer or shorter is scaled to it."""
        outer, turns = self.job.watch, len(self.order)
        # What comes next in `so_far` must not change what a preview that is looked at later shows.
        picture, done = self.so_far.picture, self.so_far.done
        last = done * self.steps

        def on_step(step: Step) -> None:
            nonlocal last
            made.append(step.index)
            self.steps = self.steps or step.total
            count = done * self.steps + math.ceil(step.index * self.steps / step.total)
            if outer.on_step is None or count <= last:
                return
            last = count
            show = step.preview
            preview = None if show is None else lambda: blend(picture, show(), self.masks[index])
            outer.on_step(Step(count, turns * self.steps, {"subtask": index + 1, **step.values}, preview))

        def checkpoint(state: Mapping[str, Any]) -> None:
            if outer.checkpoint is not None:
                outer.checkpoint({**self._state(), **prefixed("turn.", state)})

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

    def _log(self) -> dict[str, Any]:
        turns = self.so_far.logs
        logs = [one["log"] for one in turns]
        log: dict[str, Any] = {
            "confined_by": "turns",
            "order": [index + 1 for index in self.order],
            "notes": [note for one in turns for note in one["notes"]],
            "turns": turns,
        }
        if logs and all("evaluations" in one for one in logs):
            log["evaluations"] = sum(one["evaluations"] for one in logs)
        return log
