"""`gas bench diorama`: every editor on the same held-out scenes, plans, regions and seeds, against exact results.

Results are kept one by one in OUT/results.jsonl, so that an interrupted run can be resumed; pictures are beside
them.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gas.backends.roles import EDITORS
from gas.errors import GasError, InputRefused, ObjectNotFound, ResultRefused, UsageError
from gas.files import make_folder, slug, write_bytes, write_text
from gas.interfaces import Edited, EditJob
from gas.remedies import Remedy, Setting
from gas.suites import Progress, SuiteReport
from gas.validation import unknown
from gas_diorama.bench.judge import Judge
from gas_diorama.bench.picture_scores import CLIP, find_clip, picture_scores
from gas_diorama.bench.report import as_json, contact_sheet, tables
from gas_diorama.bench.scores import Result, Summary, by_action, by_grounding, summarise
from gas_diorama.world.cases import Case, benchmark_cases
from gas_diorama.world.world import Edit, Scene

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gas.backends.profiles import Profile
    from gas.backends.registry import Registry
    from gas.diffusion.clip import Clip
    from gas.interfaces import Editor, Options
    from gas.run.session import Session
    from gas.runtime import Runtime

Picture = NDArray[np.uint8]
REFERENCE = "ground-a-score"
VERSION = 2
RESULTS, SUMMARY, SHEET, PICTURES = "results.jsonl", "bench.json", "sheet.png", "pictures"
_SHOWN_PER_STRATUM = 3


@dataclass(frozen=True, eq=False)
class Row:
    """A row of the table: an editor under the profile's options, with some of them set otherwise.

    `found`: in the regions that the profile's grounders find, instead of the exact ones.
    `own`: no regions are given, the editor works where it will. The finished picture is judged then, and an added thing
    where the editor put it (`gas_diorama.bench.follow.where_added`): nothing told it the exact place.
    `grounded`: each subtask confined to its exact region (`gas.run.turns`), by the editor or in turns.
    `part`: only every so many-th case of each stratum, unless the run is a full one; for rows that take very long.
    """

    title: str
    editor: str
    options: Mapping[str, Any] = field(default_factory=dict)
    found: bool = False
    part: int = 1
    own: bool = False
    grounded: bool = False


_PARTS = {"text2live": 2}
"""Editors whose rows take very long."""


def _plain(editor: str) -> Row:
    return Row(editor, editor, part=_PARTS.get(editor, 1))


def _grounded(editor: str) -> Row:
    return Row(f"{editor} grounded", editor, grounded=True, part=_PARTS.get(editor, 1))


_OPTIMISED = (
    Row("sds", "sds"),
    Row("dds", "dds"),
    Row("cds", "cds"),
    Row(REFERENCE, "ground-a-score"),
    Row("no masks or full prompt", "ground-a-score", {"mask": "none", "full_prompt": False}),
    Row("no subtasks", "ground-a-score", {"subtasks": False}),
    Row("no full prompt", "ground-a-score", {"full_prompt": False}),
    Row("no penalty", "ground-a-score", {"penalty": False}),
    Row("found regions", "ground-a-score", found=True),
    Row("paper's values", "ground-a-score", {"preset": "paper"}, part=5),
)
_INSTRUCTIONS = (
    Row("zone", "zone", own=True),
    Row("zone no smoother", "zone", {"smoother": False}, own=True),
    Row("zone no region IoU", "zone", {"segments": "none"}, own=True),
    Row("zone beta 0", "zone", {"beta": 0.0, "beta_remove": 0.0}, own=True),
    Row("instruct-pix2pix", "instruct-pix2pix", {"steps": 20}, own=True),
    Row("magicbrush", "magicbrush", {"steps": 20}, own=True),
)
BASELINES = (
    "sdedit",
    "diffedit",
    "pix2pix-zero",
    "prompt-to-prompt",
    "plug-and-play",
    "masactrl",
    "ledits-pp",
    "text2live",
)
"""Editors that the papers compare with or build on, which have a plain and a grounded row each. GLIGEN is not among
them: the diorama has no model for it."""
_LEVERS = {
    "steps": 30,
    "step_size": 0.2,
    "penalty": False,
    "source_guidance": 1.5,
    "halo": -1,
    "window_kept": (300, 700),
}
"""Of Ground-A-Score, chosen on validation cases: half the rows of the profile's own values (docs/benchmark.md)."""
_BETTER = (
    Row("auto", "auto", grounded=True),
    Row("auto, found regions", "auto", grounded=True, found=True),
    _grounded("instruct-pix2pix"),
    Row("instruct-pix2pix structure kept", "instruct-pix2pix", {"keep_structure": True}, grounded=True),
    _grounded("magicbrush"),
    _grounded("zone"),
    Row("instruct-pix2pix in turns", "instruct-pix2pix", {"confine": "turns", "steps": 20}, grounded=True),
    _grounded("flow-edit"),
    Row("flow-edit", "flow-edit"),
    Row("ground-a-score, levers", REFERENCE, _LEVERS),
)
"""Editors that make all subtasks in one denoising, or each by another editor; and what they were before, in turns."""
_GROUNDED = tuple(_grounded(name) for name in ("sds", "dds", "cds", *BASELINES)) + _BETTER
GROUPS: Mapping[str, tuple[Row, ...]] = {
    "optimised": _OPTIMISED,
    "instructions": _INSTRUCTIONS,
    "baselines": tuple(row for name in BASELINES for row in (_plain(name), _grounded(name))),
    "better": _BETTER,
    "grounded": _GROUNDED,
}
"""Rows that can be asked for together by one name. A row may be in several."""
ROWS = tuple({row.title: row for rows in GROUPS.values() for row in rows}.values())
_ALWAYS = {row.editor for row in _OPTIMISED}


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
    * resume: go on with what is in `out`; without it a folder that holds results is refused.
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
    _write_picture(out / SHEET, bench.sheet(results))
    return report


def rows_of(profile: Profile, registry: Registry, editors: Sequence[str | Row] = ()) -> list[Row]:
    """The rows of the names `editors`; of none all of ROWS that the profile has what they need for: grounders for found
    regions, a model for an editor by instruction or by sampling. A row that is named twice comes once."""
    titles = {row.title: row for row in ROWS}
    found: list[Row] = []
    for name in editors or [row.title for row in ROWS if _can_run(profile, row)]:
        if isinstance(name, Row):
            found.append(name)
        elif name in GROUPS:
            found += [titles[row.title] for row in GROUPS[name]]
        elif name in titles:
            found.append(titles[name])
        elif name in (known := [spec.name for spec in registry.specs("editors")]):
            found.append(Row(name, name))
        else:
            raise unknown("editor of the benchmark", name, [*titles, *GROUPS, *known])
    return list(dict.fromkeys(found))


def _can_run(profile: Profile, row: Row) -> bool:
    told = profile.options.get(row.editor, {})
    if row.own or row.editor not in _ALWAYS:
        return ("model" in told or "table" in told) and (bool(profile.grounders) or not row.found)
    return bool(profile.grounders) or not row.found


class Entrant:
    """A row as a session of the profile, with the row's editor and options. The editor is made when first asked for."""

    def __init__(self, row: Row, profile: Profile, registry: Registry, runtime: Runtime) -> None:
        self.title, self.name, self.runtime, self.part = row.title, row.editor, runtime, row.part
        self.own, self.found, self.grounded = row.own, row.found, row.grounded
        self.session = _session(row, profile, registry, runtime)
        self.options: Options = self.session.settled(EDITORS.plural, row.editor).options
        model = self.options.named_models().get("model")
        if model is None:  # an editor without a model is compared with the round trip of the profile's
            reference = registry.settle(EDITORS.plural, REFERENCE, {}, [profile.layer(REFERENCE)]).options
            model = reference.named_models()["model"]
        self.model = model
        self.autoencodes = _autoencodes(self.model)
        self.recipe = _recipe(self)

    @property
    def editor(self) -> Editor:
        editor: Editor = self.session.use(EDITORS, self.name)
        return editor

    def cases(self, chosen: Sequence[Case]) -> list[Case]:
        """Those of `chosen` that this row is run on."""
        strata = dict.fromkeys(case.stratum for case in chosen)
        return [case for one in strata for case in [c for c in chosen if c.stratum == one][:: self.part]]

    def job(self, case: Case, source: Picture, seed: int) -> EditJob:
        """The edit to be made, at the picture's own size. ObjectNotFound where regions are to be found and one is
        not."""
        regions, segmenter = case.regions(), None
        if self.own:
            regions, segmenter = (), self.session.segmenter()
        elif self.found:
            regions = self.session.ground(source, case.plan, required=True)
        return EditJob(
            image=source,
            plan=case.plan,
            regions=regions,
            seed=seed,
            options=self.editor.options,
            segmenter=segmenter,
        )


def _session(row: Row, profile: Profile, registry: Registry, runtime: Runtime) -> Session:
    from gas.run.session import Session
    from gas.settings.settings import Settings

    flags = {"profile": profile.name, "editor": row.editor, "options": {row.editor: row.options}}
    return Session(Settings.of(flags, find_profile=lambda _: profile), registry, runtime=runtime)


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
        self.out, self.cases, self.seeds, self.batch = out, chosen, tuple(seeds), batch
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
        known = self._known(resume)
        order = [
            (entrant.title, case.name, seed)
            for entrant in self.entrants
            for seed in self.seeds
            for case in entrant.cases(self.cases)
        ]
        total = len(order)
        for entrant in self.entrants:
            for seed in self.seeds:
                missing = [c for c in entrant.cases(self.cases) if (entrant.title, c.name, seed) not in known]
                together = missing and not entrant.grounded and entrant.editor.batches
                at_once = self.batch if together else 1
                for start in range(0, len(missing), at_once):
                    if self.progress is not None:
                        self.progress(entrant.title, len(known), total)
                    for result, pictures in self._results(entrant, missing[start : start + at_once], seed):
                        self._keep(entrant, result, pictures)
                        known[entrant.title, result.case, seed] = result
        if self.progress is not None:
            self.progress("", total, total)
        return [known[key] for key in order]

    # --- one batch ----------------------------------------------------------------------------------------------------

    def _results(self, entrant: Entrant, some: Sequence[Case], seed: int) -> Iterator[tuple[Result, _Made | None]]:
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
            made = _Made(one.image, _finished(job, one), one.log.get("confined_by") == "turns")
            yield self._judged(entrant, case, job, made, seconds, counted.shared(len(jobs))), made

    def _judged(
        self, entrant: Entrant, case: Case, job: EditJob, made: _Made, seconds: float, counted: Counted
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
        if (kept := _read_picture(self._picture(result, "-finished"))) is not None:
            return kept
        raw = None if entrant.own else _read_picture(self._picture(result))
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

    # --- what is kept -------------------------------------------------------------------------------------------------

    def _known(self, resume: bool) -> dict[tuple[str, str, int], Result]:
        """What `out` holds of this run. A line that was only half written is left out, and the edit made again."""
        path = self.out / RESULTS
        if not path.exists():
            make_folder(self.out)
            return {}
        if not resume:
            raise UsageError(
                f"{path} holds results already",
                Remedy(
                    "resume_bench",
                    "go on with them with {resume}, or name another folder",
                    resume=Setting("resume", True),
                ),
            )
        wanted = {
            (entrant.title, case.name, seed): _fingerprint(entrant.recipe, case)
            for entrant in self.entrants
            for seed in self.seeds
            for case in entrant.cases(self.cases)
        }
        found = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                values = json.loads(line)
            except ValueError:
                continue
            fingerprint = values.pop("fingerprint")
            key = values["row"], values["case"], values["seed"]
            if key not in wanted:
                continue
            if fingerprint != wanted[key]:
                raise UsageError(
                    f"{path}: {key[0]!r} on {key[1]} was run with other weights, options or cases than now",
                    "name another folder: results of different runs are not mixed",
                )
            found[key] = Result.from_json(values)
        return found

    def _keep(self, entrant: Entrant, result: Result, made: _Made | None) -> None:
        if made is not None:
            _write_picture(self._picture(result), made.raw)
            _write_picture(self._picture(result, "-finished"), made.finished)
        case = next(case for case in self.cases if case.name == result.case)
        line = json.dumps({**result.as_json(), "fingerprint": _fingerprint(entrant.recipe, case)})
        with open(self.out / RESULTS, "a+b") as stream:
            if stream.tell() and not _ends_line(stream):
                stream.write(b"\n")  # what an interrupted run left half written stays a line of its own
            stream.write(line.encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _picture(self, result: Result, what: str = "") -> Path:
        return self.out / PICTURES / slug(result.row) / f"{result.case}-s{result.seed}{what}.png"

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
                None if result is None else _read_picture(self._picture(result, end))
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


@dataclass(frozen=True, eq=False)
class _Made:
    """An editor's own output and the finished picture, uint8 (H, W, 3). `composed`: the output has been put into the
    source already, in turns, and is not all from the model."""

    raw: Picture
    finished: Picture
    composed: bool = False


def _finished(job: EditJob, edited: Edited) -> Picture:
    """What `gas edit` would write: the output pasted into the source."""
    from gas.picture.frame import work_frame
    from gas.run.compose import compose

    size = (job.image.shape[1], job.image.shape[0])
    frame = work_frame(size, job.regions, mode="full", resolution=size[0], multiple=1)
    return compose(job.image, frame, job, edited, job.regions, confined=False)[0]


@dataclass
class Counted:
    """How many rows the denoising networks were given, and of editors that use them how many pictures CLIP's vision
    network and a layer generator were (None: they were not used)."""

    rows: float = 0
    clip: float | None = None
    generator: float | None = None

    def shared(self, edits: int) -> Counted:
        """What one of so many edits has of it."""
        clip, generator = (None if one is None else one / edits for one in (self.clip, self.generator))
        return Counted(self.rows / edits, clip, generator)


@contextmanager
def counting_rows() -> Iterator[Counted]:
    """Counts the rows of all calls of UNet2DConditionModel, of CLIP's vision network and of Text2LIVE's LayerGenerator
    inside the block, by a hook, whoever makes them."""
    from diffusers import UNet2DConditionModel
    from torch import Tensor
    from torch.nn.modules.module import register_module_forward_hook

    counted = Counted()

    def count(module: Any, arguments: tuple[Any, ...], named: Mapping[str, Any], _: Any) -> None:
        kind = "rows" if isinstance(module, UNet2DConditionModel) else _COUNTED.get(type(module).__name__)
        if kind is not None:
            given = next(one for one in (*arguments, *named.values()) if isinstance(one, Tensor))
            setattr(counted, kind, (getattr(counted, kind) or 0) + len(given))

    handle = register_module_forward_hook(count, with_kwargs=True)
    try:
        yield counted
    finally:
        handle.remove()


_COUNTED = {"CLIPVisionModel": "clip", "LayerGenerator": "generator"}
"""By the names of their classes, for neither is imported for editors that do without."""


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


def _recipe(entrant: Entrant) -> dict[str, Any]:
    """All that a row's results depend on, apart from cases and seeds."""
    runtime = entrant.runtime
    recipe = {
        "version": VERSION,
        "editor": entrant.name,
        "options": entrant.options.model_dump(mode="json"),
        "weights": _weights(entrant.model),
        "device": runtime.torch_device().type,
        "dtype": str(runtime.torch_dtype()).removeprefix("torch."),
    }
    if entrant.grounded:
        recipe["grounded"] = True
    if helpers := entrant.session.helpers():
        chain = {name: entrant.session.settled(EDITORS.plural, name).options for name in helpers}
        recipe["helpers"] = {name: _with_weights(options) for name, options in chain.items()}
    if second := entrant.options.named_models().get("second_model"):
        recipe["second_weights"] = _weights(second)
    if entrant.own or entrant.found:
        session = entrant.session
        names: Sequence[str] = session.settings.grounders
        if entrant.own:
            names = [name for name in names if session.backend("grounders", name).segments][-1:]
            recipe["regions"] = "own"
        else:
            recipe["grow"] = session.settings.grow
        chain = {name: session.settled("grounders", name).options for name in names}
        recipe["grounders"] = {name: _with_weights(options) for name, options in chain.items()}
    return recipe


def _with_weights(options: Options) -> dict[str, Any]:
    """A grounder's options as plain values, with what tells its model's weights from another's."""
    model = options.named_models().get("model")
    plain = options.model_dump(mode="json")
    return plain if model is None else {**plain, "weights": _weights(model)}


def _weights(model: str) -> str:
    """What tells one model's weights from another's: a hash of local ones, the hub's name and revision of others."""
    from gas.models.manifest import resolve_model

    source = resolve_model(model)
    return _hash_of_weights(Path(source.location)) if source.local else f"{source.location}@{source.revision}"


def _autoencodes(model: str) -> bool:
    """Whether an editor's own output comes through the model's autoencoder; CLIP, which Text2LIVE asks, has none."""
    from gas.diffusion.adapters import find_base
    from gas.models.manifest import resolve_model

    source = resolve_model(model)
    return not source.local or (find_base(Path(source.location))[0] / "vae").is_dir()


def _hash_of_weights(folder: Path) -> str:
    """SHA-256 over all weight files of a model folder, in the order of their names; those of its base first where it
    holds an adapter."""
    from gas.diffusion.adapters import find_base

    base, adapters = find_base(folder)
    digest = hashlib.sha256()
    for path in [*sorted(base.rglob("*.safetensors")), *adapters]:
        digest.update((path.name if path in adapters else path.relative_to(base).as_posix()).encode())
        with open(path, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _fingerprint(recipe: Mapping[str, Any], case: Case) -> str:
    what = json.dumps([recipe, repr(case.scene), repr(case.edits), case.plan.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(what.encode()).hexdigest()


def _ends_line(stream: Any) -> bool:
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) == b"\n"


def _write_picture(path: Path, picture: Picture) -> None:
    from io import BytesIO

    from PIL import Image

    make_folder(path.parent)
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    write_bytes(path, buffer.getvalue(), overwrite=True)


def _read_picture(path: Path) -> Picture | None:
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB")) if path.exists() else None
