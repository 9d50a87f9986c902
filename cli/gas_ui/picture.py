"""A photograph that was dropped on the page, in a folder of its own so that it keeps its name."""

from __future__ import annotations

import re
from pathlib import Path

from gas.characters import HIDDEN
from gas.errors import InputRefused
from gas.picture import photo as photos
from gas.picture.photo import Photo
from gas.run import record as records
from gas.run.record import Record
from gas_ui import views

_NO_NAME = re.compile(r'[<>:"/\\|?*]')


def file_name(name: str) -> str:
    """The last part of a name that a browser has sent, fit to be a file's name here; at most 120 characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    plain = _NO_NAME.sub("_", HIDDEN.sub("", " ".join(last.split()))).lstrip(". ").rstrip(". ")
    stem, dot, suffix = plain.rpartition(".")
    if not dot:
        return plain[:120] or "photograph"
    return f"{stem[: 119 - len(suffix[:20])] or 'photograph'}.{suffix[:20]}"


class Picture:
    """A photograph that was read, and its view. `record` is that of the edit which made it, if gas did.

    Its pixels are kept only while it is in work (`release`), and read again from its file when they are needed.
    """

    def __init__(self, path: Path, number: int, example: str = "") -> None:
        photo = photos.read(path)
        self.number, self.example = number, example
        self.name, self.size, self.warnings = photo.name, photo.size, photo.warnings
        self.sha256, self.pixels = photo.sha256, records.pixel_hash(photo.pixels)
        self.view = views.view(photo.pixels)
        self.record = _record(path)
        self._path = path
        self._photo: Photo | None = photo

    @property
    def photo(self) -> Photo:
        """The photograph."""
        if self._photo is None:
            self._photo = photos.read(self._path)
        return self._photo

    def release(self) -> None:
        """Lets go of the pixels."""
        self._photo = None

    def made(self, output: Picture) -> bool:
        """Whether `output` was made from this picture, by its record."""
        if output.record is None or output is self:
            return False
        return output.record.input.sha256 == self.sha256 or output.record.input.pixels == self.pixels


def _record(path: Path) -> Record | None:
    try:
        return records.read_record(path)
    except InputRefused:
        return None
