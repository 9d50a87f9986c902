"""What a run took from the cache, in words and for `--json`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gas.plan.words import what
from gas.remedies import Kind, Setting
from gas_shell.words import flag_words

if TYPE_CHECKING:
    from gas.run.reuse.told import Told
    from gas.types import EditPlan


def before_edit(reused: Sequence[Told]) -> str:
    """The end of the line before a run: "; from the cache: plan (ollama) and regions (grounding-dino, sam)"."""
    return f"; {stages_line(reused)}" if reused else ""


def stages_line(reused: Sequence[Told]) -> str:
    """Which stages before the edit were reused."""
    parts = []
    for stage in ("plan", "regions"):
        if who := dict.fromkeys(one.by for one in reused if one.stage == stage and one.anew is None):
            parts.append(f"{stage} ({', '.join(who)})")
    return f"from the cache: {' and '.join(parts)}"


def reused_lines(
    reused: Sequence[Told], seed: int, plan: EditPlan, worded: Callable[[Kind], str] = flag_words
) -> Iterator[str]:
    """A line for each edit that was reused, one where these are all of `plan`, and a line for each that was made anew
    although the picture was edited before. `seed` is the run's; `worded` says how a setting is given."""
    kept = [one for one in reused if one.stage == "edit" and one.anew is None]
    for one in kept:
        yield f"from the cache: {', '.join(one.what)} ({one.by})"
    if {what(subtask) for subtask in plan.subtasks} <= {change for one in kept for change in one.what}:
        yield "no change had to be made: all of them are from the cache"
    for one in reused:
        if one.anew == "together":
            yield f"made anew: {one.by} makes its {len(one.what)} changes together, so that each depends on all"
    shifts = dict.fromkeys(one.shift for one in reused if one.anew == "seed")
    if len(shifts) == 1:
        then = worded(Setting("seed", seed + next(iter(shifts))))
        yield f"made anew: the seed is another one; with {then}, as before, what is unchanged would be reused"


def reused_data(reused: Sequence[Told]) -> dict[str, Any]:
    """The same for `--json`; empty where nothing is to be said."""
    return {"reused": [asdict(one) for one in reused]} if reused else {}
