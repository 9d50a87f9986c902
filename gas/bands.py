"""Large pictures are worked on in bands of rows, so that no second copy of one, nor one in wider numbers, is made."""

from __future__ import annotations

from collections.abc import Iterator

BAND_PIXELS = 2**19


def bands(height: int, width: int, pixels: int = BAND_PIXELS) -> Iterator[slice]:
    """Slices of rows, in order, that cover a picture of `height` rows; each has about `pixels` pixels, at least a row.

    >>> list(bands(5, 10, 20))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    rows = max(pixels // max(width, 1), 1)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))
