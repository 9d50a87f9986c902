"""What `gas bench diorama` keeps: a line for each result, and its pictures; an interrupted run is resumed from them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gas.errors import UsageError
from gas.files import make_folder, slug, write_bytes
from gas.remedies import Remedy, Setting
from gas_diorama.bench.scores import Result
from gas_diorama.world.cases import Case

Picture = NDArray[np.uint8]
Key = tuple[str, str, int]
"""Title of the row, name of the case, seed."""
RESULTS, PICTURES = "results.jsonl", "pictures"


@dataclass(frozen=True, eq=False)
class Made:
    """An editor's own output and the finished picture, uint8 (H, W, 3). `composed`: the output has been put into the
    source already, in turns, and is not all from the model."""

    raw: Picture
    finished: Picture
    composed: bool = False


class Kept:
    """The results and pictures in the folder `out`."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def known(self, wanted: Mapping[Key, str], resume: bool) -> dict[Key, Result]:
        """The results that are kept of those `wanted`, which are given with their fingerprints. A line that was only
        half written is left out, so that the edit is made again.

        UsageError (exit 2) for results that are there without `resume`, or that have another fingerprint.
        """
        path = self.out / RESULTS
        if not path.exists():
            make_folder(self.out)
            return {}
        if not resume:
            raise UsageError(
                f"{path} holds results already",
                Remedy(
                    "resume_bench",
                    "resume with {resume}, or name another folder",
                    resume=Setting("resume", True),
                ),
            )
        found = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                values = json.loads(line)
            except ValueError:
                continue
            its_fingerprint = values.pop("fingerprint")
            key = values["row"], values["case"], values["seed"]
            if key not in wanted:
                continue
            if its_fingerprint != wanted[key]:
                raise UsageError(
                    f"{path}: {key[0]!r} on {key[1]} was run with other weights, options or cases than now",
                    "name another folder: results of different runs are not mixed",
                )
            found[key] = Result.from_json(values)
        return found

    def keep(self, result: Result, its_fingerprint: str, made: Made | None) -> None:
        """Writes a result, and the pictures where an edit `made` some; they are on the disk when this returns."""
        if made is not None:
            write_picture(self.picture(result), made.raw)
            write_picture(self.picture(result, "-finished"), made.finished)
        line = json.dumps({**result.as_json(), "fingerprint": its_fingerprint})
        with open(self.out / RESULTS, "a+b") as stream:
            if stream.tell() and not _ends_line(stream):
                stream.write(b"\n")  # what an interrupted run left half written stays a line of its own
            stream.write(line.encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def picture(self, result: Result, what: str = "") -> Path:
        """The file of a result's picture: the editor's own output, or with "-finished" the finished picture."""
        return self.out / PICTURES / slug(result.row) / f"{result.case}-s{result.seed}{what}.png"


def fingerprint(recipe: Mapping[str, Any], case: Case) -> str:
    """What tells a result from that of another `recipe` (`gas_diorama.bench.entrants`) or case: a SHA-256."""
    what = json.dumps([recipe, repr(case.scene), repr(case.edits), case.plan.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(what.encode()).hexdigest()


def write_picture(path: Path, picture: Picture) -> None:
    """Writes `picture` `(H, W, 3)` as PNG, in a folder that is made."""
    make_folder(path.parent)
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    write_bytes(path, buffer.getvalue(), overwrite=True)


def read_picture(path: Path) -> Picture | None:
    """The picture `(H, W, 3)` in a file; None where there is none."""
    return np.asarray(Image.open(path).convert("RGB")) if path.exists() else None


def _ends_line(stream: Any) -> bool:
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) == b"\n"
