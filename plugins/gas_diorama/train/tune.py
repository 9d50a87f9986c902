"""`python -m gas_diorama.train.tune`: tries options of an editor on validation cases, which no benchmark uses.

It prints how the null-text penalty sees this model, a table of what was tried, best first, and the lines of the profile
for the best.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gas.backends.profiles import Profile
from gas.backends.registry import Registry
from gas.interfaces import EditJob
from gas.runtime import Runtime
from gas_diorama.bench.bench import run
from gas_diorama.bench.rows import Row
from gas_diorama.bench.scores import Result, estimate
from gas_diorama.world.cases import Case, cases, single_cases
from gas_diorama.world.world import render

GRID: Mapping[str, Sequence[Any]] = {
    "guidance_scale": (3.0, 4.0, 5.0, 7.5),
    "step_size": (0.0488, 0.08, 0.12),
    "t_range": ((50, 948), (50, 700), (100, 700), (200, 800)),
    "steps": (100, 150, 200),
    "penalty_strength": (5.0, 10.0, 20.0),
}
"""What is tried by default."""


_SHOWN = {
    "subtasks_right": 1,
    "subtasks_done": 1,
    "ratio": 3,
    "all_done": 1,
    "raw_outside": 2,
    "network_rows": 0,
}
"""Columns of the table that is printed, with their digits."""


def trials(grid: Mapping[str, Sequence[Any]], count: int, seed: int) -> list[dict[str, Any]]:
    """`count` different points of the grid, drawn at random; all of them, in order, when there are no more."""
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    if count >= len(points):
        return points
    return [points[i] for i in sorted(np.random.default_rng(seed).choice(len(points), count, replace=False))]


def ranked(results: Sequence[Result]) -> list[str]:
    """Titles of rows, the best first: most subtasks done, then least raw error outside, then fewest network rows."""

    def merit(row: str) -> tuple[float, float, float]:
        own = [result for result in results if result.row == row]
        done, outside, rows = (estimate(own, column) for column in ("subtasks_done", "raw_outside", "network_rows"))
        return -(done.mean if done else 0.0), outside.mean if outside else np.inf, rows.mean if rows else np.inf

    return sorted(dict.fromkeys(result.row for result in results), key=merit)


def toml_lines(editor: str, options: Mapping[str, Any]) -> str:
    """The options as a table of a profile."""
    values = (f"{name} = {json.dumps(value)}" for name, value in options.items())
    return "\n".join([f"[options.{editor}]", *values])


def penalties(
    profile: Profile, registry: Registry, runtime: Runtime, some: Sequence[Case], strengths: Sequence[float], steps: int
) -> list[tuple[float, float, list[float]]]:
    """For each strength lambda the mean of gamma over subtasks and steps, and the share of steps by tenths of gamma.

    The penalty is applied to every subtask here, whatever its size.
    """
    found = []
    for strength in strengths:
        options = {"penalty_strength": strength, "penalty_area": 1.0, "penalty": True, "steps": steps}
        editor = registry.create("editors", "ground-a-score", options, runtime, below=[profile.layer("ground-a-score")])
        jobs = [EditJob(render(case.scene), case.plan, case.regions(), 0, editor.options) for case in some]
        logs = [
            term["gamma"] for edited in editor.edit_together(jobs) for term in edited.log["terms"] if "gamma" in term
        ]
        tenths = np.sum([log["histogram"] for log in logs], axis=0, dtype=float)
        found.append((strength, float(np.mean([log["mean"] for log in logs])), (tenths / tenths.sum()).tolist()))
    return found


def _value(text: str) -> Any:
    """JSON where it is that, with `a:b` for a range of two numbers, else the text itself."""
    try:
        return tuple(int(part) for part in text.split(":")) if ":" in text else json.loads(text)
    except ValueError:
        return text


def _axis(text: str) -> tuple[str, list[Any]]:
    name, equals, values = text.partition("=")
    if not equals or not values:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form option=value,value")
    return name, [_value(value) for value in values.split(",")]


def _say(row: str, done: int, total: int) -> None:
    sys.stderr.write(f"{done} of {total} {row}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints what was tried, best first, and the lines of the profile for the best."""
    parser = argparse.ArgumentParser(prog="python -m gas_diorama.train.tune", description=__doc__)
    parser.add_argument("--editor", default="ground-a-score")
    parser.add_argument("--profile", default="diorama", help="name, or path of a TOML file")
    parser.add_argument("--vary", type=_axis, action="append", help="option=value,value (a:b for a range); repeatable")
    parser.add_argument("--trials", type=int, default=12, help="points of the grid to try")
    parser.add_argument("--cases", type=int, default=16, help="validation cases, a multiple of four")
    parser.add_argument("--seed", type=int, default=0, help="which points are drawn")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of each edit: 0, 1, ...")
    parser.add_argument("--singles", type=int, default=0, help="validation edits by a single instruction beside them")
    parser.add_argument("--grounded", action="store_true", help="each subtask confined to its exact region")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--gamma", type=int, default=0, metavar="STEPS", help="look at the penalty for so many steps")
    parser.add_argument("--out", type=Path, default=Path("runs/tune"), help="folder; what is there is resumed")
    chosen = parser.parse_args(arguments)
    registry, runtime = Registry.discover(), Runtime()
    profile = registry.profile(chosen.profile)
    some = [*cases(chosen.cases, "validation"), *single_cases(chosen.singles, "validation")]
    if chosen.gamma:
        small = [case for case in some if case.stratum == "small"]
        for strength, mean, tenths in penalties(profile, registry, runtime, small, (1, 5, 20), chosen.gamma):
            shares = " ".join(f"{100 * share:4.0f}" for share in tenths)
            sys.stdout.write(f"lambda {strength:4g}  mean gamma {mean:.3f}  % of steps by tenths of gamma: {shares}\n")
    grid = dict(chosen.vary or GRID)
    rows = {json.dumps(options): options for options in trials(grid, chosen.trials, chosen.seed)}
    report = run(
        [Row(title, chosen.editor, options, grounded=chosen.grounded) for title, options in rows.items()],
        out=chosen.out,
        resume=True,
        profile=profile,
        registry=registry,
        runtime=runtime,
        chosen=some,
        seeds=range(chosen.seeds),
        batch=chosen.batch,
        progress=_say,
    )
    best = ranked(report.results)
    for title in best:
        own = [result for result in report.results if result.row == title]
        shown = []
        for column, digits in _SHOWN.items():
            found = estimate(own, column)
            shown.append(f"{column} {found.mean:.{digits}f}" if found else f"{column} -")
        strata = []
        for stratum in dict.fromkeys(result.stratum for result in own):
            done = estimate([result for result in own if result.stratum == stratum], "subtasks_done")
            strata.append(f"{stratum} {done.mean:.0f}" if done else stratum)
        sys.stdout.write(f"{'  '.join(shown)}  ({', '.join(strata)})  {title}\n")
    sys.stdout.write(f"\n{toml_lines(chosen.editor, rows[best[0]])}\n")


if __name__ == "__main__":
    main()
