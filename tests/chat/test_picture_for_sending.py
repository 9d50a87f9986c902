"""The picture as it leaves: small, and nothing but pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from planner_cases import photo

from gas.chat.picture import encode
from gas.errors import InputRefused


def markers(data: bytes) -> list[int]:
    """The segments of a JPEG file before its image data."""
    found, at = [], 2
    while data[at + 1] != 0xDA:
        found.append(data[at + 1])
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return found


def test_only_pixels():
    picture = encode(photo(), 768)
    assert picture.data[:2] == b"\xff\xd8"
    # Tables and frame header, and the JFIF header that says nothing but the format: no EXIF, ICC, XMP, IPTC, comment.
    assert set(markers(picture.data)) <= {0xE0, 0xDB, 0xC0, 0xC4}
    assert (picture.width, picture.height) == (90, 60) and picture.mime == "image/jpeg"
    read = np.asarray(Image.open(io.BytesIO(picture.data)))
    assert np.abs(read.astype(int) - photo()).mean() < 3


@pytest.mark.parametrize(
    ("size", "limit", "sent"),
    [((600, 900), 768, (768, 512)), ((10, 20), 768, (20, 10)), ((1, 4096), 64, (64, 1)), ((4096, 1), 64, (1, 64))],
)
def test_size(size, limit, sent):
    picture = encode(photo(*size), limit)
    assert (picture.width, picture.height) == sent
    assert Image.open(io.BytesIO(picture.data)).size == sent


def test_the_data_is_not_in_its_repr():
    assert len(repr(encode(photo(), 768))) < 100


@pytest.mark.parametrize(
    "image",
    [
        None,
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_picture(image):
    with pytest.raises(InputRefused):
        encode(image, 768)
