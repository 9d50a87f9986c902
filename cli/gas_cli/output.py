"""Where a command's words go: data to standard output, people's text to standard error, one envelope for --json."""

from __future__ import annotations

import json
import os
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
_LAST = 24
"""Characters that the last column of a table may be broken to; a narrower one is no longer read as a table."""

_data: TextIO | None = None
_quiet = False
_offline = False
_said: list[str] = []  # the warnings of this command, which the envelope of --json holds too


@contextmanager
def command(stream: TextIO) -> Iterator[None]:
    """Within it one command runs, whose data go to `stream`; the warnings of one before are forgotten."""
    global _data, _quiet, _offline
    _data, _quiet, _offline = stream, False, False
    _said.clear()
    try:
        yield
    finally:
        _data, _quiet, _offline = None, False, False
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


def choose(*, quiet: bool, offline: bool) -> None:
    """What was asked of the whole command: to say nothing but warnings, errors and data; to stay off the network."""
    global _quiet, _offline
    _quiet, _offline = quiet, offline


@contextmanager
def libraries_offline() -> Iterator[None]:
    """Tells libraries, which look at it when they are imported, to stay off the network meanwhile."""
    name = "HF_HUB_OFFLINE"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def offline() -> bool:
    """Whether the command is to stay off the network."""
    return _offline


def people() -> Console:
    """A console on standard error, for people; colours only on a terminal and without NO_COLOR. A quiet command's
    prints nothing."""
    return SafeConsole(stderr=True, highlight=False, quiet=_quiet)


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
    """A table on standard output; where that is no terminal a row is one line, for grep and the like. On a terminal
    that is too narrow for it each row is a paragraph."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    lines = [tuple(row) for row in rows]
    # A column that is empty everywhere takes room from the others.
    used = [i for i, column in enumerate(columns) if any(row[i] for row in lines) or not lines]
    console = output_console(width=None if data().isatty() else 240)
    if data().isatty() and _wide(columns, lines, used) > console.width:
        _print_paragraphs(console, title, columns, lines, used)
        return
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i in used:
        table.add_column(columns[i], no_wrap=i == used[0], overflow="fold")
    for row in lines:
        table.add_row(*(Text(row[i]) for i in used))
    console.print(table)


def _wide(columns: Sequence[str], rows: Sequence[Sequence[str]], used: Sequence[int]) -> int:
    """How many characters a table needs where only its last column is broken, into lines of _LAST."""
    widths = [max(len(columns[i]), *(len(row[i]) for row in rows)) if rows else len(columns[i]) for i in used]
    return sum(widths[:-1]) + min(widths[-1], _LAST) + 3 * len(used)


def _print_paragraphs(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], used: Sequence[int]
) -> None:
    """Each row as a paragraph: its first cell, below it the others after their columns' names, the last one alone."""
    import textwrap

    console.print(title, style="italic", markup=False)
    for row in rows:
        console.print(row[used[0]], style="bold", markup=False, soft_wrap=True)
        middle = ", ".join(f"{columns[i]}: {row[i]}" for i in used[1:-1] if row[i])
        last = row[used[-1]] if len(used) > 1 else ""
        for text in (middle, last):
            for line in textwrap.wrap(text, console.width - 2, break_on_hyphens=False):
                console.print(f"  {line}", markup=False)


def warn(console: Console, sentences: Iterable[str]) -> None:
    """Prints warnings for people, each once in a command, and keeps them for `print_json`."""
    for sentence in map(plain, sentences):
        if sentence in _said:
            continue
        _said.append(sentence)
        if console.quiet:
            console = SafeConsole(stderr=True, highlight=False)
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
