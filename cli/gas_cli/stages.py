"""`gas plan`, `gas ground`, `gas suggest`, `gas info`, `gas keys`: one stage each, its result shown or saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas.backends.roles import EDITORS, GROUNDERS, PLANNERS
from gas.errors import BatchIncomplete, GasError, InputRefused, Interrupted, PlanUnreadable, UsageError
from gas.remedies import Command, shell_words
from gas_cli import flags as f
from gas_cli.output import people, print_error, print_json, print_text, warn
from gas_cli.progress import step_bar, stoppable

if TYPE_CHECKING:
    from gas.interfaces import Planner, Watch
    from gas.masks import Size
    from gas.run.result import Place
    from gas.run.session import Session
    from gas.types import EditPlan, EditRequest, Region, WorkMode


def plan(
    picture: Path,
    instructions: Sequence[str],
    *,
    out: Path | None,
    options: Sequence[f.Option],
    flags: Mapping[str, Any],
    words: f.Words,
    dry_run: bool,
    save_reply: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Makes a plan and writes it to `out`, or to standard output."""
    from gas import files
    from gas.picture import photo
    from gas.plan import file as plans
    from gas.run.reuse import told
    from gas_shell.reused import stages_line

    console = people()
    for path in (out, save_reply):
        if path is not None:
            files.check_target(path, overwrite=overwrite)
    files.refuse_same([path for path in (out, save_reply) if path is not None], [picture])
    read = photo.read(picture)
    session = f.open_session(flags, options, role=PLANNERS.plural, image=read.pixels)
    if dry_run:
        _dry_run(session, f.request(instructions, words).of(read.pixels, 0), as_json)
        return
    try:
        with told.collected() as reused:
            made = session.plan(f.request(instructions, words).of(read.pixels, session.settings.seed or 0))
    except PlanUnreadable as error:
        if save_reply is not None and error.reply is not None:
            files.write_text(save_reply, error.reply, overwrite=overwrite)
        raise
    warn(console, [*read.warnings, *made.warnings])
    if save_reply is not None:
        if made.provenance.reply is None:
            raise UsageError(f"planner {made.provenance.planner!r} has no reply to save", "leave --save-reply out")
        files.write_text(save_reply, made.provenance.reply, overwrite=overwrite)
    if made.provenance.note:
        console.print(made.provenance.note, markup=False, soft_wrap=True)
    if reused:
        console.print(stages_line(reused), markup=False, soft_wrap=True)
    _print_plan(made)
    if out is not None:
        plans.write_plan(made, out, overwrite=overwrite)
        console.print(
            f"wrote {out}; edit it by hand, then: {shell_words(Command('edit', str(picture), '--plan', str(out)))}",
            markup=False,
            soft_wrap=True,
        )
    if as_json:
        print_json("plan", made.model_dump(mode="json"))
    elif out is None:
        print_text(plans.plan_to_json(made))


def ground(
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
    overwrite: bool,
    as_json: bool,
) -> None:
    """Finds the regions of a plan and writes masks, boxes and an overlay into the folder `out`: the regions, and the
    working pictures that an edit would cut."""
    from gas import files
    from gas.interfaces import Watch
    from gas.picture import overlay, photo
    from gas.regions.asked import doubts
    from gas.regions.folder import INDEX, save_regions
    from gas.run.output import write_picture
    from gas.run.record import Request
    from gas.run.reuse import told
    from gas_cli.render import fine, in_places
    from gas_shell.reused import reused_data, stages_line

    console, mode = people(), f.work_mode(work)
    folder = out or picture.with_name(f"{picture.stem}-regions")
    look = folder / "overlay.png"
    files.check_folder(folder)
    if not overwrite:
        files.refuse_existing([look, folder / INDEX])
    read = photo.read(picture)
    session = f.open_session(flags, options, role=GROUNDERS.plural, image=read.pixels)
    asked = f.request_or_plan(plan, instructions, words)
    with told.collected() as planned:
        made = session.plan(asked.of(read.pixels, session.settings.seed or 0)) if isinstance(asked, Request) else asked
    warn(console, [*read.warnings, *made.warnings])
    given = f.given_regions(read.size, drawn, lambda text: warn(console, [text]))
    with told.collected() as looked, stoppable(console) as stop, step_bar(console, "looking", show=not as_json) as bar:
        found = session.ground(read.pixels, made, given, required=True, watch=Watch(on_step=bar, should_stop=stop))
        places, why_not = _places(session, read.size, made, found, mode, Watch(should_stop=stop))
    if reused := (*planned, *looked):
        console.print(stages_line(reused), markup=False, soft_wrap=True)
    warn(console, [*(region.note for region in found if region.note), *doubts(made, found)])
    files.make_folder(folder)
    written = save_regions(folder, read.size, found, overwrite=overwrite)
    frames = [(place.frame, fine(made, place)) for place in places]
    write_picture(look, overlay.draw_regions(read.pixels, found, frames), overwrite=overwrite)
    console.print(f"wrote {len(written)} files and {look.name} into {folder}", markup=False, soft_wrap=True)
    rows = [{"phrase": r.phrase, "subtask": r.subtask, "box": r.box, "score": r.score, "given": r.given} for r in found]
    if as_json:
        shown = [
            {"subtasks": place.subtasks, "crop": place.frame.crop, "size": place.frame.size, "fine": text}
            for place, (_, text) in zip(places, frames, strict=True)
        ]
        print_json(
            "ground",
            {"folder": str(folder), "overlay": str(look), "regions": rows, "places": shown} | reused_data(reused),
        )
    else:
        for region in found:
            box = ", ".join(f"{side:.0f}" for side in region.box or ())
            score = f"  score {region.score:.2f}" if region.score is not None else ""
            print_text(f"{region.phrase}: box {box}{score}")
        if places:
            print_text(f"an edit with {session.settings.editor} works on them{in_places(made, places)}")
    if why_not:
        console.print(f"the working pictures are not shown: {why_not}", markup=False, soft_wrap=True)


def _places(
    session: Session, size: Size, plan: EditPlan, regions: Sequence[Region], work: WorkMode, watch: Watch
) -> tuple[list[Place], str]:
    """The working pictures of an edit of these regions; none where its editor cannot be asked, and why."""
    from gas.run.working import working_pictures

    try:
        return working_pictures(session, size, plan, regions, work=work, watch=watch), ""
    except Interrupted:
        raise
    except GasError as error:  # what was found is worth having without the editor's model
        return [], error.message


def info(output: Path, *, as_json: bool) -> None:
    """Shows the record of an output, or what another's picture says of itself."""
    from gas.run import record as records

    record = records.find_record(output)
    if record is None:
        _others_picture(output, as_json=as_json)
        return
    if as_json:
        print_json("info", record.model_dump(mode="json"))
        return
    from gas.picture.containers import LOSSY, SUFFIXES
    from gas_cli.render import describe_record

    encoded = next((container for container in LOSSY if output.suffix.lower() in SUFFIXES[container]), "")
    for line in describe_record(record, _defaults(record.editor.name), encoded):
        print_text(line)


def _others_picture(path: Path, *, as_json: bool) -> None:
    from gas.picture.metadata.facts import facts

    found = facts(path)
    if as_json:
        print_json("info", {"record": None, "picture": [{"name": name, "value": value} for name, value in found]})
        return
    print_text(f"{path.name} holds no record of gas")
    for name, value in found:
        print_text(f"{name}: {value}")


def _defaults(editor: str) -> dict[str, Any]:
    """The default option values of an editor; none when it is not installed here, so that all its options are shown."""
    from gas.backends.registry import Registry
    from gas.errors import GasError

    try:
        return Registry.discover().load(EDITORS.plural, editor).options_type().model_dump(mode="json")
    except GasError:
        return {}


def suggest(pictures: Sequence[Path], *, options: Sequence[f.Option], flags: Mapping[str, Any], as_json: bool) -> None:
    """Shows what a planner that can see would change in each picture. One that fails is named and stops no other."""
    from gas.picture import photo

    session = f.open_session(flags, options, role=PLANNERS.plural)
    session.planner()  # one that may not be asked is refused before any picture is read
    answers, failed = [], []
    for picture in pictures:
        try:
            read = photo.read(picture)
            answer = session.suggest(read.pixels)
        except (InputRefused, PlanUnreadable) as error:
            failed.append(error)
            if len(pictures) > 1:
                print_error(error, as_json=False)
            continue
        warn(people(), [*read.warnings, *answer.warnings])
        answers.append((picture, answer))
        if not as_json:
            print_text(f"{picture}: {answer.request}" if len(pictures) > 1 else answer.request)
    if as_json and not (failed and len(pictures) == 1):
        print_json("suggest", [{"picture": str(p), **answer.model_dump(mode="json")} for p, answer in answers])
    if failed and len(pictures) == 1:
        raise failed[0]
    if failed:
        raise BatchIncomplete(f"{len(failed)} of {len(pictures)} pictures have no suggestions", "the others are done")


def set_key(name: str) -> None:
    """Asks for a key without showing it, or reads it from standard input, and keeps it in the key file."""
    import getpass
    import sys

    from gas.settings import keys

    keys.variable(name)  # refuses an unusable name before the key is asked for
    value = getpass.getpass(f"key for {name}: ") if sys.stdin.isatty() else sys.stdin.readline()
    path = keys.set(name, value)
    people().print(f"kept in {path}, which only you can read", markup=False, soft_wrap=True)


def list_keys(*, as_json: bool) -> None:
    """Shows the names of the kept keys with their origin: a variable of the environment goes before the file."""
    from gas.settings import keys

    rows = [{"name": name, "from": keys.origin(name) or ""} for name in keys.names()]
    if as_json:
        print_json("keys ls", rows)
        return
    for row in rows:
        print_text(f"{row['name']}: from {row['from']}")
    if not rows:
        people().print(f"no keys are kept in {keys.keys_file()}", markup=False, soft_wrap=True)


def remove_key(name: str) -> None:
    """Takes a key out of the key file."""
    from gas.settings import keys

    path = keys.remove(name)
    people().print(f"removed from {path}", markup=False, soft_wrap=True)


def _dry_run(session: Session, request: EditRequest, as_json: bool) -> None:
    """Prints what planning would send, and where to; sends nothing."""
    name = session.settings.planner
    planner: Planner = session.backend(PLANNERS.plural, name)  # to look sends nothing, whoever chose it
    with session.registry.calling(PLANNERS.plural, name):
        sent = planner.preview(request)
    if as_json:
        print_json("plan", sent.as_json(PLANNERS.name, name))
    else:
        print_text("\n".join(sent.lines(PLANNERS.name, name)))


def _print_plan(plan: EditPlan) -> None:
    from gas_cli.render import plan_table

    people().print(plan_table(plan))
