"""The benchmark's results as a table for people, as JSON for machines, and as a contact sheet to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gas_diorama.bench.scores import ALL, COLUMNS, MISS_COLUMNS, PICTURE_COLUMNS, Estimate, Summary

if TYPE_CHECKING:
    from rich.console import RenderableType

Picture = NDArray[np.uint8]

_DIGITS = {
    "subtasks_right": 0,
    "subtasks_done": 0,
    "all_done": 0,
    "raw_outside": 2,
    "pasted_outside": 2,
    "seconds": 1,
    "network_rows": 0,
}
_DIGITS |= {"ratio": 2, "clip_rows": 0, "generator_rows": 0}
_SELDOM = {"clip_rows", "generator_rows", "clip_i", "clip_t", "clip_region"}
_DIGITS |= {"l1": 4, "l2": 4, "clip_i": 3, "clip_t": 3, "clip_region": 3}
_DIGITS |= dict.fromkeys(MISS_COLUMNS, 0)
_BESIDE_MISSES = {name: COLUMNS[name] for name in ("subtasks_right", "subtasks_done")} | MISS_COLUMNS
_BESIDE_SCORES = {"subtasks_done": COLUMNS["subtasks_done"], **PICTURE_COLUMNS}
_BESIDE_SCORES |= {name: COLUMNS[name] for name in ("raw_outside", "pasted_outside", "seconds")}


def as_json(summary: Summary) -> dict[str, Any]:
    """The summary as plain values: stratum, row, "value" or "difference", column, then mean, low and high."""
    return {
        stratum: {
            row: {kind: {column: asdict(found) for column, found in columns.items()} for kind, columns in kinds.items()}
            for row, kinds in rows.items()
        }
        for stratum, rows in summary.items()
    }


def tables(
    summary: Summary, reference: str, actions: Summary | None = None, grounding: Summary | None = None
) -> RenderableType:
    """One table for each stratum, all cases first: each value with its 95 % interval, and the share of subtasks done
    minus that of the row `reference`. Then why subtasks are not done, and the scores of finished pictures, of all cases
    and of each action in `actions` (edits by a single instruction), where there are any: means alone, the intervals are
    in the JSON. Last, from `grounding`, grounded rows beside their plain ones."""
    from rich.console import Group

    found: list[Any] = []
    for stratum, rows in summary.items():
        found += [_table("all cases" if stratum == ALL else stratum, rows, COLUMNS, reference), ""]
    if ALL in summary:
        found += [
            _table("what is not done, and why (% of subtasks)", summary[ALL], _BESIDE_MISSES, intervals=False),
            "",
        ]
    groups = {"finished pictures": summary.get(ALL, {})}
    groups |= {f"single instructions: {action}": rows for action, rows in (actions or {}).items()}
    for title, rows in groups.items():
        if any(column in kinds["value"] for kinds in rows.values() for column in PICTURE_COLUMNS):
            found += [_table(f"{title} (means)", rows, _BESIDE_SCORES, intervals=False), ""]
    for title, rows in (grounding or {}).items():
        found += [_beside_plain(f"edits of {title}: plain and grounded", rows), ""]
    return Group(*found[:-1])


def _beside_plain(title: str, rows: Mapping[str, Any]) -> RenderableType:
    """A line for each row, and how grounded ones differ from the plain ones."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("editor")
    shown = ("subtasks_done", "ratio", "raw_outside")
    for column in shown:
        table.add_column(COLUMNS[column], justify="right")
        table.add_column("minus plain", justify="right")
    for row, kinds in rows.items():
        cells = []
        for column in shown:
            against = kinds["difference"].get(column)
            cells.append(_shown(kinds["value"].get(column), _DIGITS[column]))
            cells.append("" if against is None else _shown(against, _DIGITS[column], signed=True))
        table.add_row(row, *cells)
    return table


def _table(
    title: str,
    rows: Mapping[str, Any],
    columns: Mapping[str, str],
    reference: str | None = None,
    intervals: bool = True,
) -> RenderableType:
    """A line for each row; where there is a `reference` among them, the difference from it in the last column. Counts
    of networks that no row uses, and scores by a CLIP that is not there, are left out."""
    from rich.table import Table

    used = {one for kinds in rows.values() for one in kinds["value"]}
    columns = {one: heading for one, heading in columns.items() if one in used or one not in _SELDOM}
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("editor")
    for heading in columns.values():
        table.add_column(heading, justify="right")
    if reference in rows:
        table.add_column(f"done, minus {reference}", justify="right")
    for row, kinds in rows.items():
        cells = [_shown(kinds["value"].get(column), _DIGITS[column], intervals=intervals) for column in columns]
        if reference in rows:
            against = kinds["difference"].get("subtasks_done")
            cells.append("" if row == reference else _shown(against, 0, signed=True))
        table.add_row(row, *cells)
    return table


def _shown(found: Estimate | None, digits: int, signed: bool = False, intervals: bool = True) -> str:
    if found is None:
        return "-"
    sign = "+" if signed else ""
    if not intervals:
        return f"{found.mean:{sign}.{digits}f}"
    return f"{found.mean:{sign}.{digits}f} [{found.low:{sign}.{digits}f}, {found.high:{sign}.{digits}f}]"


def contact_sheet(
    titles: Sequence[str], lines: Mapping[str, Sequence[Picture | None]], marks: Mapping[str, Sequence[str]]
) -> Picture:
    """A picture of pictures, uint8 (H, W, 3): a line for each entry of `lines` (its key is written above it), a column
    for each title; None leaves a place empty. `marks` are short notes to write under the pictures."""
    from PIL import Image, ImageDraw, ImageFont

    side = max(picture.shape[0] for pictures in lines.values() for picture in pictures if picture is not None)
    gap, text = 6, 15
    font = ImageFont.load_default(11)
    width = gap + len(titles) * (side + gap)
    sheet = Image.new("RGB", (width, 2 * text + len(lines) * (side + 2 * text + gap)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        _write(draw, title, (gap + column * (side + gap), 2), side, font, lines=2)
    for number, (label, pictures) in enumerate(lines.items()):
        top = 2 * text + number * (side + 2 * text + gap)
        draw.text((gap, top), label, fill="black", font=font)
        for column, picture in enumerate(pictures):
            left = gap + column * (side + gap)
            if picture is not None:
                sheet.paste(Image.fromarray(picture), (left, top + text))
            draw.text((left, top + text + side + 1), marks[label][column], fill="black", font=font)
    return np.asarray(sheet)


def _write(draw: Any, words: str, corner: tuple[int, int], width: int, font: Any, lines: int) -> None:
    """`words` broken into at most so many lines of `width` pixels."""
    rows = [""]
    for word in words.split():
        longer = f"{rows[-1]} {word}".strip()
        if rows[-1] and draw.textlength(longer, font=font) > width and len(rows) < lines:
            rows.append(word)
        else:
            rows[-1] = longer
    draw.multiline_text(corner, "\n".join(rows), fill="black", font=font, spacing=1)
