"""`gas edit` and `gas replay`: what happens between their flags and their exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas import files
from gas.errors import Interrupted, UsageError
from gas.picture import photo as photos
from gas.picture import photo_write
from gas.remedies import Command, Remedy
from gas.run import job as workflow
from gas.run import record as records
from gas.run.session import new_seed
from gas_cli import flags as f
from gas_cli.output import people, print_json, warn
from gas_cli.progress import forecast, previews, step_bar, stoppable

if TYPE_CHECKING:
    from rich.console import Console

    from gas.interfaces import Step
    from gas.picture.photo import Photo
    from gas.types import Image, Mask


def edit(
    picture: Path,
    instructions: Sequence[str],
    *,
    out: Path | None,
    options: Sequence[f.Option],
    flags: Mapping[str, Any],
    plan: Path | None,
    words: f.Words,
    drawn: f.Drawn,
    work: str,
    preview_every: int | None,
    save_maps: Path | None,
    save_raw: Path | None,
    save_layer: Path | None,
    resume: Path | None,
    gps: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Runs one edit and reports it. An interrupted run writes its latest state and raises Interrupted."""
    console = people()
    photo = photos.read(picture)
    warn(console, photo.warnings)
    if resume is None:
        job = _new_job(console, photo, instructions, flags, options, plan, words, drawn, work)
    else:
        then, state = workflow.state_record(resume)
        job = workflow.again(
            then, photo, lambda recorded: f.open_session(flags, options, recorded=recorded), resume=state
        )
        out = out or state.with_name(state.name.removesuffix(workflow.SUFFIX))
        overwrite = True
    warn(console, job.plan.warnings)
    out = out or photo_write.default_output(photo, picture)
    finished, signal = _run(console, job, out, preview_every, save_maps, gps, overwrite, quiet=as_json)
    if save_raw is not None:
        workflow.write_picture(save_raw, finished.result.raw, overwrite=overwrite)
    if save_layer is not None:
        from gas.run.layer import edit_layer

        workflow.write_picture(save_layer, edit_layer(finished.result), overwrite=overwrite)
    _report(console, finished, as_json, "edit")
    _raise_if_stopped(finished, picture, signal)


def replay(
    output: Path, picture: Path | None, *, out: Path | None, flags: Mapping[str, Any], overwrite: bool, as_json: bool
) -> None:
    """Makes an output again from its record, and says what drifted."""
    console = people()
    then = records.read_record(output)
    if flags["editor"] not in {None, then.editor.name}:
        raise UsageError(
            f"the record is of an edit by {then.editor.name!r}, not by {flags['editor']!r}",
            Remedy("edit_anew", "for another editor: {edit}", edit=Command("edit")),
        )
    photo = photos.read(picture or output.with_name(then.input.name))
    job = workflow.again(then, photo, lambda recorded: f.open_session(flags, recorded=recorded))
    out = out or files.name_beside(output, output.suffix, tag="replayed")
    finished, signal = _run(console, job, out, None, None, False, overwrite, quiet=as_json)
    drifted = workflow.drift(then, finished.record)
    with files.open_regular(finished.written.path) as stream:
        same = then.file is not None and files.sha256(stream) == then.file.sha256
    for sentence in drifted:
        console.print(f"drifted: {sentence}", markup=False)
    if then.file is not None:
        console.print("the same bytes as before" if same else "not the same bytes as before")
    _report(console, finished, as_json, "replay", same_bytes=same, drift=drifted)
    _raise_if_stopped(finished, picture or output, signal)


def _new_job(
    console: Console,
    photo: Photo,
    instructions: Sequence[str],
    flags: Mapping[str, Any],
    options: Sequence[f.Option],
    plan: Path | None,
    words: f.Words,
    drawn: f.Drawn,
    work: str,
) -> workflow.PhotoJob:
    session = f.open_session(flags, options)
    settings = session.settings
    seed = new_seed() if settings.seed is None else settings.seed
    made = f.the_plan(session, photo.pixels, plan, instructions, seed, words)
    if made.provenance.note and plan is None:
        console.print(made.provenance.note, markup=False, soft_wrap=True)
    regions = session.ground(photo.pixels, made, f.given_regions(photo.size, drawn, lambda text: warn(console, [text])))
    looked = any(not region.given for region in regions) or session.backend("editors", settings.editor).finds_regions
    return workflow.PhotoJob(
        session=session,
        photo=photo,
        plan=made,
        regions=regions,
        seed=seed,
        work=f.work_mode(work),
        asked=records.Asked() if plan else f.asked(instructions, words),
        planner=None if plan else workflow.used(session, "planners", settings.planner),
        grounders=tuple(workflow.used(session, "grounders", name) for name in settings.grounders if looked),
    )


def _run(
    console: Console,
    job: workflow.PhotoJob,
    out: Path,
    preview_every: int | None,
    save_maps: Path | None,
    gps: bool,
    overwrite: bool,
    *,
    quiet: bool,
) -> tuple[workflow.Finished, int]:
    """The finished edit, and the number of the signal that stopped it (0: none)."""
    if not overwrite:
        job.refuse_existing(out)
    if save_maps is not None:
        files.make_folder(save_maps)
    console.print(_preflight(job), markup=False, soft_wrap=True)

    def write_preview(index: int, image: Image) -> None:
        workflow.write_picture(out.with_name(f"{out.stem}-step{index:05d}.png"), image)

    def write_map(name: str, values: Mask) -> None:
        assert save_maps is not None
        workflow.write_picture(save_maps / f"{files.slug(name)}.png", values)

    with stoppable(console) as stop, step_bar(console, job.session.settings.editor, show=not quiet) as bar:
        shown = [bar, forecast(console), *([previews(preview_every, write_preview)] if preview_every else [])]
        finished = job.run(
            out,
            on_step=_each(shown),
            should_stop=stop,
            save_map=write_map if save_maps else None,
            gps=gps,
            overwrite=overwrite,
        )
    return finished, stop.signal


def _preflight(job: workflow.PhotoJob) -> str:
    """What is about to run, in one line."""
    settings, runtime, count = job.session.settings, job.session.runtime, len(job.plan.subtasks)
    # An editor that does without torch is not made to import it for the sake of this line.
    device = str(runtime.torch_device()) if "torch" in sys.modules else settings.device
    origin = settings.origin("profile")
    why = f", {origin}" if origin.startswith("default") else ""
    chosen = f"{settings.editor}{', grounded' if settings.grounded else ''} ({settings.profile.name}{why})"
    return f"{chosen}: {count} subtask{'s' * (count != 1)} on {device}, seed {job.seed}"


def _each(callbacks: Sequence[Callable[[Step], None]]) -> Callable[[Step], None]:
    def call(step: Step) -> None:
        for callback in callbacks:
            callback(step)

    return call


def _report(console: Console, finished: workflow.Finished, as_json: bool, command: str, **more: Any) -> None:
    written, record = finished.written, finished.record
    warn(console, written.warnings)
    console.print(f"wrote {written.path}, record {finished.record_path.name}", markup=False, soft_wrap=True)
    for index, subtask in enumerate(record.plan.subtasks):
        change = record.measured.inside[index]
        console.print(
            f"  {subtask.instruction or subtask.target or subtask.source}"
            + (f": changed by {change:.1f} of 255 inside its region" if change is not None else ""),
            markup=False,
            soft_wrap=True,
        )
    if record.regions or not finished.result.mask.all():
        outside = written.outside
        exact = "bit for bit the input's" if outside.max == 0 else f"differs by {outside.max:g} at most of 255"
        hint = "" if written.exact else "; PNG keeps them exactly"
        console.print(f"  outside the regions: {exact}{hint if outside.max else ''}", markup=False, soft_wrap=True)
    warn(console, finished.result.log.get("notes", ()))
    if as_json:
        print_json(
            command,
            {
                "output": str(written.path),
                "record": str(finished.record_path),
                "stopped": finished.result.stopped,
                "seed": record.seed,
                "outside": {"max": written.outside.max, "mean": written.outside.mean},
                "inside": list(record.measured.inside),
                "log": dict(finished.result.log),
                **more,
            },
        )


def _raise_if_stopped(finished: workflow.Finished, photo_path: Path, signal: int) -> None:
    if not finished.result.stopped:
        return
    how = f"go on with: gas edit {photo_path} --resume {finished.state}" if finished.state else ""
    raise Interrupted(f"stopped early; {finished.written.path} has the latest state", how, signal=signal)
