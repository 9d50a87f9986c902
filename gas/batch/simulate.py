"""What a batch costs beside its edits: `python -m gas.batch.simulate --rows 100000 --engine local`.

Everything is as in a batch (manifest, keys, engine, ledger with its writes to the disk, thumbnails, report), but the
workers edit nothing: they answer at once, with a file of a few bytes in the place of a picture.
"""

from __future__ import annotations

import argparse
import base64
import json
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gas.batch.engines.choice import Choice, machine, make_engine
from gas.batch.items import Common
from gas.batch.ledger import FOLDER
from gas.batch.manifest import read
from gas.batch.run import Batch, Rules, opened

_THUMBNAIL = base64.b64encode(b"x" * 4000).decode()


class Instant:
    """A worker that edits nothing."""

    def __init__(self, setup: Mapping[str, Any]) -> None:
        self._out = Path(setup["out"])

    def start(self) -> None:
        pass

    def __call__(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        path = self._out / data["out"]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"no picture")
        found = [{"phrase": "cup", "score": 0.9, "box": [1, 2, 3, 4], "given": False}]
        told = {"plan": [data["row"]["instruction"]], "found": found, "inside": [12.5], "outside": 0.0}
        return {**told, "warnings": [], "pixels": [640, 480], "seconds": 0.0, "thumbnail": _THUMBNAIL}

    def stop(self) -> None:
        pass


def main() -> None:
    """Runs it, twice: a batch, and the same again with nothing to do; prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--engine", default="local")
    parser.add_argument("--workers", type=int, default=None)
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gas-simulation-") as folder:
        source, out = Path(folder) / "jobs.jsonl", Path(folder) / "out"
        (Path(folder) / "photo.png").write_bytes(b"no picture")
        with source.open("w") as stream:
            for number in range(said.rows):
                row = {
                    "image": "photo.png",
                    "instruction": f"make cup {number} blue",
                    "out": f"{number // 1000}/{number}.png",
                }
                stream.write(json.dumps(row) + "\n")
        choice = Choice(said.engine, said.workers)
        first = _run(source, out, choice)
        again = _run(source, out, choice)
    print(  # noqa: T201 - the figures are what this program is for
        f"{said.engine}, {said.rows} rows: {1000 * first['run'] / said.rows:.2f} ms an item; "
        f"{first['open']:.1f} s before the first item, {first['report']:.1f} s for the report; "
        f"parent's memory {first['early']:.0f} MB after 1000 items, {first['late']:.0f} MB at the end; "
        f"second run, nothing to do: {again['open'] + again['run']:.1f} s, {again['report']:.1f} s for the report"
    )


def _run(source: Path, out: Path, choice: Choice) -> dict[str, float]:
    """Seconds of the parts of a run, and the parent's memory in MB early and late."""
    from gas.run.session import Session

    began = time.perf_counter()
    listed = read(str(source))
    figures = {"early": _memory(), "late": 0.0}
    rules = Rules(target="gas.batch.simulate:Instant")
    with opened(listed, Common(out), rules, lambda row: Session.of(row=row, profile="retouch")) as batch:
        figures["open"] = time.perf_counter() - began
        make = partial(
            make_engine, choice=choice, here=machine(batch.recipes.base, choice), together=1, logs=out / FOLDER
        )
        began = time.perf_counter()
        _all(batch, make, figures)
        figures["run"] = time.perf_counter() - began
        figures["late"] = _memory()
        began = time.perf_counter()
        batch.report()
        figures["report"] = time.perf_counter() - began
    return figures


def _all(batch: Batch, make: Any, figures: dict[str, float]) -> None:
    for number, entry in enumerate(batch.run(make), 1):
        assert entry.status == "done", entry.error
        if number == 1000:
            figures["early"] = _memory()


def _memory() -> float:
    """The memory of this process in MB (10^6 bytes); 0 where the system does not say."""
    import os

    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, ValueError, AttributeError):
        return 0.0


if __name__ == "__main__":
    main()
