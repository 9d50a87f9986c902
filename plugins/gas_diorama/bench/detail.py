"""`gas bench detail`: scenes drawn large, edited in one crop around all things and in a working picture for each,
against exact results."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gas.backends.roles import EDITORS
from gas.errors import InputRefused, ResultRefused
from gas.files import make_folder, refuse_existing, slug, write_text
from gas.suites import Progress, SuiteReport
from gas_diorama.bench.counting import counting_rows
from gas_diorama.bench.judge import Judge
from gas_diorama.bench.scores import ALL, Estimate, Result, difference, estimate
from gas_diorama.bench.seams import Seam, seam
from gas_diorama.world.large import LargeCase, large_cases
from gas_diorama.world.world import apply, render

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from gas.backends.registry import Registry
    from gas.run.session import Session
    from gas.runtime import Runtime
    from gas.types import WorkMode

Picture = NDArray[np.uint8]
Judged: TypeAlias = tuple[Judge, tuple[slice, slice]]
WORK: Mapping[WorkMode, str] = {"crop": "one crop", "frames": "frames"}
_COLUMNS = ("subtasks_right", "subtasks_done", "all_done", "ratio", "seconds", "network_rows")
SUMMARY, PICTURES = "detail.json", "pictures"


@dataclass(frozen=True)
class Tried:
    """One edit made one way: the judge's verdicts, how fine the coarsest of its places was worked on (pixels of the
    picture for each that the model saw), the seam, and the largest change outside the regions, in levels of 255. What
    was refused has no seam."""

    result: Result
    work: str
    coarse: float | None = None
    seam: Seam | None = None
    outside: int = 0


@dataclass(frozen=True)
class Report(SuiteReport):
    """All edits of a run, and the folder where its figures and pictures are."""

    tried: tuple[Tried, ...]
    folder: Path
    setting: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values: what was run, the figures of each row for all scenes and those of a size, and every edit."""
        rows = {group: [asdict(row) for row in self._rows(group)] for group in self._groups()}
        return {"suite": "detail", **self.setting, "rows": rows, "edits": [asdict(one) for one in self.tried]}

    def tables(self) -> RenderableType:
        """What was done, what it cost and whether it shows, over all scenes; what was done in those of each size."""
        from rich.console import Group

        groups = {group: self._rows(group) for group in self._groups()}
        return Group(_done_table(groups[ALL]), "", _cost_table(groups.pop(ALL)), "", _size_table(groups))

    @property
    def notes(self) -> Sequence[str]:
        return (f"figures and pictures are in {self.folder}",)

    def _groups(self) -> list[str]:
        return [ALL, *dict.fromkeys(one.result.stratum for one in self.tried)]

    def _rows(self, group: str) -> list[Row]:
        own = [one for one in self.tried if group in (ALL, one.result.stratum)]
        rows = []
        for editor in dict.fromkeys(one.result.row for one in own):
            theirs = [one for one in own if one.result.row == editor]
            crop = [one.result for one in theirs if one.work == "crop"]
            for work in WORK:
                some = [one for one in theirs if one.work == work]
                rows.append(_row(editor, work, some, crop if work != "crop" else []))
        return rows


@dataclass(frozen=True)
class Row:
    """A line of a table. `more` is the share of subtasks done minus that with one crop."""

    editor: str
    work: str
    scenes: int
    values: Mapping[str, Estimate | None]
    more: Estimate | None
    coarse: float | None
    seam: Seam | None
    outside: int


def run(
    editors: Sequence[str],
    *,
    out: Path,
    scenes: int,
    profile: str,
    ground: bool = False,
    runtime: Runtime | None = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Report:
    """The report; figures and pictures are written into `out` too.

    Each of `editors` edits the first so many large scenes with exact plans and exact regions, each subtask confined to
    its own, by the whole pipeline: `gas edit --grounded --work crop` and `--work frames`. With `ground` the ground is
    changed too, and the things' working pictures lie on top of its own; judged are the things. OutputExists (exit 2)
    where `out` holds figures already.
    """
    refuse_existing([out / SUMMARY])
    make_folder(out / PICTURES)
    cases = large_cases(scenes, ground=ground)
    sessions = [_session(editor, profile, registry, runtime) for editor in editors]
    total = len(sessions) * len(WORK) * len(cases)
    tried: list[Tried] = []
    for case in cases:
        source, exact = (render(scene, case.view) for scene in (case.scene, apply(case.scene, case.edits)))
        judges = _judges(case)
        for session in sessions:
            editor = session.settings.editor
            pictures = [("source", source)]
            for work in WORK:
                if progress is not None:
                    progress(f"{editor}, {WORK[work]}", len(tried), total)
                one, picture = _try(session, case, work, source, judges)
                tried.append(one)
                pictures.append((f"{WORK[work]}: {sum(one.result.done)} of {len(judges)} done", picture))
            pictures.append(("exact", exact))
            _write_strip(out / PICTURES / f"{slug(editor)}-{case.name}.png", pictures)
    if progress is not None:
        progress("", total, total)
    setting = {"editors": list(editors), "scenes": [case.name for case in cases], "profile": profile, "ground": ground}
    report = Report(tuple(tried), out, setting)
    write_text(out / SUMMARY, json.dumps(report.as_json(), indent=2) + "\n")
    return report


def _session(editor: str, profile: str, registry: Registry | None, runtime: Runtime | None) -> Session:
    from gas.backends.registry import Registry
    from gas.run.session import Session
    from gas.settings.settings import Settings

    registry = registry or Registry.discover()
    flags = {"profile": profile, "editor": editor, "grounded": True}
    session = Session(Settings.of(flags, find_profile=registry.profile), registry, runtime=runtime)
    session.use(EDITORS, editor).resolution()  # its model is loaded before the first edit is timed
    return session


def _judges(case: LargeCase) -> list[Judged]:
    """For each subtask of a thing its judge, and what it is shown of a picture of the whole view. Where the ground
    changes too, things are held against the ground as it is to be."""
    found, grounds = [], [edit for edit in case.edits if edit.part == "ground"]
    for index, edit in enumerate(case.edits):
        if edit.part != "thing":
            continue
        alone, around = case.around(index)
        found.append((Judge(apply(alone, grounds), [edit], around), around.of(case.view)))
    return found


def _try(
    session: Session, case: LargeCase, work: WorkMode, source: Picture, judges: Sequence[Judged]
) -> tuple[Tried, Picture]:
    """One edit, judged place by place on the finished picture; what is refused leaves the source."""
    regions = case.regions()
    editor = session.settings.editor
    try:
        with counting_rows() as counted:
            started = time.perf_counter()
            made = session.edit(source, case.plan, regions, seed=0, work=work)
            seconds = round(time.perf_counter() - started, 3)
    except (InputRefused, ResultRefused):
        return Tried(_result(editor, case, source, judges, None, None), work), source
    beyond = np.logical_and.reduce([region.mask == 0 for region in regions])
    change = np.abs(made.image.astype(np.int16) - source)[beyond]
    result = _result(editor, case, made.image, judges, seconds, counted.shared(1).rows)
    coarse = round(max(1 / min(place.frame.scale) for place in made.places), 3)
    return Tried(result, work, coarse, seam(source, made.image, made.mask), int(change.max(initial=0))), made.image


def _result(
    editor: str,
    case: LargeCase,
    picture: Picture,
    judges: Sequence[Judged],
    seconds: float | None,
    rows: float | None,
) -> Result:
    verdicts = [judge.verdicts(picture[here])[0] for judge, here in judges]
    refused = seconds is None
    return Result(
        row=editor,
        case=case.name,
        stratum=f"{case.view.width}x{case.view.height}",
        seed=0,
        actions=tuple(edit.action for edit in case.edits if edit.part == "thing"),
        done=tuple(verdict.done for verdict in verdicts),
        nearest=tuple(verdict.nearest for verdict in verdicts),
        ratio=tuple(round(verdict.ratio, 4) for verdict in verdicts),
        right=tuple(verdict.right for verdict in verdicts),
        miss=tuple("refused" if refused else verdict.miss or "" for verdict in verdicts),
        raw_outside=None,
        pasted_outside=None,
        seconds=seconds,
        network_rows=rows,
    )


def _row(editor: str, work: WorkMode, some: Sequence[Tried], crop: Sequence[Result]) -> Row:
    results = [one.result for one in some]
    seams = [one.seam for one in some if one.seam is not None]
    worst = max(seams, key=lambda one: one.step - one.before, default=None)
    rise = None if worst is None else Seam(worst.step, worst.before, float(np.mean([one.rise for one in seams])))
    coarse = [one.coarse for one in some if one.coarse is not None]
    return Row(
        editor,
        WORK[work],
        len(some),
        {column: estimate(results, column) for column in _COLUMNS},
        difference(results, crop, "subtasks_done") if crop else None,
        float(np.mean(coarse)) if coarse else None,
        rise,
        max((one.outside for one in some), default=0),
    )


def _done_table(rows: Sequence[Row]) -> RenderableType:
    headings = ("right (%)", "done (%)", "all done (%)", "done, minus one crop")
    table = _table("large scenes: subtasks", headings)
    for row in rows:
        values = [_mean(row.values["subtasks_right"], 0), _shown(row.values["subtasks_done"])]
        values.append(_mean(row.values["all_done"], 0))
        table.add_row(row.editor, row.work, *values, "" if row.more is None else _shown(row.more, sign="+"))
    return table


def _cost_table(rows: Sequence[Row]) -> RenderableType:
    headings = ("ratio", "fine", "seconds", "rows", "outside", "worst step", "mean rise")
    table = _table("means; changes outside the regions and steps at the borders in levels", headings)
    for row in rows:
        values = [_mean(row.values["ratio"], 2), "-" if row.coarse is None else f"1:{row.coarse:.1f}"]
        values += [_mean(row.values["seconds"], 1), _mean(row.values["network_rows"], 0), str(row.outside)]
        step = row.seam
        values += ["-", "-"] if step is None else [f"{step.before:.0f} to {step.step:.0f}", f"{step.rise:+.1f}"]
        table.add_row(row.editor, row.work, *values)
    return table


def _size_table(groups: Mapping[str, Sequence[Row]]) -> RenderableType:
    table = _table("subtasks done (%), by the picture's size", tuple(groups))
    for same in zip(*groups.values(), strict=True):
        table.add_row(same[0].editor, same[0].work, *(_mean(row.values["subtasks_done"], 0) for row in same))
    return table


def _table(title: str, headings: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("editor", "worked on"):
        table.add_column(heading)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _mean(found: Estimate | None, digits: int) -> str:
    return "-" if found is None else f"{found.mean:.{digits}f}"


def _shown(found: Estimate | None, sign: str = "") -> str:
    return "-" if found is None else f"{found.mean:{sign}.0f} [{found.low:{sign}.0f}, {found.high:{sign}.0f}]"


def _write_strip(path: Path, pictures: Sequence[tuple[str, Picture]]) -> None:
    from gas.picture.overlay import strip
    from gas.run.output import write_picture

    write_picture(path, strip(pictures), overwrite=True)
