"""Edits JPEG files of many kinds, and says what of each is left: `python -m gas.testing.jpeg [--mutants N] [FILE ...]`.

With files, these are edited (copies of them) instead; with `--cost` it is measured what 24 megapixels cost. Ends with 1
when a coefficient outside an edit has changed, or a file was treated otherwise than its kind should be.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gas.picture.jpeg.coefficients import is_installed
from gas.process import own_process
from gas.testing.jpeg.cost import SAMPLINGS, Cost, cost
from gas.testing.jpeg.kinds import Kind, kinds, mutants
from gas.testing.jpeg.survey import Surveyed, survey

_MOST_SHOWN = 20


def main(arguments: list[str]) -> int:
    """0 when every file is edited as promised, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m gas.testing.jpeg", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--mutants", type=int, default=0, metavar="N", help="edit N broken files besides")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--cost", action="store_true", help="seconds and memory of 24 megapixels, and nothing else")
    given = parser.parse_args(arguments)
    console = Console()
    # As a program of its own it may keep away what libjpeg writes to standard error.
    with own_process(), tempfile.TemporaryDirectory(prefix="gas-") as name:
        folder = Path(name)
        if given.cost:
            for sampling in SAMPLINGS:
                console.print(_costs(cost(sampling, folder)), markup=False, highlight=False)
            return 0
        whole = [Kind(path.name, "", path.read_bytes()) for path in given.files] or kinds()
        found = [survey(kind, folder) for kind in whole]
        console.print(_table(found))
        all_can_be_exact = is_installed() and not given.files
        wrong = [one for one in found if not one.right or (all_can_be_exact and _as(one) != one.kind.expected)]
        exact = sum(_as(one) == "exact" for one in found)
        console.print(f"{len(found)} files: {exact} exact, {len(wrong)} otherwise than they should be", markup=False)
        if given.mutants:
            broken = [survey(kind, folder) for kind in mutants(given.mutants, given.seed)]
            wrong += [one for one in broken if not one.right]
            counts = collections.Counter(_as(one) for one in broken)
            said = ", ".join(f"{count} {how}" for how, count in counts.most_common())
            console.print(f"{len(broken)} mutants: {said}; {sum(not one.right for one in broken)} wrong", markup=False)
    for one in wrong[:_MOST_SHOWN]:
        console.print(f"WRONG {one.kind.name}: {one}", markup=False)
    return 1 if wrong else 0


def _costs(one: Cost) -> str:
    memory = "" if one.memory is None else f", {one.memory / 1e6:.0f} MB of memory"
    return (
        f"{one.sampling}, {one.size / 1e6:.1f} MB: {one.wall:.2f} s ({one.processor:.2f} s of processor){memory}, "
        f"{one.method}"
    )


def _as(finding: Surveyed) -> str:
    return {"coefficients": "exact", "jpegtran": "exact"}.get(finding.method, finding.method)


def _table(found: list[Surveyed]) -> Table:
    table = Table(title="What an edit leaves of a JPEG file")
    for name in ("file", "encoder", "sampling", "coding", "edited", "how"):
        table.add_column(name)
    for name in ("coefficients", "pixels", "largest"):
        table.add_column(name, justify="right")
    for one in found:
        if one.mcus:
            counts = ("?" if one.coefficients is None else str(one.coefficients), str(one.pixels), str(one.largest))
            table.add_row(
                one.kind.name,
                one.kind.encoder,
                one.sampling,
                one.coding,
                f"{one.edited} of {one.mcus}",
                one.method,
                *counts,
            )
        else:
            table.add_row(one.kind.name, one.kind.encoder, "", "", "", f"{one.method}: {one.why}", "", "", "")
    table.caption = (
        "edited: MCUs with a pixel of the edit; coefficients and pixels: changed outside these (pixels: and one pixel "
        "around them); largest: difference of a pixel outside the edit, in levels"
    )
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
