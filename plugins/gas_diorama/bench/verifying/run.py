"""The suite `verify`: thresholds from validation, figures from test, and what trying again gains."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field
from rich.console import Group
from rich.table import Table

from gas.files import make_folder, write_text
from gas.interfaces import Options
from gas.run.session import Session
from gas.settings.settings import Settings
from gas.suites import Suite, SuiteJob, SuiteReport
from gas_diorama.bench.verifying.figures import Figures, Share, threshold
from gas_diorama.bench.verifying.measure import Asked, Tried, ask, ask_noise, try_again
from gas_diorama.bench.verifying.samples import ROWS, Samples

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gas.backends.registry import Registry
    from gas.runtime import Runtime

FOLDER = Path("runs/verify")
NAMES = ("combined", "detector", "clip", "pixels")
CALIBRATED = ("detector", "clip")
_COLUMNS = {
    "accepted": "wrong accepted (%)",
    "rejected": "right rejected (%)",
    "precision": "precision (%)",
    "recall": "recall (%)",
    "named": "failure named (%)",
    "unknown": "cannot tell (%)",
}


class VerifyOptions(Options):
    """On how much it is measured."""

    edits: int = Field(40, ge=4, multiple_of=4, description="in the strata of each part, and half as many singles")
    tries: int = Field(3, ge=0, le=10, description="how often what is not done is tried; 0: leave that part out")
    rows: tuple[str, ...] = Field((), description=f"whose results are verified, of {', '.join(r.title for r in ROWS)}")


@dataclass(frozen=True)
class Report(SuiteReport):
    """Figures of each verifier on the test part, the thresholds that validation would choose, and the gain of tries."""

    asked: Mapping[str, Figures]
    by_origin: Mapping[str, Figures]
    subtasks: int
    wrong: int
    seconds: float
    noise: Share
    thresholds: Mapping[str, float | None]
    tried: Sequence[Tried]
    folder: Path

    def as_json(self) -> dict[str, Any]:
        return {
            "suite": "verify",
            "subtasks": self.subtasks,
            "wrong": self.wrong,
            "seconds_per_edit": round(self.seconds, 3),
            "noise_not_done": self.noise.as_json(),
            "thresholds_of_validation": dict(self.thresholds),
            "verifiers": {name: figures.as_json() for name, figures in self.asked.items()},
            "combined_by_origin": {name: figures.as_json() for name, figures in self.by_origin.items()},
            "tries": self._gain(),
        }

    def tables(self) -> RenderableType:
        head = f"{self.subtasks} subtasks, {self.wrong} of them wrong; in brackets the 95 % interval"
        parts: list[RenderableType] = [_table(f"verifiers: {head}", self.asked), ""]
        parts += [_table("combined, by what was verified", self.by_origin), ""]
        parts += [f"noise in the region is not done: {self.noise} %", f"combined takes {self.seconds:.2f} s an edit"]
        shown = ", ".join(f"{name} {value:.2f}" for name, value in self.thresholds.items() if value is not None)
        parts.append(f"thresholds that validation would choose: {shown}")
        if self.tried:
            parts.append(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self._gain().items()))
        return Group(*parts)

    @property
    def notes(self) -> Sequence[str]:
        return (f"figures and pictures are in {self.folder}",)

    def _gain(self) -> dict[str, Any]:
        tried = self.tried
        if not tried:
            return {}
        first = sum(one.first_rows for one in tried)
        return {
            "edits": len(tried),
            "all_right_before": round(sum(one.all_right for one in tried) / len(tried), 3),
            "all_right_after": round(sum(one.all_right_after for one in tried) / len(tried), 3),
            "right_before": round(sum(one.right for one in tried) / sum(one.subtasks for one in tried), 3),
            "right_after": round(sum(one.right_after for one in tried) / sum(one.subtasks for one in tried), 3),
            "attempts": sum(one.attempts for one in tried),
            "rows": round((first + sum(one.more_rows for one in tried)) / first, 3) if first else None,
            "accepted_regions_changed": sum(one.changed for one in tried),
        }


class VerifySuite(Suite[VerifyOptions]):
    """Verifiers against the exact judge, for *right*."""

    options_type = VerifyOptions

    def run(self, job: SuiteJob) -> SuiteReport:
        """The report; results of editors, kept for the next run, and `verify.json` are in the folder `job.out`."""
        options, folder = self.options, job.out or FOLDER
        rows = [row for row in ROWS if not options.rows or row.title in options.rows]
        parts = {
            part: Samples(
                part,
                options.edits,
                folder / part,
                registry=job.registry,
                runtime=self.runtime,
                progress=job.progress,
                rows=rows,
            )
            for part in ("validation", "test")
        }
        sessions = {name: _session(job.registry, self.runtime, verifier=name) for name in NAMES}
        told = ask({name: sessions[name] for name in CALIBRATED}, parts["validation"])
        asked = ask(sessions, parts["test"])
        refused, count = ask_noise(sessions["combined"], parts["test"].cases[:30], parts["test"])
        tried: list[Tried] = []
        if options.tries > 1:
            session = _session(job.registry, self.runtime, tries=options.tries)
            first = (one for one in parts["test"].edited() if one.origin == session.settings.editor)
            tried = try_again(session, first, parts["test"])
        combined = next(one for one in asked if one.name == "combined")
        origins = list(dict.fromkeys(one.origin for one in combined.found))
        report = Report(
            asked={one.name: Figures.of(one.found) for one in asked},
            by_origin={name: Figures.of(x for x in combined.found if x.origin == name) for name in origins},
            subtasks=len(combined.found),
            wrong=sum(not one.right for one in combined.found),
            seconds=sum(combined.seconds) / len(combined.seconds),
            noise=Share(refused, count),
            thresholds=_thresholds(told),
            tried=tried,
            folder=folder,
        )
        make_folder(folder)
        write_text(folder / "verify.json", json.dumps(report.as_json(), indent=2) + "\n", overwrite=True)
        return report


def _session(registry: Registry, runtime: Runtime, **flags: Any) -> Session:
    profile = registry.profile("diorama")
    told = {"profile": profile.name, "editor": "ground-a-score", "verify": True, **flags}
    return Session(Settings.of(told, find_profile=lambda _: profile), registry, runtime=runtime)


def _thresholds(told: Sequence[Asked]) -> dict[str, float | None]:
    """The least score of each verifier, and of removals the largest score of what is to be gone."""
    out: dict[str, float | None] = {}
    for one in told:
        out[f"{one.name}.target"] = threshold([x for x in one.found if not x.removal])
        if one.name == "detector":
            cut = threshold([x for x in one.found if x.removal])
            out["detector.gone"] = None if cut is None else 1 - cut
    return {name: None if value is None else round(value, 3) for name, value in out.items()}


def _table(title: str, rows: Mapping[str, Figures]) -> Table:
    table = Table("", *_COLUMNS.values(), title=title, title_justify="left")
    for name, figures in rows.items():
        table.add_row(name, *(str(getattr(figures, column)) for column in _COLUMNS))
    return table
