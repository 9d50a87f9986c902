"""`gas bench diorama`: every editor on the same held-out scenes, plans, regions and seeds, against exact results.

Results are kept one by one in OUT/results.jsonl, so that an interrupted run can be resumed; pictures are beside
them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gas.errors import GasError, InputRefused, ObjectNotFound, ResultRefused
from gas.files import write_text
from gas.interfaces import Edited, EditJob
from gas.suites import Progress, SuiteReport
from gas_diorama.bench.counting import Counted, counting_rows
from gas_diorama.bench.entrants import VERSION, Entrant
from gas_diorama.bench.judge import Judge
from gas_diorama.bench.kept import Kept, Made, Picture, fingerprint, read_picture, write_picture
from gas_diorama.bench.picture_scores import CLIP, find_clip, picture_scores
from gas_diorama.bench.report import as_json, contact_sheet, tables
from gas_diorama.bench.rows import REFERENCE, Row, rows_of
from gas_diorama.bench.scores import Result, Summary, by_action, by_grounding, summarise
from gas_diorama.world.cases import Case, benchmark_cases
from gas_diorama.world.world import Edit, Scene

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gas.backends.profiles import Profile
    from gas.backends.registry import Registry
    from gas.diffusion.clip import Clip
    from gas.runtime import Runtime

SUMMARY, SHEET = "bench.json", "sheet.png"
_SHOWN_PER_STRATUM = 3


@dataclass(frozen=True)
class Report(SuiteReport):
    """All results of a run, and where they are kept."""

    results: tuple[Result, ...]
    folder: Path
    setting: Mapping[str, Any]

    @property
    def summary(self) -> Summary:
        return summarise(self.results, REFERENCE)

    @property
    def actions(self) -> Summary:
        """As `summary`, for the edits by a single instruction of each action."""
        return by_action(self.results, REFERENCE)

    @property
    def grounding(self) -> Summary:
        """As `summary`, for edits of one and of several subtasks: grounded rows against their plain ones."""
        return by_grounding(self.results)

    def as_json(self) -> dict[str, Any]:
        """Plain values: what was run, and mean, low and high of every column for each stratum, each action and row, and
        for rows that there are plain and grounded."""
        summaries = {"strata": as_json(self.summary), "actions": as_json(self.actions)}
        summaries["grounding"] = as_json(self.grounding)
        return {"suite": "diorama", "version": VERSION, **self.setting, **summaries}

    def tables(self) -> RenderableType:
        """What a terminal shows: a table for each stratum, and for each action."""
        return tables(self.summary, REFERENCE, self.actions, self.grounding)

    @property
    def notes(self) -> Sequence[str]:
        return (f"results, table and pictures are in {self.folder}",)


def run(
    editors: Sequence[str | Row] = (),
    *,
    out: Path,
    full: bool = False,
    resume: bool = False,
    profile: str | Profile = "diorama",
    runtime: Runtime | None = None,
    registry: Registry | None = None,
    chosen: Sequence[Case] | None = None,
    seeds: Sequence[int] | None = None,
    batch: int = 10,
    clip: str = CLIP,
    progress: Progress | None = None,
) -> Report:
    """The benchmark's report; everything is also written below the folder `out`.

    * editors: titles of ROWS, names of GROUPS, names of any registered editors, or rows of one's own; by default all
      of ROWS.
    * full: 100 edits of the strata and three seeds instead of 40 and one, half as many by a single instruction beside
      them (`chosen` and `seeds` say it otherwise), and all of them for every row.
    * resume: continue with what is in `out`; without it a folder that holds results is refused.
    * batch: how many edits share one batch where the editor can.
    * progress: told the present row, how many edits of the whole run are done, and how many there are.
    * clip: whose scores are given, as `resolve_model` understands it; none where it is not there. Finished
      pictures are kept in `out` and scored anew in each run, so another CLIP needs no edit again.

    UsageError (exit 2) for an unknown editor, and where `out` holds results that were made with other weights, options
    or cases: those are never mixed.
    """
    from gas.backends.registry import Registry
    from gas.runtime import Runtime

    registry, runtime = registry or Registry.discover(), runtime or Runtime()
    profile = registry.profile(profile) if isinstance(profile, str) else profile
    chosen = benchmark_cases(100 if full else 40) if chosen is None else chosen
    seeds = (range(3) if full else (0,)) if seeds is None else seeds
    rows = [replace(row, part=1) if full else row for row in rows_of(profile, registry, editors)]
    entrants = [Entrant(row, profile, registry, runtime) for row in rows]
    bench = _Bench(out, chosen, seeds, batch, entrants, progress)
    results = bench.scored(bench.run(resume), find_clip(clip, runtime))
    report = Report(tuple(results), out, bench.setting)
    write_text(out / SUMMARY, json.dumps(report.as_json(), indent=2) + "\n", overwrite=True)
    write_picture(out / SHEET, bench.sheet(results))
    return report


class _Bench:
    """One run: what is to be done, what is done, and how it is kept."""

    def __init__(
        self,
        out: Path,
        chosen: Sequence[Case],
        seeds: Sequence[int],
        batch: int,
        entrants: Sequence[Entrant],
        progress: Progress | None,
    ) -> None:
        self.kept, self.cases, self.seeds, self.batch = Kept(out), chosen, tuple(seeds), batch
        self.entrants, self.progress = entrants, progress
        self.judges = {case.name: _judge(case.scene, case.edits) for case in chosen}
        self.round_trips: dict[str, Picture] = {}
        self.placed: dict[tuple[str, bytes], Judge] = {}

    @property
    def setting(self) -> dict[str, Any]:
        """What was run, as plain values."""
        return {
            "cases": [case.name for case in self.cases],
            "seeds": list(self.seeds),
            "rows": {entrant.title: entrant.recipe for entrant in self.entrants},
        }

    def run(self, resume: bool) -> list[Result]:
        """All results, in the order of rows, seeds and cases."""
        wanted = {
            (entrant.title, case.name, seed): fingerprint(entrant.recipe, case)
            for entrant in self.entrants
            for seed in self.seeds
            for case in entrant.cases(self.cases)
        }
        known = self.kept.known(wanted, resume)
        total = len(wanted)
        for entrant in self.entrants:
            for seed in self.seeds:
                missing = [c for c in entrant.cases(self.cases) if (entrant.title, c.name, seed) not in known]
                together = missing and not entrant.grounded and entrant.editor.batches
                at_once = self.batch if together else 1
                for start in range(0, len(missing), at_once):
                    if self.progress is not None:
                        self.progress(entrant.title, len(known), total)
                    for result, pictures in self._results(entrant, missing[start : start + at_once], seed):
                        case = next(case for case in self.cases if case.name == result.case)
                        self.kept.keep(result, fingerprint(entrant.recipe, case), pictures)
                        known[entrant.title, result.case, seed] = result
        if self.progress is not None:
            self.progress("", total, total)
        return [known[key] for key in wanted]

    # --- one batch ----------------------------------------------------------------------------------------------------

    def _results(self, entrant: Entrant, some: Sequence[Case], seed: int) -> Iterator[tuple[Result, Made | None]]:
        jobs: list[EditJob] = []
        cases: list[Case] = []
        for case in some:
            try:
                jobs.append(entrant.job(case, self.judges[case.name].source, seed))
                cases.append(case)
            except ObjectNotFound as error:
                yield self._refused(entrant, case, seed, error), None
        if not jobs:
            return
        from gas.diffusion.sample.inversion import INVERSIONS

        try:
            # Each edit pays its own inversion, whoever inverted the same picture before it.
            entrant.runtime.forget(INVERSIONS)
            with counting_rows() as counted:
                started = time.perf_counter()
                edited = _edit(entrant, jobs)
                seconds = (time.perf_counter() - started) / len(jobs)
        except (InputRefused, ObjectNotFound, ResultRefused) as error:
            if len(cases) > 1:  # the others of the batch shall not suffer
                for case in cases:
                    yield from self._results(entrant, [case], seed)
            else:
                yield self._refused(entrant, cases[0], seed, error), None
            return
        for case, job, one in zip(cases, jobs, edited, strict=True):
            made = Made(one.image, _finished(job, one), one.log.get("confined_by") == "turns")
            yield self._judged(entrant, case, job, made, seconds, counted.shared(len(jobs))), made

    def _judged(
        self, entrant: Entrant, case: Case, job: EditJob, made: Made, seconds: float, counted: Counted
    ) -> Result:
        judge = self._judge_of(entrant, case, made.finished)
        verdicts = judge.verdicts(made.finished if entrant.own else made.raw)
        outside = ~np.logical_or.reduce(judge.regions)
        composed = made.composed or not entrant.autoencodes
        return Result(
            row=entrant.title,
            case=case.name,
            stratum=case.stratum,
            seed=job.seed,
            actions=tuple(edit.action for edit in case.edits),
            done=tuple(verdict.done for verdict in verdicts),
            nearest=tuple(verdict.nearest for verdict in verdicts),
            ratio=tuple(round(verdict.ratio, 4) for verdict in verdicts),
            right=tuple(verdict.right for verdict in verdicts),
            miss=tuple(verdict.miss or "" for verdict in verdicts),
            raw_outside=_error(made.raw, judge.source if composed else self._round_trip(entrant, case), outside),
            pasted_outside=_error(made.finished, judge.source, outside),
            seconds=round(seconds, 3),
            network_rows=counted.rows,
            clip_rows=counted.clip,
            generator_rows=counted.generator,
        )

    def _refused(self, entrant: Entrant, case: Case, seed: int, error: GasError) -> Result:
        """An edit that the editor gave up is an edit that was not done."""
        count = len(case.edits)
        return Result(
            row=entrant.title,
            case=case.name,
            stratum=case.stratum,
            seed=seed,
            actions=tuple(edit.action for edit in case.edits),
            done=(False,) * count,
            nearest=(f"refused: {error.message}",) * count,
            ratio=(1.0,) * count,
            right=(False,) * count,
            miss=("refused",) * count,
            raw_outside=None,
            pasted_outside=None,
            seconds=None,
            network_rows=None,
        )

    def _judge_of(self, entrant: Entrant, case: Case, finished: Picture) -> Judge:
        """The case's own judge, or for an editor that works where it will one that expects additions where they are."""
        if not entrant.own or not any(edit.action == "add" for edit in case.edits):
            return self.judges[case.name]
        from gas_diorama.bench.follow import where_added

        key = case.name, hashlib.sha256(finished.tobytes()).digest()
        if key not in self.placed:
            judge = Judge(case.scene, where_added(case.scene, case.edits, finished))
            verdicts = judge.verdicts(finished)
            # A thing that is not there is looked for where it was wanted: the nearest to nothing would be a tiny one.
            edits = tuple(
                placed if verdict.done else edit
                for edit, placed, verdict in zip(case.edits, judge.edits, verdicts, strict=True)
            )
            self.placed[key] = judge if edits == judge.edits else Judge(case.scene, edits)
        return self.placed[key]

    def scored(self, results: Sequence[Result], clip: Clip | None) -> list[Result]:
        """The results with the scores of their finished pictures; an edit that was refused leaves the source."""
        by_name, by_title = {case.name: case for case in self.cases}, {one.title: one for one in self.entrants}
        found = []
        for result in results:
            case, entrant = by_name[result.case], by_title[result.row]
            finished = self._kept_finished(entrant, case, result)
            if finished is not None:
                judge = self._judge_of(entrant, case, finished)
                scores = picture_scores(finished, judge.exact, case.plan, judge.regions, clip)
                result = replace(result, **{name: round(v, 5) for name, v in vars(scores).items() if v is not None})
            found.append(result)
        return found

    def _kept_finished(self, entrant: Entrant, case: Case, result: Result) -> Picture | None:
        """The finished picture of a result. Folders of before they were kept hold the editors' own outputs only, whose
        regions are known."""
        if result.seconds is None:
            return self.judges[case.name].source
        if (kept := read_picture(self.kept.picture(result, "-finished"))) is not None:
            return kept
        raw = None if entrant.own else read_picture(self.kept.picture(result))
        if raw is None:
            return None
        return _finished(entrant.job(case, self.judges[case.name].source, result.seed), Edited(raw))

    def _round_trip(self, entrant: Entrant, case: Case) -> Picture:
        """The source of a case after encoding and decoding by the row's own model, or the profile's."""
        from gas.diffusion.load import load_backbone

        key = f"{entrant.model} {case.name}"
        if key not in self.round_trips:
            source = self.judges[case.name].source
            coded = entrant.editor.coded(source)
            if coded is None:  # it has no autoencoder of its own, and is held against the profile's
                profiles = load_backbone(entrant.model, entrant.runtime)
                coded = profiles.decode(profiles.encode(source))
            self.round_trips[key] = coded
        return self.round_trips[key]

    def sheet(self, results: Sequence[Result]) -> Picture:
        """Source, exact result and every row's own output (of an editor that works where it will the finished picture)
        for the first cases of each stratum, first seed."""
        shown: list[Case] = []
        for case in self.cases:
            if sum(other.stratum == case.stratum for other in shown) < _SHOWN_PER_STRATUM:
                shown.append(case)
        by_key = {(result.row, result.case): result for result in results if result.seed == self.seeds[0]}
        lines: dict[str, list[Picture | None]] = {}
        marks: dict[str, list[str]] = {}
        for case in shown:
            judge = self.judges[case.name]
            own = [by_key.get((entrant.title, case.name)) for entrant in self.entrants]
            label = f"{case.name}: {case.plan.instruction}"
            what = ["-finished" if entrant.own else "" for entrant in self.entrants]
            pictures = (
                None if result is None else read_picture(self.kept.picture(result, end))
                for result, end in zip(own, what, strict=True)
            )
            lines[label] = [judge.source, judge.exact, *pictures]
            done = ("" if result is None else f"{sum(result.done)} of {len(result.done)} done" for result in own)
            marks[label] = ["", "", *done]
        return contact_sheet(["source", "exact", *(entrant.title for entrant in self.entrants)], lines, marks)


@lru_cache(maxsize=200)
def _judge(scene: Scene, edits: tuple[Edit, ...]) -> Judge:
    """One judge for a case in all runs of a process: its renderings take longer than its verdicts."""
    return Judge(scene, edits)


def _finished(job: EditJob, edited: Edited) -> Picture:
    """What `gas edit` would write: the output pasted into the source."""
    from gas.picture.frame import work_frame
    from gas.run.compose import compose

    size = (job.image.shape[1], job.image.shape[0])
    frame = work_frame(size, job.regions, mode="full", resolution=size[0], multiple=1)
    return compose(job.image, frame, job, edited, job.regions, confined=False)[0]


def _edit(entrant: Entrant, jobs: Sequence[EditJob]) -> list[Edited]:
    """The jobs' results, in one batch where the editor can; a grounded one by one."""
    editor = entrant.editor
    if entrant.grounded:
        from gas.run.turns import edit_grounded

        return [edit_grounded(editor, job) for job in jobs]
    return editor.edit_together(jobs)


def _error(picture: Picture, reference: Picture, where: NDArray[np.bool_]) -> float | None:
    """Mean absolute difference in levels of 255 over the pixels `where`; None when there are none."""
    if not where.any():
        return None
    return round(float(np.abs(picture[where].astype(np.float64) - reference[where]).mean()), 4)
