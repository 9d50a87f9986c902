"""`python -m gas_editors.retouch.trial`: the table of recolourings, and with --sheets the pictures to look at."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gas.backends.registry import Registry
from gas.runtime import Runtime
from gas_editors.retouch.trial import sheets
from gas_editors.retouch.trial.measure import LEAST_CORRELATION, MOST_COLOUR, Cut, Figures, cut, made
from gas_editors.retouch.trial.pictures import cuts, load, mask_of, missing, recolourings

HEADS = ("picture", "thing", "by", "change", "since", "hue error", "ΔE00 without L", "lightness r", "outside", "s")


def table(found: Sequence[Figures]) -> str:
    """The figures as lines of Markdown, and what they come to, for all and for what was held out."""
    lines = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
    for one in found:
        case = one.case
        turned = "–" if np.isnan(one.hue) else f"{one.hue:.1f}°"
        change = f"{case.source or 'all'} → {case.target}"
        cells = (case.picture, case.thing, case.how, change, case.since, turned)
        figures = (f"{one.colour:.1f}", f"{one.correlation:.3f}", str(one.outside), f"{one.seconds:.1f}")
        lines.append(f"| {' | '.join((*cells, *figures))} |")
    for title, some in (("all", found), ("held out", [one for one in found if one.case.since == "held out"])):
        if some:
            lines += ["", _summary(title, some)]
    return "\n".join(lines)


def _summary(title: str, found: Sequence[Figures]) -> str:
    hues = [one.hue for one in found if not np.isnan(one.hue)]
    near = 100 * sum(one.colour <= MOST_COLOUR for one in found) / len(found)
    alike = 100 * sum(one.correlation >= LEAST_CORRELATION for one in found) / len(found)
    return (
        f"{title} ({len(found)}): hue error at most {max(hues):.1f}°; ΔE00 without lightness at most {MOST_COLOUR:g} "
        f"in {near:.0f} %; lightness correlation at least {LEAST_CORRELATION:g} in {alike:.0f} %, the least "
        f"{min(one.correlation for one in found):.3f}; largest change outside {max(one.outside for one in found)}"
    )


def cut_table(found: Sequence[Cut]) -> str:
    """The cuts as lines of Markdown."""
    lines = ["| picture | thing | IoU | s | |", "|---|---|---|---|---|"]
    lines += [f"| {one.picture} | {one.thing} | {one.iou:.2f} | {one.seconds:.1f} | {one.note} |" for one in found]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table of all recolourings, with --cuts that of the cuts by `grabcut`; --sheets FOLDER writes the
    pictures of each to look at."""
    parser = argparse.ArgumentParser(prog="python -m gas_editors.retouch.trial", description=main.__doc__)
    parser.add_argument("--sheets", type=Path, metavar="FOLDER")
    parser.add_argument("--only", help="the pictures of one name")
    parser.add_argument("--cuts", action="store_true")
    chosen = parser.parse_args(arguments)
    if chosen.cuts:
        _cuts(chosen.sheets)
        return
    found, rows = [], []
    for case in recolourings():
        if chosen.only and case.picture != chosen.only:
            continue
        figures, pictures = made(case)
        found.append(figures)
        if chosen.sheets is not None:
            title = f"{case.picture}, {case.thing} ({case.how}): {case.source or 'all'} to {case.target}"
            rows.append(sheets.row([pictures.before, sheets.shown(pictures.selection), pictures.after], title))
    sys.stdout.write(table(found) + "\n")
    if missing():
        sys.stdout.write(f"\nnot installed here: {', '.join(missing())}\n")
    if chosen.sheets is not None:
        sheets.write(rows, chosen.sheets, "recolour")


def _cuts(folder: Path | None) -> None:
    grounder = Registry.discover().create("grounders", "grabcut", {}, Runtime())
    found = [cut(grounder, picture, thing) for picture, thing in cuts()]
    sys.stdout.write(cut_table(found) + "\n")
    if folder is not None:
        rows = []
        for one in found:
            image = load(one.picture)
            drawn = mask_of(one.picture, one.thing, (image.shape[1], image.shape[0]))
            title = f"{one.picture}, {one.thing}: IoU {one.iou:.2f}"
            rows.append(sheets.row([image, sheets.shown(one.mask), sheets.shown(drawn)], title))
        sheets.write(rows, folder, "cut")


if __name__ == "__main__":
    main()
