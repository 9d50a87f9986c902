"""The suites of `gas bench`: their options, and what they write where. What they measure is imported when they run."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field

from gas.interfaces import Options
from gas.suites import Suite, SuiteJob, SuiteReport

FOLDER = Path("runs/bench")
"""Where the diorama's results are kept when nobody says otherwise."""
DETAIL_FOLDER = Path("runs/detail")
"""The same for large scenes."""
TILES_FOLDER = Path("runs/tiles")
"""The same for large places."""


class DioramaOptions(Options):
    """What is run, and on how much."""

    editors: tuple[str, ...] = Field((), description="rows of the table, or groups of them, with commas; empty: all")
    edits: int | None = Field(None, ge=4, description="in the strata, and half as many singles; none: 40")
    seeds: int | None = Field(None, ge=1, le=1000, description="how many for each edit: 0, 1, ...; none: 1, full: 3")
    full: bool = Field(False, description="100 edits and three seeds instead of 40 and one")
    resume: bool = Field(False, description="continue what is in the output folder")
    profile: str = Field("diorama", description="whose model and options are measured")


class DioramaSuite(Suite[DioramaOptions]):
    """Every editor on the same held-out scenes, plans, regions and seeds, against exact results."""

    options_type = DioramaOptions

    def run(self, job: SuiteJob) -> SuiteReport:
        """The report; results, table and pictures are in the folder `job.out`. Errors as `bench.run`."""
        from gas_diorama.bench.bench import run
        from gas_diorama.world.cases import benchmark_cases

        options = self.options
        return run(
            options.editors,
            out=job.out or FOLDER,
            full=options.full,
            seeds=None if options.seeds is None else range(options.seeds),
            chosen=None if options.edits is None else benchmark_cases(options.edits),
            resume=options.resume,
            profile=options.profile,
            runtime=self.runtime,
            registry=job.registry,
            progress=job.progress,
        )


class DetailOptions(Options):
    """Who edits, and how many scenes."""

    editors: tuple[str, ...] = Field(("auto", "instruct-pix2pix"), description="names of editors, with commas")
    scenes: int = Field(36, ge=1, le=1000, description="how many, of 512 to 1024 pixels")
    ground: bool = Field(False, description="change the ground too, whose working picture lies under the things'")
    profile: str = Field("diorama", description="whose model and options are measured")


class DetailSuite(Suite[DetailOptions]):
    """Scenes drawn large, edited in one crop and in a working picture for each place, against exact results."""

    options_type = DetailOptions

    def run(self, job: SuiteJob) -> SuiteReport:
        """The report; figures and pictures are in the folder `job.out`. Errors as `detail.run`."""
        from gas_diorama.bench.detail import run

        options = self.options
        return run(
            options.editors,
            out=job.out or DETAIL_FOLDER,
            scenes=options.scenes,
            profile=options.profile,
            ground=options.ground,
            runtime=self.runtime,
            registry=job.registry,
            progress=job.progress,
        )


class TilesOptions(Options):
    """Who edits, and how many scenes."""

    editor: str = Field("auto", description="who edits at the model's resolution")
    detail: str = Field("tiles", description="who draws finer")
    scenes: int = Field(6, ge=1, le=1000, description="how many, of 512 to 1024 pixels; two edits each")
    profile: str = Field("diorama", description="whose model and options are measured")


class TilesSuite(Suite[TilesOptions]):
    """Grounds and skies of scenes drawn large, without and with detail of their own size, against exact results."""

    options_type = TilesOptions

    def run(self, job: SuiteJob) -> SuiteReport:
        """The report; figures and pictures are in the folder `job.out`. Errors as `large_places.run`."""
        from gas_diorama.bench.large_places import run

        options = self.options
        return run(
            options.editor,
            out=job.out or TILES_FOLDER,
            scenes=options.scenes,
            profile=options.profile,
            detail=options.detail,
            runtime=self.runtime,
            registry=job.registry,
            progress=job.progress,
        )


class SpeedOptions(Options):
    """What is measured, and how carefully."""

    parts: tuple[str, ...] = Field((), description="demo, diorama, grounders, sd15, backbones, with commas; empty: all")
    repeat: int = Field(3, ge=1, description="how often each pair is timed")


class SpeedSuite(Suite[SpeedOptions]):
    """What an edit costs, and how much the presets save."""

    options_type = SpeedOptions

    def run(self, job: SuiteJob) -> SuiteReport:
        """The report; its figures are also written to the file `job.out`, if there is one. OutputExists (exit 2)."""
        from gas import files
        from gas_diorama.bench.speed import PARTS, run

        if job.out is not None:
            files.refuse_existing([job.out])
        report = run(
            self.options.parts or PARTS,
            repeats=self.options.repeat,
            registry=job.registry,
            runtime=self.runtime,
            progress=lambda what: job.progress(what, 0, 0),
        )
        if job.out is not None:
            files.write_text(job.out, json.dumps(report.as_json(), indent=2) + "\n")
        return report


class MatrixOptions(Options):
    """Which rows and columns."""

    editors: tuple[str, ...] = Field((), description="with commas; empty: all with a model of diffusers")
    families: tuple[str, ...] = Field((), description="of models, with commas; empty: all")


class MatrixSuite(Suite[MatrixOptions]):
    """Editors on tiny models of every family."""

    options_type = MatrixOptions

    def run(self, job: SuiteJob) -> SuiteReport:
        """The table, also written to the file `job.out`, if there is one. OutputExists (exit 2); others as
        `matrix.run`."""
        from gas import files
        from gas_diorama.bench.matrix import run

        if job.out is not None:
            files.refuse_existing([job.out])
        report = run(job.registry, self.runtime, self.options.editors, self.options.families, job.progress)
        if job.out is not None:
            files.write_text(job.out, json.dumps(report.as_json(), indent=2) + "\n")
        return report
