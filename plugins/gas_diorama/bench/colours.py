"""Colour changes and removals of the benchmark's scenes, one at a time: what an editor without a model can do.

The benchmark's edits mix them with changes of kind, ground and sky. Here each is a case of its own, with the exact
region, judged as everywhere: *right* when the target is the nearest rendering, *done* when the output is also nearer to
the exact result than half the way.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gas.backends.registry import Registry
from gas.errors import GasError
from gas.interfaces import EditJob
from gas.run.turns import edit_grounded
from gas.runtime import Runtime
from gas_diorama.bench.judge import Judge
from gas_diorama.world.cases import STRATA, Case, cases, plan_of
from gas_diorama.world.world import Edit, Thing

SORTS = ("colour", "remove")


@dataclass(frozen=True)
class Tried:
    """What became of one edit: its stratum and sort, the verdict, and the largest change outside its region."""

    case: str
    stratum: str
    sort: str
    right: bool
    done: bool
    nearest: str
    outside: int
    seconds: float


def sort_of(edit: Edit) -> str | None:
    """ "colour" for a thing that only changes its colour, "remove" for a removal, None for any other edit."""
    if edit.action == "remove":
        return "remove"
    same = isinstance(edit.source, Thing) and isinstance(edit.target, Thing) and edit.source.kind == edit.target.kind
    return "colour" if same else None


def alone(count: int, part: str = "test") -> Iterator[tuple[str, Case]]:
    """(sort, case) of every such edit among `cases(count, part)`, with that edit alone."""
    for case in cases(count, part):
        for index, edit in enumerate(case.edits):
            sort = sort_of(edit)
            if sort is not None:
                label = f"{case.name}-{index}"
                yield sort, replace(case, name=label, edits=(edit,), plan=plan_of(case.scene, [edit]))


def run(
    editor: str,
    count: int,
    part: str = "test",
    profile: str = "diorama",
    *,
    options: Mapping[str, Any] | None = None,
    grounded: bool = False,
    sorts: Sequence[str] = SORTS,
) -> list[Tried]:
    """Every edit of these `sorts` tried once with the registered editor `editor`, its options as the profile has them
    but for those in `options`; `grounded`: confined to its region.

    What the editor refuses is not right.
    """
    registry = Registry.discover()
    layers = [registry.profile(profile).layer(editor)]
    made = registry.create("editors", editor, dict(options or {}), Runtime(), below=layers)
    found = []
    for sort, case in alone(count, part):
        if sort not in sorts:
            continue
        judge = Judge(case.scene, case.edits)
        started = time.perf_counter()
        try:
            job = EditJob(judge.source, case.plan, case.regions(), 0, made.options)
            output = (edit_grounded(made, job) if grounded else made.edit(job)).image
        except GasError as error:
            found.append(Tried(case.name, case.stratum, sort, False, False, f"refused: {error.message}", 0, 0.0))
            continue
        seconds = time.perf_counter() - started
        (verdict,) = judge.verdicts(output)
        change = np.abs(output.astype(int) - judge.source)[~judge.regions[0]]
        outside = int(change.max(initial=0))
        found.append(
            Tried(case.name, case.stratum, sort, verdict.right, verdict.done, verdict.nearest, outside, seconds)
        )
    return found


def table(tried: Sequence[Tried]) -> str:
    """Shares for each sort and stratum, as lines of Markdown."""
    lines = [
        "| edit | stratum | of | right | done | changed outside (of 255) | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for sort in SORTS:
        for stratum in (*STRATA, "all"):
            own = [one for one in tried if one.sort == sort and stratum in (one.stratum, "all")]
            if not own:
                continue
            right, done = (100 * sum(flags) / len(own) for flags in ([o.right for o in own], [o.done for o in own]))
            outside, seconds = max(one.outside for one in own), float(np.mean([one.seconds for one in own]))
            lines.append(
                f"| {sort} | {stratum} | {len(own)} | {right:.0f} % | {done:.0f} % | {outside} | {seconds:.2f} |"
            )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table of one editor; --misses names the edits that were not right."""
    parser = argparse.ArgumentParser(prog="python -m gas_diorama.bench.colours", description=main.__doc__)
    parser.add_argument("--editor", default="retouch")
    parser.add_argument("--cases", type=int, default=400, help="edits of the strata to take them from")
    parser.add_argument("--part", default="test", choices=["test", "validation"])
    parser.add_argument("--misses", action="store_true")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of the editor; repeatable")
    parser.add_argument("--grounded", action="store_true", help="each edit confined to its region")
    parser.add_argument("--sort", choices=SORTS, action="append", help="only these edits; repeatable")
    chosen = parser.parse_args(arguments)
    options = dict(one.split("=", 1) for one in chosen.option)
    sorts = chosen.sort or SORTS
    tried = run(chosen.editor, chosen.cases, chosen.part, options=options, grounded=chosen.grounded, sorts=sorts)
    sys.stdout.write(table(tried) + "\n")
    if chosen.misses:
        for one in tried:
            if not one.right:
                sys.stdout.write(f"{one.case} ({one.sort}): {one.nearest}\n")


if __name__ == "__main__":
    main()
