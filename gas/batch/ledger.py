"""What has been done and what has failed: one line of JSON for each item and attempt, in `ledger/part-N.jsonl`.

A line is on the disk before it is reported. A process that is killed leaves at most one line without its end,
which was never told, and which the next one removes.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

from gas import files
from gas.reserve import reserved

FOLDER = "ledger"
MAX_LINE = 2**20


@dataclass(frozen=True)
class Entry:
    """One attempt of one item.

    `item` is the picture as the manifest names it, `out` the output's name in the output folder; `exit_code`, `error`
    and `remedy` say what went wrong. `asked` is the instruction, `plan` a sentence for each subtask, `found` where the
    things were; `inside` and `outside` are the record's figures. `verdicts` is empty where nothing was verified, else a
    table for each subtask: `what`, `verdict`, `failure`, `score`, `by` and `tries`; with one that is not done the item
    is "failed" with exit code 12, and its picture is written. `size`, `time` and `sha256` are the input file's;
    `thumbnail` is the name of a picture in the folder of the report.
    """

    key: str
    item: str
    out: str
    status: Literal["done", "failed"]
    attempt: int = 1
    exit_code: int = 0
    error: str = ""
    remedy: str = ""
    remedy_code: str = ""
    asked: str = ""
    plan: tuple[str, ...] = ()
    found: tuple[Mapping[str, Any], ...] = ()
    verdicts: tuple[Mapping[str, Any], ...] = ()
    inside: tuple[float | None, ...] = ()
    outside: float | None = None
    warnings: tuple[str, ...] = ()
    seed: int | None = None
    seconds: float = 0.0
    worker: str = ""
    ended: str = ""
    size: int = 0
    time: int = 0
    sha256: str = ""
    output_sha256: str = ""
    thumbnail: str = ""
    pixels: tuple[int, int] | None = field(default=None)

    def to_line(self) -> bytes:
        """The entry as one line of JSON; what is as by default is left out."""
        values = {name: value for name, value in asdict(self).items() if name in _NEEDED or value != _FIELDS[name]}
        return json.dumps(values, ensure_ascii=False, allow_nan=False).encode() + b"\n"


_FIELDS = {each.name: each.default for each in fields(Entry)}
_NEEDED = {"key", "item", "out", "status", "attempt"}


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger remembers of an item's last attempt."""

    status: str
    attempt: int
    out: str


@dataclass
class Ledger:
    """The ledger of an output folder: what all its parts say, and part `part`, which is this run's to write.

    `known` has the last attempt by key, `by_out` when each output was
    last tried, and by which key, `inputs` size, time and hash of
    each input file as it was last seen, `names` the outputs that are the batch's own and may be replaced.
    """

    folder: Path
    part: int = 0
    known: dict[str, Known] = field(default_factory=dict)
    by_out: dict[str, tuple[str, str]] = field(default_factory=dict)
    inputs: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    _stream: BinaryIO | None = field(default=None, repr=False)
    _held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, repr=False)

    @property
    def path(self) -> Path:
        return self.folder / f"part-{self.part}.jsonl"

    @property
    def names_path(self) -> Path:
        return self.folder / f"names-{self.part}.txt"

    def __enter__(self) -> Ledger:
        """Reads all parts and reserves its own. OutputExists (exit 2) where another run is writing it now."""
        files.make_folder(self.folder)
        self._held.enter_context(reserved(self.path))
        _repair(self.path)
        _repair(self.names_path)
        for entry in entries(self.folder):
            self._remember(entry)
        for path in sorted(self.folder.glob("names-*.txt")):
            self.names.update(path.read_text("utf-8").splitlines())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._held.close()

    def claim(self, outs: Iterable[str]) -> None:
        """Makes these outputs, none of which is there yet, the batch's own: a later run may replace them."""
        new = [name for name in outs if name not in self.names]
        if new:
            with files.explained(self.names_path), self.names_path.open("ab") as stream:
                stream.write("".join(f"{name}\n" for name in new).encode())
                stream.flush()
                os.fsync(stream.fileno())
            self.names.update(new)

    def append(self, several: Sequence[Entry]) -> None:
        """Writes entries, each a line, to the disk. OutOfResources (exit 7) when it is full."""
        if not several:
            return
        with files.explained(self.path):
            if self._stream is None:
                self._stream = self.path.open("ab")
            self._stream.write(b"".join(entry.to_line() for entry in several))
            self._stream.flush()
            os.fsync(self._stream.fileno())
        for entry in several:
            self._remember(entry)

    def _remember(self, entry: Entry) -> None:
        before = self.known.get(entry.key)
        if before is None or entry.attempt >= before.attempt:  # parts are in no order of time
            self.known[entry.key] = Known(entry.status, entry.attempt, entry.out)
        if entry.ended >= self.by_out.get(entry.out, ("", ""))[0]:
            self.by_out[entry.out] = (entry.ended, entry.key)
        if entry.sha256:
            self.inputs[entry.item] = (entry.size, entry.time, entry.sha256)


def entries(folder: Path) -> Iterator[Entry]:
    """All entries of a ledger's parts, in the order of the parts; lines that are none are passed over."""
    for path in sorted(folder.glob("part-*.jsonl")):
        with files.open_regular(path) as stream:
            for line in stream:
                if (entry := _entry(line)) is not None:
                    yield entry


def _entry(line: bytes) -> Entry | None:
    if not line.endswith(b"\n") or len(line) > MAX_LINE:
        return None
    try:
        values = json.loads(line)
        known: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items() if n in _FIELDS}
        entry = Entry(**known)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    texts = (entry.key, entry.item, entry.out, entry.sha256, entry.thumbnail, entry.ended)
    numbers = (entry.attempt, entry.size, entry.time, entry.exit_code)
    sound = all(isinstance(one, str) for one in texts) and all(isinstance(one, int) for one in numbers)
    return entry if sound and entry.status in {"done", "failed"} else None


def _repair(path: Path) -> None:
    """Cuts off what follows the last end of a line: the process that wrote it was killed meanwhile."""
    if not path.exists():
        return
    with files.explained(path), path.open("r+b") as stream:
        end = stream.seek(0, os.SEEK_END)
        start = end
        while start > 0:
            start = max(start - 65536, 0)
            stream.seek(start)
            block = stream.read(min(65536, end - start))
            if (newline := block.rfind(b"\n")) >= 0:
                start = start + newline + 1
                break
        if start < end:
            stream.truncate(start)
            os.fsync(stream.fileno())
