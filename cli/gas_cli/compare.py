"""`gas compare`: several editors on the same plan, regions and seed, in one picture."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas import files
from gas.backends.roles import EDITORS
from gas.errors import GasError, Interrupted, UsageError
from gas.interfaces import Watch
from gas.picture import overlay
from gas.picture import photo as photos
from gas.picture.blend import outside_difference
from gas.run.job import PhotoJob, prepare
from gas.run.output import check_picture, write_picture
from gas.run.reuse.told import edits_anew
from gas_cli import flags as f
from gas_cli.output import people, print_error, print_json, print_text, warn
from gas_cli.progress import Stop, stages, step_bar, stoppable

if TYPE_CHECKING:
    from rich.console import Console

    from gas.run.result import EditResult
    from gas.run.session import Session
    from gas.types import Image

LEAST_TILE = 256
"""Least side of a picture on the sheet, in pixels: smaller ones are enlarged by whole factors."""
USUAL_TILE, HIGHEST_TILE = 512, 2048
"""Height of larger pictures on the sheet, in pixels, and of those that are so much higher than wide."""


@dataclass(frozen=True)
class Entry:
    """What one editor did: its result after `seconds`, or the error that it ended with."""

    editor: str
    grounded: bool
    result: EditResult | None = None
    seconds: float = 0.0
    outside_max: float = 0.0
    error: GasError | None = None

    def figures(self) -> dict[str, Any]:
        """Its row of `--json`."""
        row: dict[str, Any] = {"editor": self.editor, "grounded": self.grounded}
        if self.result is None:
            return {**row, "error": self.error.message if self.error else ""}
        return {**row, "seconds": self.seconds, "outside_max": self.outside_max, "stopped": self.result.stopped}

    def said(self) -> str:
        """Its line on standard output."""
        if self.result is None:
            return self.error.message if self.error else ""
        return f"{self.seconds:.1f} s, outside the regions at most {self.outside_max:g} of 255"


def compare(
    picture: Path,
    instructions: Sequence[str],
    *,
    editors: Sequence[str],
    out: Path | None,
    options: Sequence[f.Option],
    flags: Mapping[str, Any],
    plan: Path | None,
    words: f.Words,
    drawn: f.Drawn,
    work: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Writes one picture of the input and each editor's result. One editor that fails leaves a gap and is named."""
    console = people()
    read = photos.read(picture)
    warn(console, read.warnings)
    out = out or files.name_beside(picture, ".png", tag="compared")
    check_picture(out, overwrite=overwrite)
    files.refuse_same([out], [path for path in (picture, plan) if path is not None])
    sessions = _sessions(editors, flags, options, read.pixels)
    asked = f.request_or_plan(plan, instructions, words)
    given = f.given_regions(read.size, drawn, lambda text: warn(console, [text]))
    with stages(console, show=not as_json) as shown:
        job = prepare(
            sessions[editors[0]],
            read,
            asked,
            given,
            work=f.work_mode(work),
            required=any(_needs_regions(session) for session in sessions.values()),
            on_stage=shown.begin,
            watch=Watch(on_step=shown.step),
        )
    warn(console, job.plan.warnings)
    with stoppable(console) as stop, edits_anew():  # their seconds are shown
        entries = list(_entries(console, job, sessions, stop, show=not as_json))
    failed = next((entry.error for entry in entries if entry.error is not None), None)
    panels = [(_caption(entry), entry.result.image) for entry in entries if entry.result is not None]
    if not panels and failed is not None:
        raise failed
    write_picture(out, sheet([("input", read.pixels), *panels]), overwrite=overwrite)
    console.print(f"wrote {out}, seed {job.seed}", markup=False, soft_wrap=True)
    if as_json:
        rows = [entry.figures() for entry in entries if not isinstance(entry.error, Interrupted)]
        print_json("compare", {"output": str(out), "seed": job.seed, "editors": rows})
    else:
        for entry in entries:
            print_text(f"{entry.editor}: {entry.said()}")
    if failed is not None:
        raise failed


def _sessions(
    editors: Sequence[str], flags: Mapping[str, Any], options: Sequence[f.Option], image: Image
) -> dict[str, Session]:
    """A session for each entrant, all with one copy of every network."""
    if not editors:
        raise UsageError("no editor is named", "give --editors dds,cds,ground-a-score")
    known = [f.entrant(name)[0] for name in editors]
    sessions: dict[str, Session] = {}
    for name in editors:
        editor, grounded = f.entrant(name)
        own = flags if grounded is None else {**flags, "grounded": grounded}
        session = f.open_session({**own, "editor": editor}, f.options_for(editor, known, options), image=image)
        session.check(EDITORS)
        sessions[name] = session
    first = sessions[editors[0]]
    for session in sessions.values():
        session.runtime = first.runtime
    return sessions


def _needs_regions(session: Session) -> bool:
    settings = session.settings
    return settings.grounded or bool(session.backend(EDITORS.plural, settings.editor).needs_regions)


def _entries(
    console: Console, job: PhotoJob, sessions: Mapping[str, Session], stop: Stop, *, show: bool
) -> Iterator[Entry]:
    """What each editor does with the job, one after the other, until one is told to stop."""
    for name, session in sessions.items():
        grounded, began = session.settings.grounded, time.perf_counter()
        try:
            with step_bar(console, name, show=show) as bar:
                result = replace(job, session=session).edit(Watch(on_step=bar, should_stop=stop))
        except Interrupted as error:  # while models were loaded: the others would have to load theirs too
            yield Entry(name, grounded, error=error)
            return
        except GasError as error:
            print_error(error, as_json=False)
            yield Entry(name, grounded, error=error)
            continue
        seconds = time.perf_counter() - began
        outside = outside_difference(job.photo.pixels, result.image, result.asked)
        yield Entry(name, grounded, result, seconds, outside.max)
        if stop():
            return


def _caption(entry: Entry) -> str:
    return f"{entry.editor.replace('+', ' + ')} {entry.seconds:.1f} s, outside {entry.outside_max:g}"


def sheet(panels: Sequence[tuple[str, Image]]) -> Image:
    """The pictures, all of one size, side by side with their captions above, as `(h, W, 3)` uint8: each at least 256
    pixels high and wide, but for those that would be over 2048 high then."""
    height, width = panels[0][1].shape[:2]
    factor = max(-(-LEAST_TILE // min(height, width)), 1)
    tall = min(max(USUAL_TILE, -(-LEAST_TILE * height // width)), HIGHEST_TILE)
    enlarged = [(name, image.repeat(factor, axis=0).repeat(factor, axis=1)) for name, image in panels]
    return overlay.strip(enlarged, height=tall)
