"""`gas batch`: what happens between its flags and its exit code."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gas import files
from gas.batch import manifest as manifests
from gas.batch.engines.choice import Choice, Machine, machine, make_engine
from gas.batch.items import Common
from gas.batch.ledger import FOLDER, Entry
from gas.batch.report import PAGE
from gas.batch.rows import template
from gas.batch.run import Batch, Rules, opened
from gas.batch.shards import shard_of, submit_array
from gas.characters import visible
from gas.errors import BatchIncomplete, GasError, Interrupted, UsageError
from gas.remedies import Remedy, Setting
from gas_cli import flags as f
from gas_cli import models
from gas_cli.output import ENVELOPE_VERSION, data, people, print_text, short
from gas_cli.progress import stoppable
from gas_shell.words import flag_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from gas.run.session import Session
    from gas.types import Image

_STOPPING = "stopping; what is done is kept (again to quit at once)"
_EVERY = 30.0
"""Seconds between two lines about progress where no bar can be drawn."""


def print_template() -> None:
    """Prints a manifest to start from."""
    print_text(template())


def batch(
    source: str,
    instructions: Sequence[str],
    *,
    out: Path | None,
    options: Sequence[f.Option],
    flags: Mapping[str, Any],
    choice: Choice,
    rules: Rules,
    shard: str | None,
    work: str,
    gps: bool,
    store: str,
    allow_outside: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Edits what is missing. BatchIncomplete (exit 10) when items failed; Interrupted (exit 130, 143) when stopped."""
    console = people()
    choice.check()
    folder = _folder(out)
    part = shard_of(shard)
    listed = manifests.read(source, instruction=f.joined(instructions), but=folder)
    opener = partial(_open_session, flags, options, _first_picture(listed))
    common = Common(folder, work=f.work_mode(work), gps=gps, store=store, anywhere=allow_outside)
    require: Callable[[Session, bool], None] = lambda session, looks: models.require(session, agreed=yes, looks=looks)  # noqa: E731
    with opened(listed, common, replace(rules, shard=part), opener, require=require, words=flag_words) as made:
        here = machine(made.recipes.base, choice)
        console.print(_preflight(made, here, choice), markup=False, soft_wrap=True)
        make = partial(make_engine, choice=choice, here=here, together=rules.together, logs=folder / FOLDER)
        began = time.monotonic()
        try:
            with stoppable(console, _STOPPING) as stop, display(console, made, show=not as_json) as shown:
                for entry in made.run(make, should_stop=stop, on_tick=shown.tick):
                    shown.add(entry)
                    if as_json:
                        _print_line(command="batch", item=asdict(entry))
        except Interrupted as error:
            _end(console, made, began, as_json)
            error.exit_code = 128 + (stop.signal or 2)
            _raise(error, as_json)
        _end(console, made, began, as_json)
        if made.failed or made.todo.skipped:
            _raise(_incomplete(made), as_json)


def submit(count: int, arguments: Sequence[str], out: Path | None, options: Sequence[str], cluster: str) -> None:
    """Sends an array of `count` jobs, each of which runs this command's shard, and says their ids."""
    values: dict[str, Any] = {}
    for text in options:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(
                f"--slurm {text!r} is not name=value", "e.g. --slurm slurm_partition=gpu --slurm timeout_min=600"
            )
        values[name] = int(value) if value.isdecimal() else value
    logs = _folder(out) / FOLDER / "slurm"
    files.make_folder(logs)
    command = [sys.executable, "-m", "gas_cli", *arguments, "--shard"]
    ids = submit_array(command, count, logs, values, cluster=None if cluster == "slurm" else cluster)
    people().print(f"sent {count} jobs; their words are in {short(logs)}", markup=False, soft_wrap=True)
    print_text("\n".join(ids))


def _folder(out: Path | None) -> Path:
    if out is None:
        raise UsageError(
            "no output folder is named", Remedy("name_output", "name one with {out}", out=Setting("output", "FOLDER"))
        )
    files.check_folder(out)
    return out


def _open_session(
    flags: Mapping[str, Any], options: Sequence[f.Option], image: Image | None, row: Mapping[str, Any] | None
) -> Session:
    return f.open_session(flags, options, row=row, image=image)


def _first_picture(listed: manifests.Manifest) -> Image | None:
    """The first picture that can be read: where nobody has chosen a profile it has a say in which is the default."""
    from gas.batch.places import inside, is_url
    from gas.picture import photo as photos

    for _, row in listed.rows[:3]:
        if is_url(row.image) or is_url(listed.root):
            continue
        try:
            return photos.read(inside(listed.root, row.image)).pixels
        except GasError:
            continue
    return None


def _preflight(made: Batch, here: Machine, choice: Choice) -> str:
    """What is about to run, in one line."""
    settings, left = made.recipes.base.settings, made.todo
    parts = [f"{len(left.items)} of {made.total} to do"]
    if not made.rules.shard.whole:
        parts[0] = f"part {made.rules.shard}: {parts[0]}"
    for count, words in (
        (left.done, "done already"),
        (left.failed, "tried again, which failed before"),
        (left.skipped, "failed before and left alone"),
        (left.redone, "made again, since what makes them has changed"),
    ):
        if count:
            parts.append(f"{count} {words}")
    recipes = len(made.recipes.all)
    who = settings.editor if recipes <= 1 else f"{recipes} sets of settings"
    why = f"{settings.profile.name}, {settings.origin('profile')}"
    where = "ray" if choice.engine == "ray" else str(here)
    return f"{', '.join(parts)}; {who} ({why}); {where}"


class Display:
    """What a user sees while a batch runs; failures are told as they come."""

    def __init__(self, console: Console, made: Batch) -> None:
        self.console, self.made, self.began, self.told = console, made, time.monotonic(), time.monotonic()

    @property
    def left(self) -> int:
        return len(self.made.todo.items) - self.made.done - self.made.failed - self.made.already

    @property
    def rate(self) -> float:
        """Items a minute."""
        return 60 * (self.made.done + self.made.failed) / max(time.monotonic() - self.began, 1e-3)

    def figures(self) -> str:
        minutes = self.left / self.rate if self.rate else 0.0
        time_left = f", {minutes:.0f} min left" if minutes >= 1.5 else f", {60 * minutes:.0f} s left" if minutes else ""
        return f"{self.made.done} done, {self.made.failed} failed, {self.rate:.3g} a minute{time_left}"

    def add(self, entry: Entry) -> None:
        if entry.status == "failed":
            file, _, told = entry.error.partition(": ")
            said = told if Path(file).name == Path(entry.item).name and told else entry.error  # named once
            words = f"{entry.item}: {said}" + (f" ({entry.remedy})" if entry.remedy else "")
            self.console.print("[red]failed:[/] ", end="")
            self.console.print(words, markup=False, soft_wrap=True)

    def tick(self) -> None:
        if time.monotonic() - self.told >= _EVERY:
            self.told = time.monotonic()
            self.console.print(self.figures(), markup=False)


@contextmanager
def display(console: Console, made: Batch, show: bool) -> Iterator[Display]:
    """Gives the display: on a terminal a bar and a line for each worker, else lines now and then."""
    if not show or not sys.stderr.isatty():
        yield Display(console, made)
        return
    from rich.live import Live
    from rich.markup import escape
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    class Drawn(Display):
        def tick(self) -> None:
            pass

        def __rich__(self) -> Table:
            table = Table.grid(padding=(0, 2))
            total = len(self.made.todo.items)
            table.add_row("", ProgressBar(total=total, completed=total - self.left, width=40), escape(self.figures()))
            for state, names in self.made.workers():
                what = names[0] if names else "" if state.ready else "loading …"
                table.add_row(f"[dim]{state.name}[/]", f"[dim]{escape(what)[:40]}[/]", f"[dim]{state.done} done[/]")
            return table

    shown = Drawn(console, made)
    with Live(shown, console=console, refresh_per_second=4, transient=True):
        yield shown


def _end(console: Console, made: Batch, began: float, as_json: bool) -> None:
    """Writes the report and says what has been done."""
    page = made.report()
    seconds = time.monotonic() - began
    said = f"{made.done} done, {made.failed} failed"
    if made.todo.done or made.already:
        said += f", {made.todo.done + made.already} were done before"
    console.print(f"{said} in {seconds:.0f} s; look at {short(page)}", markup=False, soft_wrap=True)
    if as_json:
        totals = {"done": made.done, "failed": made.failed, "before": made.todo.done + made.already}
        skipped = {"skipped": made.todo.skipped, "redone": made.todo.redone}
        _print_line(command="batch", data={**totals, **skipped, "seconds": round(seconds, 3), "report": str(page)})


def _incomplete(made: Batch) -> BatchIncomplete:
    count = made.failed + made.todo.skipped
    ended = ", and the batch ended early" if made.stopped_early else ""
    return BatchIncomplete(
        f"{count} item{'s' * (count != 1)} failed{ended}",
        f"{PAGE} shows them; the same command tries them again",
    )


def _raise(error: GasError, as_json: bool) -> None:
    """Raises the error; with --json it is one line more, and only its exit code is raised."""
    if not as_json:
        raise error
    _print_line(error={"exit_code": error.exit_code, "message": error.message, "remedy": error.hint.worded(flag_words)})
    raise typer.Exit(error.exit_code)


def _print_line(**values: Any) -> None:
    stream = data()
    stream.write(visible(json.dumps({"gas": ENVELOPE_VERSION, **values}, ensure_ascii=False, allow_nan=False) + "\n"))
    stream.flush()
