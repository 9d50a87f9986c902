"""Nothing that is printed is a command to a terminal, wherever its text came from."""

from __future__ import annotations

import io
import json
import os
from typing import Any

import pytest
from rich.text import Text

from gas.errors import UsageError
from gas_cli import output, run

# Clears the screen, writes a title, C1's own way to begin a command, reverses what follows.
EVIL = "dog\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp"
SEEN = r"dog\u001b[2J\u001b]0;owned\u0007\u009b31m\u202egnp"


def bare(text: str) -> bool:
    return not any((ord(one) < 32 and one != "\n") or 127 <= ord(one) < 160 or one == "\u202e" for one in text)


def test_sentences_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    console = output.people()
    console.print(EVIL, markup=False, soft_wrap=True)
    output.warn(console, [EVIL])
    said = capsys.readouterr().err
    assert bare(said) and r"dog\u001b[2J\u001b]0;owned" in said and "warning: dog" in said


def test_colours_are_kept_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = io.StringIO()
    console = output.SafeConsole(file=stream, force_terminal=True, color_system="standard")
    console.print(Text("red\x1b[2J", "red"))
    assert stream.getvalue() == "\x1b[31mred\\u001b[2J\x1b[0m\n"


def test_bars_print_what_they_are_about_safely() -> None:
    from rich.progress import Progress, TextColumn

    stream = io.StringIO()
    console = output.SafeConsole(file=stream, force_terminal=True, color_system=None)
    with Progress(TextColumn("{task.description}", markup=False), console=console) as bar:
        bar.add_task("dog\x1b]0;owned", total=1)
    assert "\x1b]" not in stream.getvalue() and r"dog\u001b]" in stream.getvalue()


def test_errors_and_their_envelope(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_error(UsageError(EVIL, EVIL), as_json=True)
    said = capsys.readouterr()
    assert bare(said.err) and bare(said.out) and r"\u001b[2J" in said.err
    assert json.loads(said.out)["error"]["message"] == EVIL


def test_data_and_tables(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_text(EVIL)
    output.print_json("x", {EVIL: EVIL})
    output.print_table("t\x9b", ("a\x9b", "b"), [(EVIL, "b")])
    output.output_console().print(EVIL, markup=False)
    said = capsys.readouterr().out
    assert bare(said) and said.startswith(SEEN + "\n")


def test_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    class App:
        def __call__(self, **named: Any) -> None:
            raise RuntimeError(EVIL)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("sys.argv", ["gas", "--debug"])
        patch.setattr(os, "environ", dict(os.environ))
        run.run(App())  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert "Traceback" in said and bare(said)
