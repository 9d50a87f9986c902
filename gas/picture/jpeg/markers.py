"""The structure of a JPEG file: its segments, tables, scans, and what stands behind its picture.

ITU-T T.81 (1992), annex B. Only what is needed to put another picture between the same segments is read; entropy-coded
data is skipped, not decoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

SOI, EOI, SOS, DQT, DHT, DRI, DNL, DAC = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xDC, 0xCC
APP0, APP1, APP2, APP11, APP13, APP14, COM = 0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xEE, 0xFE
FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
MAX_SCANS = 100
"""A scan takes as long to decode as the whole picture, and a bomb has thousands of them."""

ZIGZAG = (
    *(0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21),
    *(28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61),
    *(54, 47, 55, 62, 63),
)
"""The place in its 8x8 block, row by row, of each coefficient in the order of the file."""
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


class BrokenJpeg(ValueError):
    """Bytes that are no whole JPEG file, with the reason."""


class Segment(NamedTuple):
    """A segment with a length: its marker (0xE1 for APP1), and what follows its length."""

    marker: int
    data: bytes

    @property
    def encoded(self) -> bytes:
        """The segment as it stands in a file."""
        if len(self.data) > 0xFFFD:
            raise ValueError(f"a segment of {len(self.data)} bytes does not fit into a JPEG file")
        return b"\xff" + bytes([self.marker]) + (len(self.data) + 2).to_bytes(2, "big") + self.data


class Component(NamedTuple):
    """A colour component of the frame: its identifier, sampling factors across and down, its quantisation table."""

    identifier: int
    across: int
    down: int
    table: int


@dataclass(frozen=True)
class Layout:
    """Where everything is in a JPEG file.

    `frame` is the marker of the frame header (0xC0 baseline, 0xC2 progressive, ...), `size` (width, height). `tables`
    are the quantisation tables by slot, 64 numbers row by row. `applications` are the APPn and COM segments in order;
    `coding` all other bytes of the picture, from the first table to the end-of-image marker without it, in pieces that
    are no copies; `trailer` what stands behind that marker. `restart` is the restart interval in MCUs (0: none),
    `scans` their number.
    """

    frame: int
    precision: int
    size: tuple[int, int]
    components: tuple[Component, ...]
    tables: dict[int, tuple[int, ...]]
    restart: int
    scans: int
    applications: tuple[Segment, ...]
    coding: tuple[memoryview, ...] = field(repr=False)
    trailer: bytes = field(repr=False)

    @property
    def sampling(self) -> tuple[int, int]:
        """The largest sampling factors, across and down: an MCU is 8 times as many pixels."""
        return max(c.across for c in self.components), max(c.down for c in self.components)


def read_layout(data: bytes) -> Layout:
    """The layout of a whole JPEG file. BrokenJpeg for anything else."""
    if data[:2] != b"\xff\xd8":
        raise BrokenJpeg("it does not begin as a JPEG file")
    applications: list[Segment] = []
    coding: list[memoryview] = []
    whole = memoryview(data)
    tables: dict[int, tuple[int, ...]] = {}
    frame: tuple[int, int, tuple[int, int], tuple[Component, ...]] | None = None
    restart = scans = 0
    at = 2
    while True:
        start, marker, at = _next_marker(data, at)
        if marker == EOI:
            break
        if marker == SOI or 0xD0 <= marker <= 0xD7:
            raise BrokenJpeg(f"marker {marker:02X} is where none may be")
        length = int.from_bytes(data[at : at + 2], "big")
        if length < 2 or at + length > len(data):
            raise BrokenJpeg(f"segment {marker:02X} is cut off")
        segment, at = Segment(marker, data[at + 2 : at + length]), at + length
        if APP0 <= marker <= 0xEF or marker == COM:
            applications.append(segment)
            continue
        if marker == DQT:
            if scans:
                raise BrokenJpeg("its tables change between scans")
            tables.update(_read_tables(segment.data))
        elif marker == DRI:
            restart = int.from_bytes(segment.data[:2], "big")
        elif marker == DNL:
            raise BrokenJpeg("its height stands behind its first scan")
        elif marker in FRAMES:
            if frame is not None:
                raise BrokenJpeg("it has several frames")
            frame = _read_frame(segment)
        elif marker == SOS:
            scans += 1
            at = _end_of_scan(data, at)
        coding.append(whole[start:at])
    if frame is None or not scans:
        raise BrokenJpeg("it holds no picture")
    marker, precision, size, components = frame
    return Layout(
        frame=marker,
        precision=precision,
        size=size,
        components=components,
        tables=tables,
        restart=restart,
        scans=scans,
        applications=tuple(applications),
        coding=tuple(coding),
        trailer=data[at:],
    )


def _next_marker(data: bytes, at: int) -> tuple[int, int, int]:
    """Where the next marker begins, which it is, and where it ends; fill bytes before it are skipped."""
    start = at
    if data[at : at + 1] != b"\xff":
        raise BrokenJpeg(f"there is no marker at byte {at}")
    while data[at : at + 1] == b"\xff":
        at += 1
    if at >= len(data) or data[at] == 0:
        raise BrokenJpeg(f"it is cut off at byte {at}")
    return start, data[at], at + 1


def _end_of_scan(data: bytes, at: int) -> int:
    """Where the entropy-coded data that begins at `at` ends: at the next marker that is no restart."""
    found = _MARKER.search(data, at)
    if found is None:
        raise BrokenJpeg("its last scan is cut off")
    return found.start()


def _read_tables(data: bytes) -> dict[int, tuple[int, ...]]:
    tables, at = {}, 0
    while at < len(data):
        wide, slot = data[at] >> 4, data[at] & 15
        count = 128 if wide else 64
        values = data[at + 1 : at + 1 + count]
        if len(values) < count or wide > 1 or slot > 3:
            raise BrokenJpeg("a quantisation table is broken")
        numbers = [int.from_bytes(values[i : i + 1 + wide], "big") for i in range(0, count, 1 + wide)]
        if not all(numbers):
            raise BrokenJpeg("a quantisation table divides by zero")
        rows = [0] * 64
        for place, number in zip(ZIGZAG, numbers, strict=True):
            rows[place] = number
        tables[slot] = tuple(rows)
        at += 1 + count
    return tables


def _read_frame(segment: Segment) -> tuple[int, int, tuple[int, int], tuple[Component, ...]]:
    data = segment.data
    if len(data) < 6 or len(data) < 6 + 3 * data[5]:
        raise BrokenJpeg("its frame header is cut off")
    height, width = int.from_bytes(data[1:3], "big"), int.from_bytes(data[3:5], "big")
    parts = (data[at : at + 3] for at in range(6, 6 + 3 * data[5], 3))
    components = tuple(Component(part[0], part[1] >> 4, part[1] & 15, part[2]) for part in parts)
    if not height or not width or not components or any(not (c.across and c.down) for c in components):
        raise BrokenJpeg("its frame header makes no sense")
    return segment.marker, data[0], (width, height), components
