"""A session's stages, each asked of its backend or taken from the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from gas import notes
from gas.backends.roles import EDITORS, GROUNDERS, PLANNERS
from gas.cache.entry import Entry
from gas.errors import GasError, PluginBroken
from gas.plan.words import what
from gas.run import answers
from gas.run.reuse import identity, values
from gas.run.reuse.identity import Unknown
from gas.run.reuse.told import Told, tell, to_edit_anew

if TYPE_CHECKING:
    from gas.cache.store import Store
    from gas.interfaces import Edited, EditJob, Editor, Grounder, GroundJob, Planner
    from gas.run.session import Session
    from gas.types import EditPlan, EditRequest, Region

T = TypeVar("T")


@dataclass
class Stages:
    """What of `session` can be reused, in `store`.

    Each method takes how to ask, and gives the answer: a kept one only where everything that decides it is the same.
    An entry that cannot be used is none; errors are the backend's own, and nothing of a failed answer is kept.
    """

    session: Session
    store: Store

    def plan(self, request: EditRequest, planner: Planner, ask: Callable[[], EditPlan]) -> EditPlan:
        """The plan for a request, where the planner lets its answers be given again."""
        name = self.session.settings.planner
        if not planner.reusable:
            return ask()

        def key() -> str:
            return identity.key(
                backend=identity.of_backend(self.session, PLANNERS, name, service=True),
                sent=asdict(planner.preview(request)),
                image=identity.of_array(request.image),
                words=[request.instruction, request.caption, request.source, request.target],
                seed=request.seed,
            )

        return self._kept("plans", key, ask, values.plan_of, values.plan_entry, Told("plan", name))

    def ground(self, name: str, grounder: Grounder, job: GroundJob, ask: Callable[[], list[Region]]) -> list[Region]:
        """What the grounder `name` makes of the job's regions."""
        if not grounder.reusable or grounder.remote:
            return ask()

        def key() -> str:
            return identity.key(
                backend=identity.of_backend(self.session, GROUNDERS, name),
                image=identity.of_array(job.image),
                regions=identity.of_regions(job.regions),
                notes=[one.note for one in job.regions],
                plan=identity.of_plan(job.plan) if job.plan is not None and grounder.reads_plan else None,
            )

        def found(entry: Entry) -> list[Region]:
            size = job.image.shape[1], job.image.shape[0]
            asked = [region.subtask for region in job.regions]
            return answers.regions(values.regions_of(entry), asked, size, _unusable)  # type: ignore[arg-type]

        told = Told("regions", name, tuple(dict.fromkeys(one.phrase for one in job.regions)))
        return self._kept("regions", key, ask, found, values.regions_entry, told)

    def size(self, name: str, editor: Editor, ask: Callable[[], tuple[int | None, int]]) -> tuple[int | None, int]:
        """The editor's `resolution()` and `multiple()`, for which its model need not be loaded again."""
        if not editor.reusable or editor.remote:
            return ask()

        def key() -> str:
            named = (name, *editor.helpers)
            return identity.key(backends=[identity.of_backend(self.session, EDITORS, one) for one in named])

        def found(entry: Entry) -> tuple[int | None, int]:
            return answers.working_size(entry.values["resolution"], entry.values["multiple"], _unusable)

        def entry(size: tuple[int | None, int], warned: Sequence[str]) -> Entry:
            return Entry({"resolution": size[0], "multiple": size[1], "notes": list(warned)})

        return self._kept("sizes", key, ask, found, entry, None)

    def edit(self, name: str, editor: Editor, job: EditJob) -> Edited:
        """What the editor `name` makes of a job. An editor with helpers is asked, and they are looked up."""
        if not self._can_keep(editor, job) or editor.helpers:
            return editor.edit(job)

        def key() -> str:
            return identity.key(**self._editing(name, [job]), alone=self._job(job))

        (edited,) = self._edits(name, [job], key, lambda: [editor.edit(job)])
        return edited

    def edit_together(self, name: str, editor: Editor, jobs: Sequence[EditJob]) -> list[Edited]:
        """What the editor `name` makes of jobs in one batch: all or nothing is reused, for their last bits depend on
        each other."""
        if editor.helpers or not all(self._can_keep(editor, job) for job in jobs):
            return editor.edit_together(jobs)

        def key() -> str:
            return identity.key(**self._editing(name, jobs), together=[self._job(job) for job in jobs])

        return self._edits(name, jobs, key, lambda: editor.edit_together(jobs))

    # --- edits --------------------------------------------------------------------------------------------------------

    def _can_keep(self, editor: Editor, job: EditJob) -> bool:
        """Not what is resumed, nor what is to be looked into, nor what another machine makes."""
        watched = job.watch.resume is not None or job.watch.save_map is not None
        return editor.reusable and not editor.remote and not watched

    def _editing(self, name: str, jobs: Sequence[EditJob]) -> dict[str, Any]:
        """The editor, and the segmenter that it is handed."""
        segmenter = self.session.segmenter_name() if jobs[0].segmenter is not None else None
        if segmenter is not None and jobs[0].segmenter is not None and jobs[0].segmenter.remote:
            raise Unknown("another machine segments")
        return {
            "backend": identity.of_backend(self.session, EDITORS, name),
            "segmenter": None if segmenter is None else identity.of_backend(self.session, GROUNDERS, segmenter),
        }

    def _job(self, job: EditJob) -> dict[str, Any]:
        return {
            "image": identity.of_array(job.image),
            "plan": identity.of_plan(job.plan),
            "regions": identity.of_regions(job.regions),
            "seed": job.seed,
            "grounded": job.grounded,
            "intermediate": job.intermediate,
        }

    def _edits(
        self, name: str, jobs: Sequence[EditJob], key: Callable[[], str], make: Callable[[], list[Edited]]
    ) -> list[Edited]:
        subtasks = [subtask for job in jobs for subtask in job.plan.subtasks]
        told = Told("edit", name, tuple(what(subtask) for subtask in subtasks))
        marker = self._seen(name, jobs)  # before the editor may write into the picture
        anew = False

        def made() -> list[Edited]:
            nonlocal anew
            anew = True
            return make()

        def found(entry: Entry) -> list[Edited]:
            kept = values.edits_of(entry)
            return [answers.edited(one, job, _unusable) for one, job in zip(kept, jobs, strict=True)]

        def entry(edits: list[Edited], warned: Sequence[str]) -> Entry | None:
            for one, job in zip(edits, jobs, strict=True):
                answers.edited(one, job, _unusable)
                if one.stopped:
                    return None
            return values.edits_entry(edits, warned)

        edits = self._kept("edits", key, made, found, entry, told)
        if anew and marker is not None and not to_edit_anew():
            self._tell_why(name, marker, jobs[0].seed, len(subtasks), told)
        return edits

    def _seen(self, name: str, jobs: Sequence[EditJob]) -> str | None:
        """The key under which it is kept that an editor, as it is set, has changed these things of this picture. None
        for what a turn before has edited, or where nothing is kept."""
        if any(job.intermediate for job in jobs):
            return None

        def key() -> str:
            things = [[one.where, one.region_phrase] for job in jobs for one in job.plan.subtasks]
            parts = [{**self._job(job), "plan": None, "seed": None} for job in jobs]
            return identity.key(**self._editing(name, jobs), things=things, jobs=parts)

        return _key_or_none(key)

    def _tell_why(self, name: str, marker: str, seed: int, count: int, told: Told) -> None:
        """Says why an edit of what was edited before is made anew, where that is not plain: for its seed, or because
        another of its changes is another one."""
        before = self.store.get("seen", marker)
        then = before.values.get("seed") if before is not None else None
        if type(then) is int and then != seed:
            tell(Told("edit", name, told.what, "seed", then - seed))
        elif type(then) is int and count > 1:
            tell(Told("edit", name, told.what, "together"))
        if then != seed:
            self.store.put("seen", marker, Entry({"seed": seed}))

    # --- any stage ----------------------------------------------------------------------------------------------------

    def _kept(
        self,
        kind: str,
        make_key: Callable[[], str],
        ask: Callable[[], T],
        found: Callable[[Entry], T],
        entry: Callable[[T, Sequence[str]], Entry | None],
        told: Told | None,
    ) -> T:
        """What is kept, as `found` reads it; else what `ask()` gives, which is kept as `entry` writes it."""
        key = _key_or_none(make_key)
        if key is None:
            return ask()
        kept = None if kind == "edits" and to_edit_anew() else self.store.get(kind, key)
        if kept is not None:
            try:
                answer, warned = found(kept), values.notes_of(kept)
            except Exception:  # noqa: BLE001 - an entry that is not what it should be is a miss
                pass
            else:
                for note in warned:
                    notes.warn(note, stacklevel=3)
                if told is not None:
                    tell(told)
                return answer
        with notes.collected() as said:
            answer = ask()
        try:
            kept = entry(answer, said)
        except Exception:  # noqa: BLE001 - what is wrong with an answer is said by those who use it
            return answer
        if kept is not None:
            self.store.put(kind, key, kept)
        return answer


def _key_or_none(make: Callable[[], str]) -> str | None:
    """The key; None where what decides the answer cannot be named, or looked at: then nothing is kept."""
    try:
        return make()
    except Exception:  # noqa: BLE001 - a model that cannot be read is its editor's to complain of
        return None


def _unusable(reason: str) -> GasError:
    return PluginBroken(reason)
