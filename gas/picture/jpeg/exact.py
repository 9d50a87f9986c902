"""A JPEG file edited without decoding the rest of it: the coefficients of blocks that are not touched stay.

Where the package pyjpegio is missing, or cannot write a file, jpegtran puts rectangles of new blocks in, if that is
installed. Whatever is made is checked; NotExact says why nothing could be made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from gas.memory import gigabytes, memory
from gas.picture.jpeg import jpegtran
from gas.picture.jpeg.blocks import apply_change, touched_mcus, whole_factors
from gas.picture.jpeg.check import check_layout, untouched_digest
from gas.picture.jpeg.coefficients import NotExact, coefficients
from gas.picture.jpeg.coefficients import is_installed as coefficients_installed
from gas.picture.jpeg.markers import MAX_SCANS, SOI, BrokenJpeg, Layout, read_layout

if TYPE_CHECKING:
    from gas.picture.jpeg.markers import Segment

Method = Literal["coefficients", "jpegtran"]
BYTES = 8
"""Memory that a coefficient takes: in libjpeg, in an array, and while it is written."""
_FRAMES = {0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive", 0xC9: "arithmetic", 0xCA: "arithmetic"}


@dataclass(frozen=True)
class Exact:
    """A JPEG file that was made of another: its bytes, how, its layout, and the MCUs `(rows, columns)` that changed."""

    data: bytes = field(repr=False)
    method: Method
    layout: Layout
    touched: np.ndarray


def exact_jpeg(original: bytes, before: np.ndarray, after: np.ndarray, segments: Sequence[Segment]) -> Exact:
    """`original` showing `after` instead of `before`, with these application segments and nothing behind its picture.

    Both are `(H, W)` or `(H, W, 3)` uint8 in the order of the file; `before` is what it decodes to. Coefficients
    outside the touched MCUs, tables, sampling, restart interval and progression are the original's, which is checked on
    the bytes that are returned; `check.pixel_check` remains to be done by whoever decodes them. NotExact says why not.
    """
    try:
        layout = read_layout(original)
    except BrokenJpeg as error:
        raise NotExact(str(error)) from None
    _refuse(layout, before)
    reasons = []
    for is_installed, edited in ((coefficients_installed, _by_coefficients), (jpegtran.is_installed, _by_jpegtran)):
        if not is_installed():
            continue
        try:
            return edited(original, layout, before, after, segments)
        except NotExact as error:
            reasons.append(str(error))
    raise NotExact("; ".join(reasons) or 'it needs pyjpegio: pip install "gas-edit[jpeg]"')


def _refuse(layout: Layout, before: np.ndarray) -> None:
    if layout.frame not in _FRAMES or layout.precision != 8:
        raise NotExact(f"it is of an uncommon kind (frame {layout.frame:02X}, {layout.precision} bits)")
    if len(layout.components) not in {1, 3}:
        raise NotExact(f"it has {len(layout.components)} components")
    if layout.scans > MAX_SCANS:
        raise NotExact(f"it has {layout.scans} scans")
    if any(component.table not in layout.tables for component in layout.components):
        raise NotExact("a quantisation table is missing")
    if not whole_factors(layout):
        raise NotExact("its components are sampled at broken rates")
    if layout.size != (before.shape[1], before.shape[0]):
        raise NotExact("its header has another size than its picture")
    if (len(layout.components) == 1) != (before.ndim == 2):
        raise NotExact("its components are not those of its picture")


def _refuse_too_large(layout: Layout) -> None:
    across, down = layout.sampling
    share = sum(c.across * c.down for c in layout.components) / (across * down)
    needed, found = layout.size[0] * layout.size[1] * share * BYTES, memory()
    if found is not None and needed > found.available:
        raise NotExact(f"its coefficients need {gigabytes(needed)} of memory, {gigabytes(found.available)} are free")


def _by_coefficients(
    original: bytes, layout: Layout, before: np.ndarray, after: np.ndarray, segments: Sequence[Segment]
) -> Exact:
    _refuse_too_large(layout)
    with coefficients(original) as found:
        if len(found.arrays) != len(layout.components):
            raise NotExact("its components cannot be told apart")
        touched = touched_mcus(layout, before, after)
        digest = untouched_digest(found.arrays, layout, touched)
        apply_change(found.arrays, layout, found.colour, before, after, touched)
        data = _spliced(found.encoded(), segments)
    del found  # before the check reads them again
    return _checked(data, "coefficients", layout, touched, digest, segments)


def _by_jpegtran(
    original: bytes, layout: Layout, before: np.ndarray, after: np.ndarray, segments: Sequence[Segment]
) -> Exact:
    touched = touched_mcus(layout, before, after)
    made, touched = jpegtran.dropped(original, layout, after, touched)
    return _checked(_spliced(made, segments), "jpegtran", layout, touched, None, segments)


def _spliced(made: bytes, segments: Sequence[Segment]) -> bytes:
    """What was written, with these application segments. NotExact when it is broken."""
    try:
        return spliced(segments, read_layout(made).coding)
    except (BrokenJpeg, ValueError) as error:
        raise NotExact(f"what was written is broken: {error}") from None


def _checked(
    data: bytes, method: Method, layout: Layout, touched: np.ndarray, digest: bytes | None, segments: Sequence[Segment]
) -> Exact:
    try:
        whole = read_layout(data)
    except BrokenJpeg as error:
        raise NotExact(f"what was written is broken: {error}") from None
    check_layout(whole, layout, segments)
    if digest is not None:
        with coefficients(data) as again:
            if untouched_digest(again.arrays, layout, touched) != digest:
                raise NotExact("coefficients outside the edited blocks have changed")
    return Exact(data, method, replace(layout, coding=()), touched)  # without the original's bytes


def spliced(segments: Sequence[Segment], coding: Sequence[memoryview]) -> bytes:
    """A JPEG file of application segments, and tables and scans."""
    return b"".join([b"\xff", bytes([SOI]), *(segment.encoded for segment in segments), *coding, b"\xff\xd9"])
