"""A finding in words: what was asked for, whether it is there, how that is known, and what to do about what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gas.plan.words import what
from gas.remedies import Given, Option, Remedy, Setting

if TYPE_CHECKING:
    from collections.abc import Collection

    from gas.types import Evidence, Failure, Finding, Subtask

_TRIES = Setting("tries", 3)
Kept = Literal["accepted", "best", "no"]
_FAILURES: dict[Failure, str] = {
    "unchanged": "unchanged",
    "wrong kind": "something else is there",
    "wrong colour": "it has another colour",
    "displaced": "it is in another place",
    "erased": "nothing is there",
    "blurred": "what is there is blurred",
    "noise": "the place is noise",
    "outside": "the picture changed elsewhere",
    "refused": "the editor gave up",
}


def answer(finding: Finding) -> str:
    """The answer alone: "yes (detector 0.87)", "no, unchanged (detector 0.12)"."""
    said = {"done": "yes", "not done": "no", "cannot tell": "cannot tell"}[finding.verdict]
    if finding.failure is not None:
        said += f", {_FAILURES[finding.failure]}"
    known = _known(finding.evidence[0]) if finding.evidence else ""
    return said + (f" ({known})" if known else "")


def sentence(finding: Finding, subtask: Subtask) -> str:
    """One line: "a blue car in the place of a red car: yes (detector 0.87)", "…: no, unchanged (detector 0.12)"."""
    return f"{what(subtask)}: {answer(finding)}"


def attempt_sentence(editor: str, finding: Finding, kept: Kept, subtask: Subtask | None = None, *, asked: bool) -> str:
    """What came of another attempt: "tried again with sdedit: a blue car in the place of a red car: yes; kept". Without
    `subtask` it is not named; `asked`: a person asked for it, and kept it."""
    known = finding.evidence or finding.verdict != "cannot tell"
    told = ": ".join([*([what(subtask)] if subtask else []), *([answer(finding)] if known else [])])
    how = f"{'made again by hand' if asked else 'tried again'} with {editor}"
    end = {"accepted": "kept", "best": "kept, the best of all", "no": "not kept"}[kept]
    return "; ".join([f"{how}: {told}" if told else how, end])


def evidence_sentence(one: Evidence) -> str:
    """One line of how it is known: "detector: 'a blue car' 0.87, at least 0.30"."""
    told = f"{one.by}: {one.asked}" if one.asked else f"{one.by}:"
    if one.value is not None:
        told += f" {one.value:.2f}"
        if one.threshold is not None:
            told += f", {'at most' if one.at_most else 'at least'} {one.threshold:.2f}"
    return f"{told} ({one.note})" if one.note and one.value is not None else f"{told} {one.note}".rstrip()


def remedy(
    failure: Failure | None,
    subtask: Subtask,
    editor: str,
    options: Collection[str] = ("guidance_scale", "steps"),
    further: Setting = _TRIES,
) -> Remedy:
    """What to try for a subtask that is not done, with `editor` as it was run last, which has `options`. `further`: the
    setting by which other editors may try it."""
    region = Given(subtask.region_phrase or subtask.target, ("box", "mask"))
    tries, others = further, "let other editors try it ({tries})"
    if failure == "unchanged" and "guidance_scale" in options:
        stronger = Option({"guidance_scale": None}, editor)
        return Remedy(
            "stronger_or_other", f"{others}, or raise the guidance ({{stronger}})", tries=tries, stronger=stronger
        )
    if failure == "displaced":
        return Remedy("draw_region", "draw where it is to be: {region}", region=region)
    if failure == "outside":
        return Remedy("confine", "confine each change to its region: {grounded}", grounded=Setting("grounded", True))
    if failure in ("blurred", "noise") and "steps" in options:
        steps = Option({"steps": None}, editor)
        return Remedy("more_steps", f"raise the steps ({{steps}}), or {others}", steps=steps, tries=tries)
    if failure in ("unchanged", "wrong kind", "wrong colour"):
        return Remedy("other_editor", f"{others}, or name another: {{other}}", tries=tries, other=Setting("editor"))
    return Remedy("larger_or_other", f"draw a larger region ({{region}}), or {others}", region=region, tries=tries)


def _known(one: Evidence) -> str:
    return one.by if one.value is None else f"{one.by} {one.value:.2f}"
