"""Tables and lines for people: a plan, a record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from gas_cli.verified import verified_lines

if TYPE_CHECKING:
    from gas.run.detail import Detail, LargePlace
    from gas.run.record import Record, RecordedRegion
    from gas.run.result import Place
    from gas.types import EditPlan


_COARSE = 1.5
"""Photograph's pixels for each of the working picture, from which on that is said."""


def plan_table(plan: EditPlan) -> Table:
    """The subtasks of a plan, a row each."""
    table = Table("", "do", "what is there", "what should be there", "keep its shape", box=None, pad_edge=False)
    for number, subtask in enumerate(plan.subtasks, 1):
        where = f" ({subtask.anchor})" if subtask.anchor else ""
        table.add_row(
            str(number),
            subtask.action,
            escape((subtask.source or "") + (where if subtask.action == "add" else "")),
            escape((subtask.target or "") + (where if subtask.action == "remove" else "")),
            "yes" if subtask.preserve_shape else "no",
        )
    return table


def describe_record(record: Record, defaults: Mapping[str, Any], encoded: str = "") -> Iterator[str]:
    """What a record says, a line for each fact; of the editor's options those that are not the `defaults`. `encoded`
    as in `outside_lines`."""
    yield f"made by gas {record.gas} from {record.input.name} ({record.input.size[0]}x{record.input.size[1]})"
    if record.asked.instruction:
        yield f"asked: {record.asked.instruction}"
    for number, subtask in enumerate(record.plan.subtasks, 1):
        what = {
            "change": f"{subtask.source or 'the whole picture'} -> {subtask.target}",
            "add": f"add {subtask.target}" + (f" at {subtask.anchor}" if subtask.anchor else ""),
            "remove": f"remove {subtask.source}",
        }[subtask.action]
        change = record.measured.inside[number - 1] if number <= len(record.measured.inside) else None
        yield f"  {number}. {what}" + (f" (changed by {change:.1f} of 255 inside)" if change is not None else "")
    if record.plan.source_prompt:
        yield f"whole: {record.plan.source_prompt} -> {record.plan.target_prompt}"
    if record.planner:
        yield f"planner: {record.planner.name}"
    for grounder in record.grounders:
        yield f"grounder: {grounder.name}"
    options = ", ".join(
        f"{name}={value}" for name, value in record.editor.options.items() if value != defaults.get(name, ...)
    )
    yield f"editor: {record.editor.name}" + (f" ({options})" if options else ", its default options")
    if record.grounded:
        how = {"editor": "by the editor itself", "turns": "one subtask after the other"}
        confined = how.get(str(record.log.get("confined_by")), "")
        yield "grounded: each subtask confined to its region" + (f", {confined}" if confined else "")
    chosen = f" ({record.profile_from})" if record.profile_from else ""
    yield f"profile: {record.profile}{chosen}, seed {record.seed}, device {record.device}, dtype {record.dtype}" + (
        f", memory {record.memory}" if record.memory != "auto" else ""
    )
    for model in record.models:
        yield f"model: {model.id}" + (f" @ {model.revision}" if model.revision else "")
    native, size = record.frame.native, (record.places or (record.frame,))[0].size
    if len(record.places) < 2:
        yield f"worked on {size[0]}x{size[1]} of {native[0]}x{native[1]} ({record.work})"
    yield from place_lines(record)
    yield from detail_lines(record)
    yield from outside_lines(record, encoded)
    yield from file_lines(record)
    if record.verifier:
        yield f"verifier: {record.verifier.name}"
    yield from verified_lines(record, evidence=True)
    if record.stopped:
        yield "stopped before it was finished"
    if record.left_out:
        yield f"left out of the picture, in the file beside it: {', '.join(record.left_out)}"


def outside_lines(record: Record, encoded: str = "") -> Iterator[str]:
    """How far the file differs from the input where no change was asked for, in the one wording of all commands.

    A record that is only in the picture itself was made before that was written. `encoded` is then the format that has
    changed it since ("": none has).
    """
    file, editor = record.file, record.editor.name
    if not record.regions and file is not None and file.edited == 1:
        yield "no regions: the whole picture was edited"
        return
    for chosen in record.chosen:
        box = ", ".join(f"{side:.0f}" for side in chosen.box or ())
        yield f"{editor} chose for {chosen.phrase!r} the place in the box {box} ({_percent(_share(chosen))})"
    place = "outside the regions"
    if not record.regions:
        share = f" ({_percent(file.edited)} of the picture)" if file is not None and file.edited is not None else ""
        place = f"outside the place that {editor} chose{share}"
    beyond = file.beyond if file is not None else None
    largest = record.measured.outside_max if file is None else file.outside_max
    what = "bit for bit the input's" if largest == 0 else f"differs by {largest:g} at most of 255"
    if file is None and encoded:
        what += f", before it became {encoded}; what was measured on the file is in the .gas.json file"
    elif file is not None and largest and not file.exact and not beyond:
        kept = file.jpeg in {"coefficients", "jpegtran"}
        what += ", in JPEG blocks that the edit touches" if kept else "; PNG keeps them exactly"
    yield f"{place}: {what}"
    if beyond:
        yield f"{editor} edited {_percent(beyond)} of the picture beyond the regions"


def place_lines(record: Record) -> Iterator[str]:
    """How fine each place was worked on, where it was coarser than the photograph or in a picture of its own."""
    from gas.picture.frame import Frame
    from gas.run.result import Place

    places = [Place(Frame(one.native, one.crop, one.size), one.subtasks) for one in record.places]
    if _worth_saying(places):
        yield f"worked on{in_places(record.plan, places)}"


def places_ahead(plan: EditPlan, places: Sequence[Place]) -> str:
    """How fine each place will be worked on, and at which size, before an edit; empty where `place_lines` would say
    nothing."""
    if not _worth_saying(places):
        return ""
    shown = "; ".join(f"{fine(plan, place)} ({place.frame.size[0]}x{place.frame.size[1]})" for place in places)
    return f"works{_in_several(places)}: {shown}" if len(places) > 1 else f"works on {shown}"


def _worth_saying(places: Sequence[Place]) -> bool:
    return len(places) > 1 or any(place.coarseness >= _COARSE for place in places)


def detail_ahead(plan: EditPlan, detail: Detail | None) -> str:
    """What large places get after the edit, in one line: in how many tiles, rows and about how many seconds."""
    if detail is None:
        return "detail: nothing is shown so coarse that it would get any"

    def named(one: LargePlace) -> str:
        subtask = plan.subtasks[one.subtask]
        return f"{subtask.region_phrase or subtask.target or 'all'} at 1:{one.coarse:.1f}"

    parts = [f"{named(one)} (the photograph's own)" for one in detail.kept]
    effort = detail.effort(timed=True)
    drawn = zip(sorted(detail.drawn, key=lambda one: one.subtask), effort.tiles, strict=True)
    parts += [f"{named(one)} in {tiles} tile{'s' * (tiles != 1)}" for one, tiles in drawn]
    cost = f": {effort.rows} rows" if effort.rows else ""
    seconds = f", about {max(round(effort.seconds), 1)} s" if effort.seconds else ""
    return f"then detail for {'; '.join(parts) or 'nothing'}{cost}{seconds}"


def detail_lines(record: Record) -> Iterator[str]:
    """What detail the places got, and how sharp they were in the photograph, after the edit, and with the detail."""
    for one in record.detailed:
        subtask = record.plan.subtasks[one.subtask]
        name = subtask.region_phrase or subtask.target or "all"
        how = f"in {one.tiles} tile{'s' * (one.tiles != 1)} by {one.by}" if one.tiles else "the photograph's own"
        sharp = ""
        if one.sharpness is not None:
            unedited, edited, now = one.sharpness
            sharp = f"; sharpness {now:.2f}, {edited:.2f} without, {unedited:.2f} in the photograph"
        yield f"detail for {name}: {how}{sharp}"


def in_places(plan: EditPlan, places: Sequence[Place]) -> str:
    """The end of a sentence: in how many working pictures, and how fine each of them is."""
    return f"{_in_several(places)}: {'; '.join(fine(plan, place) for place in places)}"


def _in_several(places: Sequence[Place]) -> str:
    return f" in {len(places)} working pictures" if len(places) > 1 else ""


def fine(plan: EditPlan, place: Place) -> str:
    """What is worked on in a working picture, and how many pixels of the photograph one of its pixels shows."""
    what, coarse = ", ".join(place.names(plan)) or "all", place.coarseness
    return f"{what} at 1:{coarse:.1f}" if coarse > 1.05 else f"{what} at 1:1"


def file_lines(record: Record) -> Iterator[str]:
    """What became of the photograph's JPEG blocks and of its metadata."""
    file = record.file
    if file is None:
        return
    if file.jpeg == "re-encoded":
        yield f"JPEG: all blocks are encoded anew, with the file's own tables: {file.jpeg_why}"
    elif file.jpeg is not None:
        how = "; a rectangle around each edit is encoded anew, by jpegtran" if file.jpeg == "jpegtran" else ""
        yield f"JPEG: blocks that the edit does not touch hold the very coefficients that they held{how}"
    if file.metadata is not None:
        parts = (("kept", file.metadata.kept), ("changed", file.metadata.changed), ("left out", file.metadata.left_out))
        said = "; ".join(f"{name}: {', '.join(words)}" for name, words in parts if words)
        if said:
            yield f"metadata {said}"


def _share(region: RecordedRegion) -> float:
    """The share of the picture that a recorded region covers."""
    counts = region.mask.counts
    return sum(counts[1::2]) / max(sum(counts), 1)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "less than 0.1 %"
