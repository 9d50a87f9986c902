"""The list of what is to be done: lines of JSON, CSV, Parquet, or a folder of pictures with one instruction."""

from __future__ import annotations

import csv
import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gas.batch import places
from gas.batch.ledger import FOLDER as LEDGER
from gas.batch.rows import COLUMNS, MAX_ROW_BYTES, Row, parse_cells, parse_line, parse_row
from gas.errors import InputRefused, ModelUnavailable, UsageError
from gas.picture.containers import SUFFIXES
from gas.remedies import Command, Remedy, install

MAX_ROWS, MAX_SHOWN, MAX_BYTES = 1_000_000, 20, 2**30
PICTURES = {suffix for suffixes in SUFFIXES.values() for suffix in suffixes} | {".gif"}


@dataclass(frozen=True)
class Manifest:
    """Rows, each with the words for where it stands ("line 3"), and the folder that their paths are relative to.
    `own` says that the user has said every row himself, by a program or the command line."""

    name: str
    root: str
    rows: Sequence[tuple[str, Row]]
    own: bool = False


def read(source: str, *, instruction: str = "", but: Path | None = None) -> Manifest:
    """The manifest in the file `source`, by its extension (.jsonl, .csv, .parquet); or every picture in the folder
    `source` and those below it, each with the same `instruction`. What lies in the folder `but`, or in the output of
    another batch, is left out.

    InputRefused (exit 3) lists what is wrong by lines, before anything is done; UsageError (exit 2) for an extension
    that is unknown, and for an instruction where it does not belong; ModelUnavailable (exit 6) for a missing package.
    """
    if not places.is_url(source) and Path(source).is_dir():
        return _folder(Path(source), instruction, but)
    kind = Path(source).suffix.lower()
    if kind in PICTURES:
        raise UsageError(
            f"{source} is one picture",
            Remedy("one_picture", "use {edit} for one, or name a folder or a list", edit=Command("edit", source)),
        )
    readers: dict[str, Callable[[Path], Iterator[tuple[str, Callable[[], Row]]]]] = {
        ".jsonl": _lines, ".ndjson": _lines, ".csv": _csv, ".parquet": _parquet,
    }  # fmt: skip
    if (instruction.strip() or not kind) and not places.is_url(source) and not Path(source).exists():
        raise UsageError(f"{source}: there is no such folder", "check the name")
    if instruction.strip():
        raise UsageError(f"{source} is not a folder, so it takes no instruction", "its rows say what to do")
    if kind not in readers:
        raise UsageError(f"manifest {source!r}: unknown extension {kind!r}", "use .jsonl, .csv, .parquet, or a folder")
    root = posixpath.dirname(source) if places.is_url(source) else str(Path(source).absolute().parent)
    with places.local(source) as path:
        name = posixpath.basename(source) if places.is_url(source) else Path(source).name
        return Manifest(name, root, checked(name, readers[kind](path)))


def of_items(items: Iterable[Mapping[str, Any] | Row]) -> Manifest:
    """The manifest that a program's own rows make; paths are relative to the current folder. Errors as `read`."""

    def make(item: Mapping[str, Any] | Row, where: str) -> Row:
        if isinstance(item, Row):
            return item
        return parse_row({n: os.fspath(v) if isinstance(v, os.PathLike) else v for n, v in item.items()}, where)

    def rows() -> Iterator[tuple[str, Callable[[], Row]]]:
        for number, item in enumerate(items, 1):
            where = f"item {number}"
            yield where, lambda item=item, where=where: make(item, where)  # type: ignore[misc]

    return Manifest("items", str(Path.cwd()), checked("items", rows()), own=True)


def checked(name: str, rows: Iterable[tuple[str, Callable[[], Any]]]) -> list[tuple[str, Any]]:
    """What each of `rows` makes, with where it stands. InputRefused (exit 3) lists all that cannot be used."""
    found: list[tuple[str, Any]] = []
    wrong: list[InputRefused] = []
    for where, make in rows:
        if len(found) >= MAX_ROWS:
            raise InputRefused(f"{name}: has more than {MAX_ROWS} rows", "make several manifests of it")
        try:
            found.append((where, make()))
        except InputRefused as error:
            wrong.append(error)
    if wrong:
        more = f"\n  and {len(wrong) - MAX_SHOWN} more" if len(wrong) > MAX_SHOWN else ""
        told = "".join(f"\n  {error.message}" for error in wrong[:MAX_SHOWN])
        rows_of = "one row" if len(wrong) == 1 else f"{len(wrong)} rows"
        raise InputRefused(f"{name}: {rows_of} cannot be used, so nothing was done{told}{more}", wrong[0].hint)
    if not found:
        raise InputRefused(f"{name}: holds no rows", f"columns: {', '.join(COLUMNS)}")
    return found


def _folder(folder: Path, instruction: str, but: Path | None) -> Manifest:
    if not instruction.strip():
        raise UsageError(
            f"{folder} is a folder, and no instruction is given", 'say what to change, such as "make the sky pink"'
        )
    left_out = None if but is None else os.path.realpath(but)
    found = []
    for parent, below, names in os.walk(folder):
        kept = [name for name in below if not name.startswith(".")]
        kept = [name for name in kept if os.path.realpath(os.path.join(parent, name)) != left_out]
        below[:] = sorted(name for name in kept if not _is_output(Path(parent, name)))
        pictures = (name for name in names if Path(name).suffix.lower() in PICTURES and not name.startswith("."))
        found += [os.path.relpath(os.path.join(parent, name), folder) for name in sorted(pictures)]
    rows = ((name, lambda name=name: parse_row({"image": name, "instruction": instruction}, name)) for name in found)
    if not found:
        raise InputRefused(f"{folder}: holds no pictures", f"extensions: {', '.join(sorted(PICTURES))}")
    return Manifest(folder.name, str(folder.absolute()), checked(folder.name, rows))


def _is_output(folder: Path) -> bool:
    """Whether the folder is the output of another batch: what is edited is not edited again."""
    return any((folder / LEDGER).glob("part-*.jsonl"))


def _lines(path: Path) -> Iterator[tuple[str, Callable[[], Row]]]:
    for number, line in _text_lines(path):
        if line.strip():
            yield f"line {number}", lambda line=line, number=number: parse_line(line, f"line {number}")  # type: ignore[misc]


def _csv(path: Path) -> Iterator[tuple[str, Callable[[], Row]]]:
    csv.field_size_limit(MAX_ROW_BYTES)
    reader = csv.reader((line for _, line in _text_lines(path)), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        begins = reader.line_num + 1
        for cells in reader:
            where, begins = f"line {begins}", reader.line_num + 1
            if any(cell.strip() for cell in cells):
                yield where, lambda cells=cells, where=where: _cells(header, cells, where)  # type: ignore[misc]
    except csv.Error as error:
        raise InputRefused(f"{path.name}: line {reader.line_num}: {error}", 'write CSV with commas and "…"') from None


def _cells(header: Sequence[str], cells: Sequence[str], where: str) -> Row:
    if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
        raise InputRefused(
            f"{where}: has {len(cells)} cells under {len(header)} columns", "quote cells that hold commas"
        )
    return parse_cells(dict(zip(header, cells, strict=False)), where)


def _parquet(path: Path) -> Iterator[tuple[str, Callable[[], Row]]]:
    try:
        from pyarrow import parquet
        from pyarrow.lib import ArrowException
    except ImportError:
        raise ModelUnavailable(
            "Parquet needs the package pyarrow, which is missing", install("gas-edit[batch]")
        ) from None
    number = 0
    try:
        with parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=1000):
                for values in batch.to_pylist():
                    number += 1
                    where = f"row {number}"
                    yield where, lambda values=values, where=where: parse_cells(values, where)  # type: ignore[misc]
    except (ArrowException, OSError) as error:
        raise InputRefused(f"{path.name}: cannot be read as Parquet: {error}", "write it again") from None


def _text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file with their numbers, from 1."""
    with _open(path) as stream:
        for number, data in enumerate(stream, 1):
            if len(data) > MAX_ROW_BYTES:
                raise InputRefused(
                    f"{path.name}: line {number} is longer than {MAX_ROW_BYTES} bytes", "is it a manifest?"
                )
            try:
                yield number, data.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputRefused(
                    f"{path.name}: line {number} is not UTF-8 text (byte {error.start})", "save it as UTF-8"
                ) from None


def _open(path: Path) -> Any:
    from gas import files

    stream = files.open_regular(path)
    if os.fstat(stream.fileno()).st_size > MAX_BYTES:
        stream.close()
        raise InputRefused(f"{path.name}: is longer than {MAX_BYTES} bytes", "is it a manifest?")
    return stream
