"""Edits that are verified: what editors made, and spoilt results, each with the exact judge's verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gas_diorama.bench.bench import run
from gas_diorama.bench.follow import where_added
from gas_diorama.bench.judge import Judge
from gas_diorama.bench.kept import PICTURES
from gas_diorama.bench.rows import Row
from gas_diorama.bench.verdict import Verdict
from gas_diorama.bench.verifying.spoilt import spoilt
from gas_diorama.world.cases import Case, benchmark_cases

if TYPE_CHECKING:
    from gas.backends.registry import Registry
    from gas.runtime import Runtime
    from gas.suites import Progress

Picture = NDArray[np.uint8]
SPOILT = "spoilt results"
VARIANTS = 2
"""How many spoilt results there are of each case."""
ROWS = (
    Row("ground-a-score", "ground-a-score"),
    Row("instruct-pix2pix, 6 steps", "instruct-pix2pix", {"steps": 6}, grounded=True),
    Row("instruct-pix2pix, weak", "instruct-pix2pix", {"steps": 6, "guidance_scale": 0.5}, grounded=True),
)
"""Editors that keep a thing's place, which is where the judge expects it; the last one is too weak on purpose."""


@dataclass(frozen=True)
class Sample:
    """A finished picture, who made it, and what the judge says of each subtask."""

    origin: str
    case: Case
    source: Picture
    picture: Picture
    verdicts: tuple[Verdict, ...]
    rows: float | None = None


class Samples:
    """The samples of one part ("validation" or "test"): so many `edits` in the strata and half as many singles, by the
    editors of `rows`. Results of editors are kept in `folder` and made once."""

    def __init__(
        self,
        part: str,
        edits: int,
        folder: Path,
        *,
        registry: Registry,
        runtime: Runtime,
        progress: Progress | None = None,
        rows: Sequence[Row] = ROWS,
    ) -> None:
        self.cases = benchmark_cases(edits, part)
        self.folder, self.registry, self.runtime, self.progress, self.rows = folder, registry, runtime, progress, rows
        self.judges: dict[str, Judge] = {}

    def __iter__(self) -> Iterator[Sample]:
        yield from self.edited()
        yield from self.spoilt()

    def edited(self) -> Iterator[Sample]:
        """What the editors made; an edit that one gave up has no picture and is left out."""
        from gas.files import slug

        report = run(
            self.rows,
            out=self.folder,
            resume=True,
            chosen=self.cases,
            seeds=(0,),
            runtime=self.runtime,
            registry=self.registry,
            progress=self.progress,
        )
        by_name = {case.name: case for case in self.cases}
        for result in report.results:
            path = self.folder / PICTURES / slug(result.row) / f"{result.case}-s{result.seed}-finished.png"
            if result.seconds is not None and path.is_file():
                yield self.sample(result.row, by_name[result.case], _read(path), result.network_rows)

    def spoilt(self) -> Iterator[Sample]:
        from gas.diffusion.load import load_backbone

        model = self.registry.profile("diorama").options["ground-a-score"]["model"]
        backbone = load_backbone(model, self.runtime)
        for variant in range(VARIANTS):
            for case in self.cases:
                picture = spoilt(case, lambda one: backbone.decode(backbone.encode(one)), variant)
                yield self.sample(SPOILT, case, picture)

    def sample(self, origin: str, case: Case, picture: Picture, rows: float | None = None) -> Sample:
        """The picture with the judge's verdicts. An added thing is judged where the picture has it: like the verifier,
        nobody is told the exact place."""
        if case.name not in self.judges:
            self.judges[case.name] = Judge(case.scene, case.edits)
        judge = self.judges[case.name]
        verdicts = judge.verdicts(picture)
        missed = [edit.action == "add" and not one.right for edit, one in zip(case.edits, verdicts, strict=True)]
        if any(missed):
            placed = Judge(case.scene, where_added(case.scene, case.edits, picture)).verdicts(picture)
            verdicts = [
                other if look and other.right else one
                for look, one, other in zip(missed, verdicts, placed, strict=True)
            ]
        return Sample(origin, case, judge.source, picture, tuple(verdicts), rows)


def _read(path: Path) -> Picture:
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))
