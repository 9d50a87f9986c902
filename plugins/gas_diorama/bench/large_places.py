"""`gas bench tiles`: grounds and skies of scenes drawn large, changed at the model's resolution and then given detail
of their own size, against exact results: how sharp they are, and how near to what should be there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gas.errors import InputRefused, ResultRefused
from gas.files import make_folder, refuse_existing, slug, write_text
from gas.masks import mask_box
from gas.picture.detail import sharpness
from gas.suites import Progress, SuiteReport
from gas.types import Region
from gas_diorama.world.cases import plan_of
from gas_diorama.world.large import LargeCase, large_cases
from gas_diorama.world.scene import GROUNDS, SKIES, Edit
from gas_diorama.world.world import apply, regions, render

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gas.backends.registry import Registry
    from gas.run.session import Session
    from gas.runtime import Runtime
    from gas.types import EditPlan

Picture = NDArray[np.uint8]
SUMMARY, PICTURES = "tiles.json", "pictures"
PARTS = ("ground", "sky")
EDGE = 8
"""Pixels at a region's border that count for neither side: an edge is no texture."""
FAR = 48
"""Levels of 255 from the exact result from which a pixel shows something else."""


@dataclass(frozen=True)
class Sharpness:
    """Mean gradients (`gas.picture.detail.sharpness`) in the photograph's place and around it, in the exact result, and
    in the edit without and with detail."""

    photograph: float
    around: float
    exact: float
    without: float
    detailed: float


@dataclass(frozen=True)
class Tried:
    """One edit: None for all figures of one that was refused.

    * error: mean distance from the exact result in the place, in levels, without and with detail; far: the share of its
      pixels that show something else;
    * outside: the largest change outside the region by the detail;
    * seconds and rows of the detail alone.
    """

    case: str
    part: str
    source: str
    target: str
    sharp: Sharpness | None = None
    error: tuple[float, float] | None = None
    far: tuple[float, float] | None = None
    outside: int = 0
    seconds: float = 0.0
    rows: int = 0
    tiles: int = 0


@dataclass(frozen=True)
class Report(SuiteReport):
    """All edits of a run, and the folder where its figures and pictures are."""

    tried: tuple[Tried, ...]
    folder: Path
    setting: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values: what was run, and every edit."""
        return {"suite": "tiles", **self.setting, "edits": [asdict(one) for one in self.tried]}

    def tables(self) -> RenderableType:
        """Means over the grounds and over the skies."""
        from rich.table import Table

        headings = (
            "edits",
            "photograph",
            "exact",
            "without",
            "with",
            "error",
            "far (%)",
            "outside",
            "tiles",
            "rows",
            "s",
        )
        table = Table(title="sharpness of large places (mean gradient)", title_justify="left", box=None, pad_edge=False)
        table.add_column("part")
        for heading in headings:
            table.add_column(heading, justify="right")
        for part in PARTS:
            table.add_row(part, *_cells([one for one in self.tried if one.part == part]))
        return table

    @property
    def notes(self) -> Sequence[str]:
        refused = sum(one.sharp is None for one in self.tried)
        said = (f"figures and pictures are in {self.folder}",)
        return (f"{refused} of {len(self.tried)} edits were refused and count for nothing", *said) if refused else said


def run(
    editor: str,
    *,
    out: Path,
    scenes: int,
    profile: str,
    detail: str = "tiles",
    part: str = "test",
    runtime: Runtime | None = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Report:
    """The report; figures and pictures are written into `out` too.

    The ground and the sky of each of the first so many large scenes are changed by `editor` with exact plans and
    regions by the whole pipeline, `gas edit --grounded`, with `--detail off` and with `--detail` as said. OutputExists
    (exit 2) where `out` holds figures already.
    """
    refuse_existing([out / SUMMARY])
    make_folder(out / PICTURES)
    off, on = (_session(editor, profile, which, registry, runtime) for which in ("off", detail))
    cases = [(case, edit) for number, case in enumerate(large_cases(scenes, part)) for edit in _edits(case, number)]
    tried: list[Tried] = []
    for case, edit in cases:
        if progress is not None:
            progress(f"{case.name}, {edit.part}", len(tried), len(cases))
        one, pictures = _try(off, on, case, edit)
        tried.append(one)
        if pictures:
            _write_strip(out / PICTURES / f"{case.name}-{slug(edit.part)}.png", pictures)
    if progress is not None:
        progress("", len(cases), len(cases))
    report = Report(tuple(tried), out, {"editor": editor, "scenes": scenes, "profile": profile, "detail": detail})
    write_text(out / SUMMARY, json.dumps(report.as_json(), indent=2) + "\n")
    return report


def _edits(case: LargeCase, number: int) -> Iterator[Edit]:
    """A change of the scene's ground and one of its sky, each to the others in turn."""
    for part, known in zip(PARTS, (GROUNDS, SKIES), strict=True):
        now = str(getattr(case.scene, part))
        others = [name for name in known if name != now]
        yield Edit("change", part, now, others[number % len(others)])


def _try(off: Session, on: Session, case: LargeCase, edit: Edit) -> tuple[Tried, list[tuple[str, Picture]]]:
    plan: EditPlan = plan_of(case.scene, (edit,))
    (mask,) = regions(case.scene, (edit,), case.view)
    region = Region(plan.subtasks[0].region_phrase, mask_box(mask), mask, subtask=0, given=True)
    source, exact = (render(scene, case.view) for scene in (case.scene, apply(case.scene, (edit,))))
    found = Tried(case.name, edit.part, str(edit.source), str(edit.target))
    try:
        began = time.perf_counter()
        without = off.edit(source, plan, [region], seed=0)
        between = time.perf_counter()
        made = on.edit(source, plan, [region], seed=0)
        seconds = time.perf_counter() - between - (between - began)
    except (InputRefused, ResultRefused):
        return found, []
    inside, around = (ndimage.binary_erosion(one, iterations=EDGE) for one in (mask > 0, mask == 0))
    pictures = (without.image, made.image)
    distance = [np.abs(one.astype(np.int16) - exact).max(axis=2)[inside] for one in pictures]
    change = np.abs(made.image.astype(np.int16) - without.image).max(axis=2)
    sharp = Sharpness(
        sharpness(source, inside),
        sharpness(source, around),
        *(sharpness(one, inside) for one in (exact, *pictures)),
    )
    found = replace(
        found,
        sharp=sharp,
        error=(float(distance[0].mean()), float(distance[1].mean())),
        far=(float((distance[0] > FAR).mean()), float((distance[1] > FAR).mean())),
        outside=int(change[mask == 0].max(initial=0)),
        seconds=round(seconds, 2),
        rows=int(made.log.get("detail", {}).get("evaluations", 0)),
        tiles=made.detailed[0].tiles if made.detailed else 0,
    )
    named = zip(("source", "without detail", "with detail", "exact"), (source, *pictures, exact), strict=True)
    return found, list(named)


def _session(editor: str, profile: str, detail: str, registry: Registry | None, runtime: Runtime | None) -> Session:
    from gas.backends.registry import Registry
    from gas.run.session import Session
    from gas.settings.settings import Settings

    registry = registry or Registry.discover()
    flags = {"profile": profile, "editor": editor, "grounded": True, "detail": detail}
    return Session(Settings.of(flags, find_profile=registry.profile), registry, runtime=runtime)


def _cells(some: Sequence[Tried]) -> list[str]:
    """The means of what was not refused, as a row's cells; without and with detail as "a to b"."""
    sharp = [one.sharp for one in some if one.sharp is not None]
    if not sharp:
        return ["0", *["-"] * 10]
    made = [one for one in some if one.sharp is not None]

    def mean(values: Iterator[float]) -> float:
        return float(np.mean(list(values)))

    error = [mean(one.error[at] for one in made if one.error) for at in (0, 1)]
    far = [100 * mean(one.far[at] for one in made if one.far) for at in (0, 1)]
    return [
        str(len(sharp)),
        *(
            f"{mean(getattr(one, name) for one in sharp):.2f}"
            for name in ("photograph", "exact", "without", "detailed")
        ),
        f"{error[0]:.1f} to {error[1]:.1f}",
        f"{far[0]:.1f} to {far[1]:.1f}",
        str(max(one.outside for one in made)),
        *(f"{mean(getattr(one, name) for one in made):.0f}" for name in ("tiles", "rows", "seconds")),
    ]


def _write_strip(path: Path, pictures: Sequence[tuple[str, Picture]]) -> None:
    from gas.picture.overlay import strip
    from gas.run.output import write_picture

    write_picture(path, strip(pictures), overwrite=True)
