"""Where a command's words go: data to standard output, people's text to standard error, one envelope for --json."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from gas.errors import GasError
from gas.notes import plain
from gas_cli import wording

ENVELOPE_VERSION = 1

_data: TextIO | None = None
_said: list[str] = []  # the warnings of this command, which the envelope of --json holds too


@contextmanager
def command(stream: TextIO) -> Iterator[None]:
    """Within it one command runs, whose data go to `stream`; the warnings of one before are forgotten."""
    global _data
    _data = stream
    _said.clear()
    try:
        yield
    finally:
        _data = None
        _said.clear()


def data() -> TextIO:
    """The stream for data: standard output, also when a plugin has put something else in its place."""
    return sys.stdout if _data is None else _data


def people() -> Console:
    """A console on standard error, for people; colours only on a terminal and without NO_COLOR."""
    return Console(stderr=True, highlight=False)


def print_json(command: str, values: Any) -> None:
    """One versioned JSON envelope on standard output, with all that was warned of until now."""
    _print({"gas": ENVELOPE_VERSION, "command": command, "data": values, "warnings": list(_said)})


def print_text(text: str) -> None:
    """A line of data on standard output, as it is."""
    stream = data()
    stream.write(text if text.endswith("\n") else text + "\n")
    stream.flush()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on standard output; where that is no terminal a row is one line, for grep and the like."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, no_wrap=i == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    stream = data()
    Console(file=stream, highlight=False, width=None if stream.isatty() else 240).print(table)


def warn(console: Console, sentences: Iterable[str]) -> None:
    """Prints warnings for people, each once in a command, and keeps them for `print_json`."""
    for sentence in map(plain, sentences):
        if sentence in _said:
            continue
        _said.append(sentence)
        console.print("[yellow]warning:[/] ", end="")
        console.print(sentence, markup=False, soft_wrap=True)


def short(path: Path) -> str:
    """A path as people would type it here: without the current folder in front."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def print_error(error: GasError, *, as_json: bool) -> None:
    """What went wrong and what to do next, in one or two lines on standard error; with --json an envelope besides."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("[red]error:[/] ", end="")
    console.print(error.message, markup=False)
    remedy = wording.remedy(error)
    if remedy:
        console.print(remedy, markup=False)
    if as_json:
        problem = {
            "exit_code": error.exit_code,
            "message": error.message,
            "remedy": remedy,
            "remedy_code": error.hint.code,
            "remedy_arguments": error.hint.arguments(),
        }
        _print({"gas": ENVELOPE_VERSION, "error": problem, "warnings": list(_said)})


def _print(value: Any) -> None:
    print_text(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2))
