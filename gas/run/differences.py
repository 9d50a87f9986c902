"""What differs between two plans or two records, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gas import files
from gas.plan.diff import changed, plan_differences
from gas.plan.file import MAX_PLAN_BYTES, parse_plan
from gas.plan.words import what
from gas.regions.rle import decode_rle
from gas.run.record import MAX_RECORD_BYTES, MAX_RECORD_DEPTH, Record, parse_record, read_record
from gas.run.replay import version_drift
from gas.types import EditPlan
from gas.validation import load_json

if TYPE_CHECKING:
    from gas.run.record import RecordedRegion, Used

_SAME = 0.999
"""The share of two places that overlaps from which on they count as one."""


def read_plan_or_record(path: Path) -> EditPlan | Record:
    """The plan in a plan file, or the record in a picture that gas wrote or in a record's own file.

    InputRefused (exit 3) for what is neither, is broken, or is of another version.
    """
    if path.suffix.lower() != ".json":
        return read_record(path)
    text = files.read_text(path, max_bytes=MAX_RECORD_BYTES)
    plain = load_json(text, path.name, max_bytes=MAX_RECORD_BYTES, max_depth=MAX_RECORD_DEPTH)
    if isinstance(plain, dict) and "plan" in plain:
        return parse_record(text, path.name)
    return parse_plan(text[: MAX_PLAN_BYTES + 1], origin=path.name)


def differences(a: EditPlan | Record, b: EditPlan | Record) -> list[str]:
    """A sentence for each difference, from `a` to `b`. Of a plan and a record only the plans are compared.

    Of records what led to the picture: what was edited, plan, places, backends with their options, models, versions,
    seed, what was tried again and kept; and what a verifier said of it. Not what was measured, nor the names of files.
    """
    plans = [one.plan if isinstance(one, Record) else one for one in (a, b)]
    out = plan_differences(*plans)
    if isinstance(a, Record) and isinstance(b, Record):
        out = [*_of_input(a, b), *out, *_of_places(a, b), *_of_run(a, b), *version_drift(a, b)]
        out += [*_of_attempts(a, b), *_of_findings(a, b)]
    return out


def _of_input(a: Record, b: Record) -> Iterator[str]:
    if a.input.pixels != b.input.pixels:
        yield f"another photograph: {a.input.name} ({_size(a)}), now {b.input.name} ({_size(b)})"
    elif a.input.sha256 != b.input.sha256:
        yield f"another file with the same pixels: {a.input.name}, now {b.input.name}"


def _size(record: Record) -> str:
    return "x".join(map(str, record.input.size))


def _of_places(a: Record, b: Record) -> Iterator[str]:
    """Where the regions of the same thing differ."""
    if a.input.size != b.input.size:
        return
    before, after = _by_phrase(a.regions), _by_phrase(b.regions)
    for phrase in dict.fromkeys((*before, *after)):
        name = f"the region of {phrase!r}"
        was, now = before.get(phrase), after.get(phrase)
        if was is None or now is None:
            yield f"{name}: only in the {'second' if was is None else 'first'}"
            continue
        yield from changed(f"{name}: drawn by hand", any(one.given for one in was), any(one.given for one in now))
        one, other = _union(was), _union(now)
        share = (one & other).sum() / max((one | other).sum(), 1)
        if share < _SAME:
            yield f"{name} lies elsewhere: the two share {100 * share:.0f} % of what they cover"


def _by_phrase(regions: Sequence[RecordedRegion]) -> dict[str, list[RecordedRegion]]:
    found: dict[str, list[RecordedRegion]] = {}
    for region in regions:
        found.setdefault(region.phrase, []).append(region)
    return found


def _union(regions: Sequence[RecordedRegion]) -> np.ndarray:
    return np.logical_or.reduce([decode_rle(one.mask) > 0 for one in regions])


def _of_run(a: Record, b: Record) -> Iterator[str]:
    yield from changed("planner", _name(a.planner), _name(b.planner))
    yield from changed("grounders", _names(a.grounders), _names(b.grounders))
    yield from changed("editor", a.editor.name, b.editor.name)
    yield from changed("verifier", _name(a.verifier), _name(b.verifier))
    used = [_all_used(one) for one in (a, b)]
    for name in used[0]:
        if name in used[1]:
            yield from _of_options(used[0][name], used[1][name])
    yield from changed("profile", a.profile, b.profile)
    yield from changed("seed", a.seed, b.seed)
    yield from changed("each change confined to its region", a.grounded, b.grounded)
    yield from changed("work", a.work, b.work)
    yield from changed("device", a.device, b.device)
    yield from changed("dtype", a.dtype, b.dtype)
    before = {model.id for model in a.models}
    for model in b.models:
        if model.id not in before:
            yield f"model {model.id} is used now"
    yield from changed("stopped before it was finished", a.stopped, b.stopped)


def _of_options(a: Used, b: Used) -> Iterator[str]:
    for name in dict.fromkeys((*a.options, *b.options)):
        yield from changed(f"{b.name}.{name}", _told(a.options, name), _told(b.options, name))
    if (a.distribution, a.version) != (b.distribution, b.version):
        yield f"{b.name} came with {a.distribution} {a.version}, now with {b.distribution} {b.version}"


def _told(options: Mapping[str, Any], name: str) -> Any:
    return options.get(name, "no such option")


def _all_used(record: Record) -> dict[str, Used]:
    """All backends of a record, by role and name."""
    parts = {"planner": (record.planner,), "grounder": record.grounders, "verifier": (record.verifier,)}
    attempts = () if record.verified is None else tuple(one.editor for one in record.verified.attempts)
    parts["editor"] = (record.editor, *record.helpers, *attempts)
    return {f"{role} {one.name}": one for role, several in parts.items() for one in several if one is not None}


def _name(used: Used | None) -> str:
    return "none" if used is None else used.name


def _names(used: Sequence[Used]) -> str:
    return ", ".join(one.name for one in used) or "none"


def _of_attempts(a: Record, b: Record) -> Iterator[str]:
    """Where a change that is in both plans was made again in one of the pictures, or otherwise."""
    was, now = _made_again(a), _made_again(b)
    for name in (one for one in map(what, b.plan.subtasks) if one in {what(other) for other in a.plan.subtasks}):
        yield from changed(f"{name}: made again", was.get(name, "no"), now.get(name, "no"))


def _made_again(record: Record) -> dict[str, str]:
    """By whom the changes were made again that are in the picture so."""
    found: dict[str, list[str]] = {}
    for one in record.verified.attempts if record.verified else ():
        if one.kept != "no":
            how = f"by hand with {one.editor.name}" if one.asked else f"with {one.editor.name}"
            found.setdefault(what(record.plan.subtasks[one.finding.subtask]), []).append(f"{how}, seed {one.seed}")
    return {name: ", then ".join(several) for name, several in found.items()}


def _of_findings(a: Record, b: Record) -> Iterator[str]:
    """What verifiers said otherwise of the same change."""
    was = {what(a.plan.subtasks[one.subtask]): one for one in (a.verified.findings if a.verified else ())}
    for finding in b.verified.findings if b.verified else ():
        name = what(b.plan.subtasks[finding.subtask])
        if name in was:
            yield from changed(f"{name}, as verified", was[name].verdict, finding.verdict)
