"""`gas bench`: runs a suite and prints its table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from gas_cli import flags as f
from gas_cli.output import people, print_json
from gas_cli.progress import count_bar


def diorama(
    editors: str, folder: Path, *, edits: int | None, flags: Mapping[str, Any], full: bool, resume: bool, as_json: bool
) -> None:
    """Runs the diorama benchmark into `folder`."""
    from gas_diorama.bench.bench import run
    from gas_diorama.world.cases import benchmark_cases

    session = f.open_session(flags)
    names = [name.strip() for name in editors.split(",") if name.strip()]
    with count_bar(people(), show=not as_json) as progress:
        report = run(
            names,
            out=folder,
            full=full,
            chosen=None if edits is None else benchmark_cases(edits),
            resume=resume,
            profile=session.settings.profile,
            runtime=session.runtime,
            registry=session.registry,
            progress=progress,
        )
    _show("bench diorama", report.tables(), report.as_json(), as_json)
    people().print(f"results, table and pictures are in {folder}", markup=False, soft_wrap=True)


def speed(out: Path | None, *, flags: Mapping[str, Any], repeat: int, as_json: bool) -> None:
    """Runs the speed suite; writes its figures to `out` when given."""
    import json

    from gas import files
    from gas_diorama.bench.speed import run

    session = f.open_session({"profile": "diorama", **flags})
    if out is not None:
        files.refuse_existing([out])
    report = run(
        repeats=repeat,
        registry=session.registry,
        runtime=session.runtime,
        progress=lambda what: people().print(what, markup=False),
    )
    if out is not None:
        files.write_text(out, json.dumps(report.as_json(), indent=2) + "\n")
    _show("bench speed", report.tables(), report.as_json(), as_json)


def _show(command: str, tables: RenderableType, data: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(command, data)
    else:
        Console(highlight=False).print(tables)
