"""What was written is read again, band by band, before it counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gas import files
from gas.errors import GasError, InputRefused
from gas.picture.blend import Difference, Tally, is_same
from gas.picture.colour import GREY_MODES, Space
from gas.picture.containers import LOSSY
from gas.picture.decode import is_png, opened
from gas.picture.deep import MODE, is_readable
from gas.picture.metadata.found import orientation_of
from gas.picture.pixels import Stored, as_stored, stored, stored_deep

if TYPE_CHECKING:
    from gas.picture.native import Native
    from gas.picture.photo import Photo

_KEPT = "nothing was kept"
_REPORT = "please report this; nothing was kept"


BandCheck = Callable[[slice, np.ndarray], None]
"""Is given the rows of the file that was written, as they are stored."""


def verify(
    temporary: Path,
    name: str,
    native: Native,
    photo: Photo,
    measured: np.ndarray | None,
    container: str,
    *,
    orientation: int = 1,
    also: BandCheck | None = None,
) -> tuple[Difference, bool]:
    """The difference to the photograph where `measured` is 0, and whether every pixel is as meant.

    `orientation` says how the file's pixels lie, `also` is asked about each band of them. GasError for a file that
    cannot be read, is of another mode or size, has lost its profile, or differs although `container` is lossless.
    """
    try:
        with files.open_regular(temporary) as stream:
            if is_png(stream):
                with opened(stream, name, even=True) as picture:
                    picture.verify()
            with opened(stream, name, even=True) as picture:
                all_bits = native.mode == MODE and is_readable(picture)
                picture.load()
                if container != "BMP" and (picture.info.get("icc_profile") or None) != native.icc:
                    raise GasError(f"{name}: the colour profile was not written", _REPORT)
                if orientation_of(picture) != orientation:
                    raise GasError(f"{name}: the orientation was not written", _REPORT)
                if all_bits:
                    found = stored_deep(stream, picture, lambda: opened(stream, name, even=True))
                else:
                    found = stored(picture)
    except InputRefused as error:
        raise GasError(f"{name}: the written file cannot be read: {error.message}", _KEPT) from None
    meant = as_stored(native.pixels, orientation)
    size = (meant.shape[1], meant.shape[0])
    if found.picture.size != size or found.mode != native.mode:
        got = f"{found.mode} {found.picture.size}, not {native.mode} {size}"
        raise GasError(f"{name}: the written file reads back as {got}", _REPORT)
    difference, exact = _compare(found, native, photo, measured, orientation, also)
    if container not in LOSSY and not exact:
        raise GasError(f"{name}: the written file reads back with other pixels", _REPORT)
    return difference, exact


def _compare(
    found: Stored,
    native: Native,
    photo: Photo,
    measured: np.ndarray | None,
    orientation: int,
    also: BandCheck | None,
) -> tuple[Difference, bool]:
    exact = (found.alpha is None) == (photo.alpha is None)
    if found.alpha is not None and photo.alpha is not None:
        exact = is_same(found.alpha, as_stored(photo.alpha, orientation))
    tally = Tally()
    # Pixels of another mode than the photograph's are held against what of it is seen.
    as_seen = Space(native.mode, native.icc, photo.levels) if native.mode != photo.mode else None
    meant = as_stored(native.pixels, orientation)
    before = as_stored(photo.native if as_seen is None else photo.pixels, orientation)
    outside = None if measured is None else as_stored(measured, orientation)
    for rows, part in found.bands():
        exact = exact and is_same(part, meant[rows])
        if also is not None:
            also(rows, part)
        if outside is not None:
            tally.add(before[rows], part if as_seen is None else as_seen.to_srgb(part), outside[rows])
    scaled = as_seen is None and native.mode in {*GREY_MODES, MODE}
    return tally.difference(255 / (photo.levels[1] - photo.levels[0]) if scaled else 1.0), exact
