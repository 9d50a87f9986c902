"""Where a command's words go: data to standard output, people's text to standard error, one envelope for --json."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.segment import Segment

from gas.characters import visible
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


class SafeConsole(Console):
    """A console that obeys nothing in what it prints: what comes from files, models and services may hold commands to
    a terminal. They are printed as `\\u001b`; colours and bars are rich's own."""

    def render(self, *arguments: Any, **named: Any) -> Iterable[Segment]:
        for segment in super().render(*arguments, **named):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


def people() -> Console:
    """A console on standard error, for people; colours only on a terminal and without NO_COLOR."""
    return SafeConsole(stderr=True, highlight=False)


def output_console(**options: Any) -> Console:
    """A console on standard output, for data that people read."""
    return SafeConsole(file=data(), highlight=False, **options)


def print_json(command: str, values: Any) -> None:
    """One versioned JSON envelope on standard output, with all that was warned of until now."""
    _print({"gas": ENVELOPE_VERSION, "command": command, "data": values, "warnings": list(_said)})


def print_text(text: str) -> None:
    """Lines of data on standard output, as they are but for hidden characters, which are escaped."""
    stream = data()
    stream.write(visible(text if text.endswith("\n") else text + "\n"))
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
    output_console(width=None if data().isatty() else 240).print(table)


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
    console = SafeConsole(stderr=True, highlight=False, soft_wrap=True)
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
