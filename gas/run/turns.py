"""Grounded runs: each subtask's edit confined to its own region (the future work of Ground-A-Score, arXiv 2403.13551).

An editor that can confine its subtasks itself (`Editor.confines`) is asked to. With any other the subtasks are turns:
each is an edit of its own, of which only what lies in its region is kept before the next one begins. `edit_in_parts`
does the same with several editors, each of which has a part of the plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gas.checkpoint import of_this_run, prefixed, under
from gas.errors import InputRefused, ResultRefused
from gas.interfaces import Edited, EditJob, Step, Watch
from gas.masks import any_set, union
from gas.picture.blend import blend
from gas.picture.pasted import Pasted
from gas.remedies import OTHER_SEED, Given, Remedy, Setting
from gas.run.compose import is_unchanged
from gas.run.neighbours import turns_seen
from gas.types import EditPlan

if TYPE_CHECKING:
    from gas.interfaces import Editor
    from gas.types import Image, Mask

Check = Callable[[EditJob, Edited], None]


@dataclass(frozen=True)
class Part:
    """The subtasks (by their indices) that one editor makes in one turn; `grounded`: the editor confines each to its
    region itself. Several only for an editor that does."""

    editor: Editor
    subtasks: tuple[int, ...]
    grounded: bool = False


def _accept(job: EditJob, edited: Edited) -> None:
    pass


def edit_grounded(editor: Editor, job: EditJob, check: Check = _accept) -> Edited:
    """The picture in which each subtask has changed its own region only; `log["confined_by"]` says how.

    By the "editor" itself where it says that it can; its image is then its own output, as in any run. Else by "turns",
    the largest region first, so that small things lie on top of large ones: the image is then the job's own, bit for
    bit, outside all regions. A turn sees what earlier ones have made where their regions meet its own
    (`gas.run.neighbours`), and the job's picture elsewhere. A turn's seed is the job's plus the subtask's index.
    `check(job, edited)` is called with all that the editor gives back, and raises what is to be refused of it.

    InputRefused (exit 3) for a subtask without a region; ResultRefused (exit 11) for a turn whose edit is black.
    """
    masks = _masks(job)
    if editor.confines:
        edited = made_by(editor, replace(job, grounded=True))
        check(job, edited)
        return replace(edited, log={"confined_by": "editor", **edited.log})
    return _Turns(_each(editor, job), job, masks, check).run()


def made_by(editor: Editor, job: EditJob) -> Edited:
    """What `editor` makes of a job, or what its session has kept of it."""
    return editor.edit(job) if editor.edit_or_reuse is None else editor.edit_or_reuse(job)


def edit_in_turns(editor: Editor, job: EditJob) -> Edited:
    """The same by turns, also for an editor that confines: for one that has them as an option."""
    return edit_in_parts(_each(editor, job), job)


def edit_in_parts(parts: Sequence[Part], job: EditJob) -> Edited:
    """The picture in which each of `parts`, which together hold every subtask once, has changed its own regions only:
    in turns, the part with the largest region first. Errors as `edit_grounded`."""
    return _Turns(parts, replace(job, grounded=False), _masks(job), _accept).run()


def _each(editor: Editor, job: EditJob) -> list[Part]:
    """A part for each subtask, all of one editor."""
    return [Part(editor, (index,)) for index in range(len(job.plan.subtasks))]


def part_of_plan(plan: EditPlan, subtasks: Sequence[int]) -> EditPlan:
    """The plan of some of its subtasks: of one alone `single_plan`, of several with the plan's whole sentences."""
    if len(subtasks) == 1:
        return single_plan(plan, subtasks[0])
    return plan.model_copy(update={"subtasks": tuple(plan.subtasks[index] for index in subtasks)})


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


def turn_order(masks: Sequence[Mask]) -> list[int]:
    """The indices of the turns' masks in the order of the turns: the largest region first, equal ones as given."""
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
    """One part after the other, each with an editor that knows nothing of the others."""

    def __init__(self, parts: Sequence[Part], job: EditJob, masks: list[Mask], check: Check) -> None:
        self.job, self.check = job, check
        unions = [union([masks[index] for index in part.subtasks]) for part in parts]
        order = turn_order(unions)
        self.parts, self.masks = [parts[turn] for turn in order], [unions[turn] for turn in order]
        self.seen = turns_seen(self.masks)
        self.so_far = Pasted.begun(job.image)
        self.steps = 0
        """The steps that each turn counts for; 0: not known yet."""

    def run(self) -> Edited:
        inner: Mapping[str, Any] = {}
        if (resume := self.job.watch.resume) is not None:
            with of_this_run():
                self.so_far = Pasted.restored(under(resume, "grounded."), self.job.image, len(self.parts))
                self.steps = int(resume["grounded.steps"])
            inner = under(resume, "turn.")
        stopped = False
        while self.so_far.done < len(self.parts) and not stopped:
            stopped = self._turn(inner or None)
            inner = {}
            if not stopped and self.so_far.done < len(self.parts) and self.job.watch.checkpoint is not None:
                self.job.watch.checkpoint(self._state())
        image, mask = self.so_far.once()
        return Edited(image=image, mask=mask, stopped=stopped, log=self._log())

    def _state(self) -> dict[str, Any]:
        return prefixed("grounded.", {**self.so_far.state(), "steps": self.steps})

    def _turn(self, resume: Mapping[str, Any] | None) -> bool:
        """Makes the next turn; whether it was told to stop, and so is not done."""
        so_far = self.so_far
        part = self.parts[so_far.done]
        made: list[int] = []
        job = self._job(part, resume, made)
        edited = made_by(part.editor, job)
        self.check(job, edited)
        if edited.stopped and not made and resume is None:
            return True  # nothing is begun: what such an editor gives back is its input, gone through its model
        alpha, before = self._alpha(edited), so_far.picture
        if not edited.stopped:
            self._refuse_black(part, before, edited.image, alpha)
        # A turn that has changed nothing leaves what was there, and not what its model makes of that.
        image = edited.image if edited.stopped or not is_unchanged(before, edited, alpha) else before
        who = self._name(part)
        notes = [f"{who}: {note}" for note in edited.log.get("notes", ())]
        if len(part.subtasks) > 1:
            log: dict[str, Any] = {"subtasks": [index + 1 for index in part.subtasks]}
        else:
            log = {"subtask": part.subtasks[0] + 1}
        log |= {"seed": job.seed, "notes": notes, "log": dict(edited.log)}
        so_far.paste(image, alpha, log, done=not edited.stopped)
        if not edited.stopped and (so_far.picture == before).all():
            so_far.logs[-1]["notes"].append(f"{who} has changed nothing")
        return edited.stopped

    def _job(self, part: Part, resume: Mapping[str, Any] | None, made: list[int]) -> EditJob:
        place = {index: number for number, index in enumerate(part.subtasks)}
        own = [replace(one, subtask=place[one.subtask]) for one in self.job.regions if one.subtask in place]
        if part.editor.finds_regions:  # the place is settled, as if the user had drawn it
            own = [replace(region, given=True) for region in own]
        return replace(
            self.job,
            image=self._picture(),
            plan=part_of_plan(self.job.plan, part.subtasks),
            regions=tuple(own),
            seed=self.job.seed + part.subtasks[0],
            options=part.editor.options,
            grounded=part.grounded,
            intermediate=bool(self.seen[self.so_far.done]),
            watch=self._watch(part, resume, made),
        )

    def _picture(self) -> Image:
        """What the next turn works on."""
        seen = [self.masks[turn] for turn in self.seen[self.so_far.done]]
        picture = self.job.image.copy()
        if seen:
            there = any_set(seen)
            picture[there] = self.so_far.picture[there]
        return picture

    def _watch(self, part: Part, resume: Mapping[str, Any] | None, made: list[int]) -> Watch:
        """What one turn reports to: its steps count on from those of the turns before. Each turn gets the share of the
        total that the first one announced; one that is longer or shorter is scaled to it."""
        outer, turns = self.job.watch, len(self.parts)
        # What comes next in `so_far` must not change what a preview that is looked at later shows.
        picture, done = self.so_far.picture, self.so_far.done
        mask, first = self.masks[done], part.subtasks[0] + 1
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
            preview = None if show is None else lambda: blend(picture, show(), mask)
            outer.on_step(Step(count, turns * self.steps, {"subtask": first, **step.values}, preview))

        def checkpoint(state: Mapping[str, Any]) -> None:
            if outer.checkpoint is not None:
                outer.checkpoint({**self._state(), **prefixed("turn.", state)})

        def save_map(name: str, values: Mask) -> None:
            if outer.save_map is not None:
                outer.save_map(f"subtask-{first}-{name}", values)

        return Watch(
            on_step=on_step,
            should_stop=outer.should_stop,
            checkpoint=checkpoint if outer.checkpoint is not None else None,
            resume=resume,
            save_map=save_map if outer.save_map is not None else None,
        )

    def _alpha(self, edited: Edited) -> Mask:
        """How much of the present turn's edit is kept: its region, and never more than the editor would paste."""
        alpha = self.masks[self.so_far.done]
        return alpha if edited.mask is None else np.minimum(alpha, edited.mask)

    def _refuse_black(self, part: Part, before: Image, after: Image, alpha: Mask) -> None:
        inside = alpha > 0
        if inside.any() and not after[inside].any() and before[inside].any():
            raise ResultRefused(
                f"{self._name(part)}: the edited part is all black",
                OTHER_SEED,
            )

    def _name(self, part: Part) -> str:
        subtasks = [(index + 1, self.job.plan.subtasks[index]) for index in part.subtasks]
        named = ", ".join(f"{number} ({(one.target or one.source)!r})" for number, one in subtasks)
        return f"subtask{'s' if len(subtasks) > 1 else ''} {named}"

    def _log(self) -> dict[str, Any]:
        turns = self.so_far.logs
        logs = [one["log"] for one in turns]
        log: dict[str, Any] = {
            "confined_by": "turns",
            "order": [index + 1 for part in self.parts for index in part.subtasks],
            "notes": [note for one in turns for note in one["notes"]],
            "turns": turns,
        }
        if logs and all("evaluations" in one for one in logs):
            log["evaluations"] = sum(one["evaluations"] for one in logs)
        return log
