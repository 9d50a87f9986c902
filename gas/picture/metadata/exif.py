"""EXIF data changed in place: what is left out is cut and blanked, everything else stays at its offset.

A maker's note holds offsets of its own, which break when the data around it is written anew. Structure: TIFF 6.0,
section 2; tags: EXIF 2.32 (CIPA DC-008).
"""

from __future__ import annotations

import struct
from typing import Any

PREFIX = b"Exif\0\0"
MAX_EXIF = 65_000
"""Bytes that are carried at most; a JPEG segment holds no more."""

ORIENTATION, EXIF_IFD, GPS_IFD, MAKER_NOTE, INTEROPERABILITY = 0x0112, 0x8769, 0x8825, 0x927C, 0xA005
SUB_IFDS = 0x014A
_WIDTH, _HEIGHT, _PIXEL_WIDTH, _PIXEL_HEIGHT = 0x0100, 0x0101, 0xA002, 0xA003
_JPEG_OFFSET, _JPEG_LENGTH, _STRIP_OFFSETS, _STRIP_LENGTHS = 0x0201, 0x0202, 0x0111, 0x0117
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_MOST_ENTRIES = 1000


def as_read(value: Any) -> Any:
    """The value of a tag as Pillow read it, such that it writes the same bytes: it reads texts as Latin-1, whatever
    they are, and writes ASCII."""
    return value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value


class BrokenExif(ValueError):
    """EXIF data that cannot be read."""


class Exif:
    """EXIF data that is being changed. `left_out` names what was taken out of it. BrokenExif from any of its methods:
    it makes no sense."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data.removeprefix(PREFIX))
        self.left_out: list[str] = []
        order = {b"II": "<", b"MM": ">"}.get(bytes(self.data[:2]))
        if order is None:
            raise BrokenExif("it does not begin as TIFF data")
        self._order = order
        if self._number("H", 2) != 42:
            raise BrokenExif("it does not begin as TIFF data")
        self._first = self._number("I", 4)
        self._directory(self._first)  # refuses what is broken, before anything is changed

    def value(self, tag: int, directory: int | None = None) -> int | None:
        """The first number of a tag in the first directory, or in that which another tag of it points to."""
        found = self._find(tag, directory)
        return None if found is None else self._value(found)

    def set_value(self, tag: int, value: int, directory: int | None = None) -> None:
        """Replaces the number of a tag that is there; does nothing where it is not."""
        found = self._find(tag, directory)
        if found is None:
            return
        kind = self._number("H", found + 2)
        if kind in {3, 4}:
            struct.pack_into(self._order + {3: "H", 4: "I"}[kind], self.data, found + 8, value)

    def without_position(self) -> None:
        """Takes the directory with the position out."""
        at = self.value(GPS_IFD)
        if at is not None:
            self._blank_directory(at)
            self._remove(GPS_IFD)
            self.left_out.append("position")

    def without_maker_note(self) -> None:
        """Takes the maker's note out."""
        if self._remove(MAKER_NOTE, EXIF_IFD):
            self.left_out.append("maker's note")

    def without_previews(self) -> None:
        """Takes the thumbnail out, and whatever else shows the picture as it was."""
        end = self._end(self._first)
        thumbnail = self._number("I", end)
        if thumbnail:
            struct.pack_into(self._order + "I", self.data, end, 0)
            for offset, length in ((_JPEG_OFFSET, _JPEG_LENGTH), (_STRIP_OFFSETS, _STRIP_LENGTHS)):
                entries = {self._number("H", entry): entry for entry in self._entries(thumbnail)}
                if {offset, length} <= entries.keys():
                    self._blank(self._value(entries[offset]), self._value(entries[length]))
            self._blank_directory(thumbnail)
            self.left_out.append("thumbnail")
        if self._remove(SUB_IFDS):
            self.left_out.append("previews")
        note = self._find(MAKER_NOTE, EXIF_IFD)
        if note is not None and b"\xff\xd8\xff" in self.data[slice(*self._span(note))]:
            self.without_maker_note()

    def upright(self, size: tuple[int, int]) -> None:
        """Says that the pixels are stored upright, `size` (width, height) of them."""
        self.set_value(ORIENTATION, 1)
        for directory, width, height in ((None, _WIDTH, _HEIGHT), (EXIF_IFD, _PIXEL_WIDTH, _PIXEL_HEIGHT)):
            self.set_value(width, size[0], directory)
            self.set_value(height, size[1], directory)

    def encoded(self) -> bytes:
        """The data, without what was blanked at its end."""
        used = len(self.data.rstrip(b"\0"))
        for at in (self._first, self.value(EXIF_IFD), self.value(GPS_IFD), self.value(INTEROPERABILITY, EXIF_IFD)):
            if at is not None:
                used = max(used, self._end(at) + 4, *(self._span(entry)[1] for entry in self._entries(at)), 0)
        return bytes(self.data[:used])

    def _number(self, kind: str, at: int) -> int:
        try:
            number: int = struct.unpack_from(self._order + kind, self.data, at)[0]
        except struct.error:
            raise BrokenExif("it is cut off") from None
        return number

    def _directory(self, at: int) -> int:
        """The number of entries of the directory at an offset."""
        count = self._number("H", at)
        if at < 8 or count > _MOST_ENTRIES or at + 2 + 12 * count + 4 > len(self.data):
            raise BrokenExif("a directory of it is cut off")
        return count

    def _entries(self, at: int) -> list[int]:
        return [at + 2 + 12 * index for index in range(self._directory(at))]

    def _end(self, at: int) -> int:
        """Where a directory says which comes after it."""
        return at + 2 + 12 * self._directory(at)

    def _find(self, tag: int, directory: int | None = None) -> int | None:
        at: int | None = self._first
        if directory is not None:
            at = self.value(directory)
        if at is None:
            return None
        return next((entry for entry in self._entries(at) if self._number("H", entry) == tag), None)

    def _span(self, entry: int) -> tuple[int, int]:
        """Where the data of an entry begins and ends."""
        kind, count = self._number("H", entry + 2), self._number("I", entry + 4)
        length = _SIZES.get(kind, 1) * count
        begin = entry + 8 if length <= 4 else self._number("I", entry + 8)
        return begin, min(begin + length, len(self.data))

    def _value(self, entry: int) -> int:
        kind = self._number("H", entry + 2)
        begin, _ = self._span(entry)
        return self._number({1: "B", 3: "H"}.get(kind, "I"), begin)

    def _remove(self, tag: int, directory: int | None = None) -> bool:
        """Takes an entry and its data out; the entries behind it move up."""
        entry = self._find(tag, directory)
        if entry is None:
            return False
        at = self._first if directory is None else self.value(directory)
        assert at is not None
        begin, end = self._span(entry)
        if begin != entry + 8:
            self._blank(begin, end - begin)
        last = self._end(at) + 4
        self.data[entry : last - 12] = self.data[entry + 12 : last]
        self._blank(last - 12, 12)
        struct.pack_into(self._order + "H", self.data, at, self._number("H", at) - 1)
        return True

    def _blank_directory(self, at: int) -> None:
        try:
            for entry in self._entries(at):
                begin, end = self._span(entry)
                self._blank(begin, end - begin)
            self._blank(at, self._end(at) + 4 - at)
        except BrokenExif:  # it points to nowhere: there is nothing to blank
            return

    def _blank(self, begin: int, length: int) -> None:
        end = min(begin + length, len(self.data))
        if 8 <= begin < end:
            self.data[begin:end] = bytes(end - begin)
