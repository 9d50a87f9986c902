"""`gas compare`: several editors on the same plan, regions and seed, in one picture."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas import files
from gas.backends.roles import EDITORS
from gas.errors import GasError, Interrupted, UsageError
from gas.interfaces import Watch
from gas.picture import overlay
from gas.picture import photo as photos
from gas.picture.blend import outside_difference
from gas.run.job import prepare
from gas.run.output import check_picture, write_picture
from gas_cli import flags as f
from gas_cli.output import people, print_error, print_json, print_text, warn
from gas_cli.progress import stages, step_bar, stoppable

if TYPE_CHECKING:
    from gas.run.session import Session


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
    if not editors:
        raise UsageError("no editor is named", "give --editors dds,cds,ground-a-score")
    console = people()
    read = photos.read(picture)
    warn(console, read.warnings)
    out = out or files.name_beside(picture, ".png", tag="compared")
    check_picture(out, overwrite=overwrite)
    files.refuse_same([out], [path for path in (picture, plan) if path is not None])
    known = [f.entrant(name)[0] for name in editors]
    sessions: dict[str, Session] = {}
    for name in editors:
        editor, grounded = f.entrant(name)
        own = flags if grounded is None else {**flags, "grounded": grounded}
        session = f.open_session({**own, "editor": editor}, f.options_for(editor, known, options))
        session.check(EDITORS)
        sessions[name] = session
    first = sessions[editors[0]]
    for session in sessions.values():
        session.runtime = first.runtime  # one copy of every network
    asked = f.request_or_plan(plan, instructions, words)
    given = f.given_regions(read.size, drawn, lambda text: warn(console, [text]))
    needed = any(
        one.settings.grounded or one.backend("editors", one.settings.editor).needs_regions for one in sessions.values()
    )
    with stages(console, show=not as_json) as shown:
        job = prepare(
            first,
            read,
            asked,
            given,
            work=f.work_mode(work),
            required=needed,
            on_stage=shown.begin,
            watch=Watch(on_step=shown.step),
        )
    warn(console, job.plan.warnings)
    columns, rows, failed = [("input", read.pixels)], [], []
    with stoppable(console) as stop:
        for name, session in sessions.items():
            began = time.perf_counter()
            try:
                with step_bar(console, name, show=not as_json) as bar:
                    result = replace(job, session=session).edit(Watch(on_step=bar, should_stop=stop))
            except Interrupted as error:  # while models were loaded: the others would have to load theirs too
                failed.append(error)
                break
            except GasError as error:
                print_error(error, as_json=False)
                failed.append(error)
                rows.append({"editor": name, "grounded": session.settings.grounded, "error": error.message})
                continue
            seconds = time.perf_counter() - began
            outside = outside_difference(read.pixels, result.image, result.asked)
            columns.append((name.replace("+", " + "), result.image))
            rows.append(
                {
                    "editor": name,
                    "grounded": session.settings.grounded,
                    "seconds": seconds,
                    "outside_max": outside.max,
                    "stopped": result.stopped,
                }
            )
            if stop():
                break
    if len(columns) == 1:
        raise failed[0]
    write_picture(out, overlay.strip(columns), overwrite=overwrite)
    console.print(f"wrote {out}, seed {job.seed}", markup=False, soft_wrap=True)
    if as_json:
        print_json("compare", {"output": str(out), "seed": job.seed, "editors": rows})
    else:
        for row in rows:
            print_text(f"{row['editor']}: " + (row.get("error") or f"{row['seconds']:.1f} s"))
    if failed:
        raise failed[0]
