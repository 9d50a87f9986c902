"""`gas edit` and `gas replay`: what happens between their flags and their exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas import files
from gas.errors import Interrupted, ReplayDiffers, UsageError
from gas.interfaces import Watch
from gas.picture import photo as photos
from gas.plan.words import what
from gas.remedies import Command, Remedy, Setting
from gas.run import record as records
from gas.run.job import PhotoJob, WrittenEdit, prepare
from gas.run.output import Output, check_picture, reserve_output, write_picture
from gas.run.replay import again, drift, output_of, state_record
from gas.run.reuse.told import edits_anew
from gas.run.undone import raise_if_undone
from gas_cli import flags as f
from gas_cli import models
from gas_cli.maps import Maps
from gas_cli.output import people, print_json, short, warn
from gas_cli.progress import forecast, previews, stages, step_bar, stoppable
from gas_cli.render import detail_ahead, detail_lines, file_lines, outside_lines, places_ahead
from gas_cli.verified import verified_data, verified_lines, warn_of_verifying, warn_unknown
from gas_shell.reused import before_edit, reused_data, reused_lines

if TYPE_CHECKING:
    from rich.console import Console

    from gas.interfaces import Step
    from gas.picture.photo import Photo
    from gas.run.reuse.told import Told
    from gas.types import Image


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
    allow_model: bool,
    yes: bool,
    gps: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Runs one edit and reports it. An interrupted run writes its latest state and raises Interrupted."""
    console = people()
    photo = photos.read(picture)
    warn(console, photo.warnings)
    unfinished = None if resume is None else state_record(resume)
    if unfinished is not None:
        own = output_of(unfinished[1])
        out = out or own
        overwrite = overwrite or out == own  # what a run resumes is its own to replace
    with reserve_output(photo, out, overwrite=overwrite) as output:
        _check_more(output, [picture, plan], [save_raw, save_layer], save_maps, overwrite)
        if unfinished is not None:
            record, state = unfinished
            job = again(
                record,
                photo,
                lambda recorded: f.open_session(flags, options, recorded=recorded),
                resume=state,
                allow_model=allow_model,
            )
            models.require(job.session, agreed=yes, looks=False)
        else:
            job = _new_job(
                console, photo, instructions, flags, options, plan, words, drawn, work, yes=yes, quiet=as_json
            )
        warn(console, [*job.plan.warnings, *job.notes])
        warn_of_verifying(console, job.session, job.plan, flags)
        done, signal = _run(console, job, output, preview_every, save_maps, gps, quiet=as_json)
        if save_raw is not None:
            write_picture(save_raw, done.result.raw, overwrite=overwrite)
        if save_layer is not None:
            from gas.run.layer import edit_layer

            write_picture(save_layer, edit_layer(done.result), overwrite=overwrite)
    _report(console, done, as_json, "edit")
    _raise_if_stopped(done, picture, signal)
    raise_if_undone(done.record)


def replay(
    output: Path,
    picture: Path | None,
    *,
    out: Path | None,
    flags: Mapping[str, Any],
    allow_model: bool,
    yes: bool,
    allow_drift: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Makes an output again from its record, and says what drifted. ReplayDiffers (exit 12) for other bytes, unless
    something has drifted and that is allowed."""
    console = people()
    then = records.read_record(output)
    if flags["editor"] not in {None, then.editor.name}:
        raise UsageError(
            f"the record is of an edit by {then.editor.name!r}, not by {flags['editor']!r}",
            Remedy("edit_anew", "for another editor: {edit}", edit=Command("edit")),
        )
    photo = photos.read(picture or output.with_name(then.input.name))
    out = out or files.name_beside(output, output.suffix, tag="replayed")
    with reserve_output(photo, out, overwrite=overwrite) as reserved:
        job = again(then, photo, lambda recorded: f.open_session(flags, recorded=recorded), allow_model=allow_model)
        models.require(job.session, agreed=yes, looks=False)
        done, signal = _run(console, job, reserved, None, None, False, quiet=as_json)
    drifted = drift(then, done.record)
    with files.open_regular(done.written.path) as stream:
        same = then.file is not None and files.sha256(stream) == then.file.sha256
    for sentence in drifted:
        console.print(f"drifted: {sentence}", markup=False)
    if then.file is not None:
        console.print("the same bytes as before" if same else "not the same bytes as before")
    _report(console, done, as_json, "replay", same_bytes=same, drift=drifted)
    _raise_if_stopped(done, picture or output, signal)
    if then.file is not None and not same and not (drifted and allow_drift):
        raise ReplayDiffers(
            f"{done.written.path.name} does not have the same bytes as {then.file.name}"
            + (f": {len(drifted)} things have drifted" if drifted else ", though nothing that is recorded has drifted"),
            Remedy("allow_drift", "to accept what has drifted: {flag}", flag=Setting("allow_drift", True))
            if drifted
            else "another machine, another device, or a plugin whose code changed in the same version does that",
        )


def _check_more(
    output: Output,
    inputs: Sequence[Path | None],
    pictures: Sequence[Path | None],
    folder: Path | None,
    overwrite: bool,
) -> None:
    """Refuses before the work what writing the other files that were asked for would refuse after it."""
    named = [path for path in pictures if path is not None]
    for path in named:
        check_picture(path, overwrite=overwrite)
    files.refuse_same([output.path, *named], [path for path in inputs if path is not None])
    if folder is not None:
        files.check_folder(folder)


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
    *,
    yes: bool,
    quiet: bool,
) -> PhotoJob:
    session = f.open_session(flags, options, image=photo.pixels)
    asked = f.request_or_plan(plan, instructions, words)
    given = f.given_regions(photo.size, drawn, lambda text: warn(console, [text]))
    models.require(session, agreed=yes, looks=not given)
    with stages(console, show=not quiet) as shown:
        job = prepare(
            session, photo, asked, given, work=f.work_mode(work), on_stage=shown.begin, watch=Watch(on_step=shown.step)
        )
    warn(console, [region.note for region in job.regions if region.note])
    if job.plan.provenance.note and plan is None:
        console.print(job.plan.provenance.note, markup=False, soft_wrap=True)
    return job


def _run(
    console: Console,
    job: PhotoJob,
    out: Output,
    preview_every: int | None,
    save_maps: Path | None,
    gps: bool,
    *,
    quiet: bool,
) -> tuple[WrittenEdit, int]:
    """The finished edit, and the number of the signal that stopped it (0: none)."""
    if save_maps is not None:
        files.make_folder(save_maps)
    console.print(_preflight(job), markup=False, soft_wrap=True)

    def write(path: Path, image: Image) -> None:
        if job.photo.path is not None and path.exists() and path.samefile(job.photo.path):
            warn(console, [f"{short(path)} is the photograph itself, which stays: that picture is not written"])
        else:
            write_picture(path, image)

    folder = out.path.with_name(f"{out.path.stem}-steps")

    def write_preview(index: int, image: Image) -> None:
        files.make_folder(folder)
        write(folder / f"step{index:05d}.png", image)

    def tried_again(subtask: int, editor: str) -> None:
        if not quiet:
            console.print(
                f"trying again with {editor}: {what(job.plan.subtasks[subtask])}", markup=False, soft_wrap=True
            )

    maps = None if save_maps is None else Maps(save_maps, write)
    with stoppable(console) as stop, step_bar(console, job.session.settings.editor, show=not quiet) as bar:
        shown = [bar, forecast(console), *([previews(preview_every, write_preview)] if preview_every else [])]
        watch = Watch(on_step=_each(shown), should_stop=stop)
        if ahead := places_ahead(job.plan, job.places(watch)):
            console.print(ahead, markup=False, soft_wrap=True)
        if job.session.settings.detail != "off":
            console.print(detail_ahead(job.plan, job.detail(watch)), markup=False, soft_wrap=True)
        if maps is not None:
            watch = replace(watch, save_map=maps.add, on_picture=maps.on_picture)
        # Steps that are to be seen must be made.
        with edits_anew() if preview_every else nullcontext():
            done = job.run(out, watch=watch, gps=gps, on_attempt=tried_again)
    for name, other in ({} if maps is None else maps.same).items():
        console.print(f"{name} is the same map as {other}", markup=False)
    return done, stop.signal


def _preflight(job: PhotoJob) -> str:
    """What is about to run, in one line."""
    settings, runtime, count = job.session.settings, job.session.runtime, len(job.plan.subtasks)
    # An editor that does without torch is not made to import it for the sake of this line.
    device = str(runtime.torch_device()) if "torch" in sys.modules else settings.device
    where = "" if device == "auto" else f" on {device}"
    origin = settings.origin("profile")
    why = f", {origin}" if origin.startswith("default") else ""
    chosen = f"{settings.editor}{', grounded' if settings.grounded else ''} ({settings.profile.name}{why})"
    reused = before_edit(job.reused)
    return f"{chosen}: {count} subtask{'s' * (count != 1)}{where}, seed {job.seed}{reused}"


def _each(callbacks: Sequence[Callable[[Step], None]]) -> Callable[[Step], None]:
    def call(step: Step) -> None:
        for callback in callbacks:
            callback(step)

    return call


def _report(console: Console, done: WrittenEdit, as_json: bool, command: str, **more: Any) -> None:
    written, record = done.written, done.record
    warn(console, written.warnings)
    console.print(f"wrote {short(written.path)}, record {done.record_path.name}", markup=False, soft_wrap=True)
    for index, subtask in enumerate(record.plan.subtasks):
        change = record.measured.inside[index]
        console.print(
            f"  {subtask.instruction or subtask.target or subtask.source}"
            + (f": changed by {change:.1f} of 255 inside its region" if change is not None else ""),
            markup=False,
            soft_wrap=True,
        )
    measured = (
        *detail_lines(record),
        *outside_lines(record),
        *file_lines(record),
        *verified_lines(record),
    )
    for line in (*reused_lines(done.result.reused, record.seed, record.plan), *measured):
        console.print(f"  {line}", markup=False, soft_wrap=True)
    warn_unknown(console, record)
    warn(console, [*record.notes, *done.result.log.get("notes", ())])
    if as_json:
        assert record.file is not None  # a record that was written beside its file
        print_json(
            command,
            {
                "output": str(written.path),
                "record": str(done.record_path),
                "stopped": done.result.stopped,
                "seed": record.seed,
                "outside": {
                    "max": record.file.outside_max,
                    "mean": record.file.outside_mean,
                    "beyond": record.file.beyond,
                },
                "inside": list(record.measured.inside),
                "metadata": record.file.metadata.model_dump(mode="json") if record.file.metadata else None,
                "jpeg": {"method": record.file.jpeg, "why": record.file.jpeg_why} if record.file.jpeg else None,
                **verified_data(record),
                **reused_data((*job_reused(done), *done.result.reused)),
                "log": dict(done.result.log),
                **more,
            },
        )


def job_reused(done: WrittenEdit) -> tuple[Told, ...]:
    """What its job took from the cache before the edit."""
    return () if done.result.job is None else done.result.job.reused


def _raise_if_stopped(done: WrittenEdit, photo_path: Path, signal: int) -> None:
    if not done.result.stopped:
        return
    how: str | Remedy = ""
    if done.state is not None:
        how = Remedy(
            "resume", "resume it: {command}", command=Command("edit", str(photo_path), "--resume", short(done.state))
        )
    raise Interrupted(f"stopped early; {short(done.written.path)} has the latest state", how, signal=signal or 2)
