"""What stands beside the pixels in a file of any kind, as it is there."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from PIL import ExifTags
from PIL import Image as Pictures

from gas.picture.jpeg.markers import BrokenJpeg, read_layout
from gas.picture.metadata import exif as exifs
from gas.picture.metadata import photoshop
from gas.picture.metadata.credentials import found_claim
from gas.picture.metadata.tiff import tag_bytes
from gas.picture.metadata.xmp import MAX_XMP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TIFF_XMP, TIFF_RESOURCES, TIFF_IPTC = 700, 34377, 33723
MAX_SEARCHED = 2**26
"""Bytes of a file in which content credentials are looked for."""

TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
COLOUR_CHUNKS = (b"cICP", b"gAMA", b"cHRM", b"sRGB", b"mDCV", b"cLLI")
XMP_KEYWORD, RECORD_KEYWORD = b"XML:com.adobe.xmp", b"gas"
_RAW_PROFILE, _PROFILES = b"Raw profile type ", (b"exif", b"APP1", b"xmp", b"icc", b"icm")
_CARRIED_ELSEWHERE = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"pHYs", b"eXIf", b"bKGD", b"hIST", b"sBIT"}
_SRGB = bytes([1, 13])
"""Primaries and transfer function in a cICP chunk (ITU-T H.273, tables 2 and 3)."""
_FRAMES = {b"acTL", b"fcTL", b"fdAT"}

_STRUCTURE = {
    *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284, 288),
    *(289, 290, 291, 292, 293, 296, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 333, 334, 336),
    *(337, 338, 339, 340, 341, 342, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532),
    *(TIFF_XMP, TIFF_RESOURCES, TIFF_IPTC, 34675, 34665, 34853, 40965, 50341),
}
"""Tags of a TIFF file that describe how its pixels lie in it, or are carried in another way."""


@dataclass(frozen=True)
class Metadata:
    """What stands beside the pixels, in the bytes of the file.

    `exif` is a block of TIFF data, `xmp` a packet, `resources` Photoshop's image resources with the IPTC data, `texts`
    and `colours` PNG chunks (kind, data), `comment` that of a JPEG file, `claim` content credentials. `segments` are
    the application segments of a JPEG file, (marker, data), in order. `others` names what is not carried.
    `orientation` is 1..8: how the pixels lie; `turned` that Pillow has turned them while it read them.
    """

    orientation: int = 1
    exif: bytes = b""
    xmp: bytes = b""
    resources: bytes = b""
    texts: tuple[tuple[bytes, bytes], ...] = ()
    colours: tuple[tuple[bytes, bytes], ...] = ()
    comment: bytes = b""
    claim: bytes = b""
    segments: tuple[tuple[int, bytes], ...] = ()
    others: tuple[str, ...] = ()
    turned: bool = False


def read_metadata(stream: BinaryIO, picture: Pictures.Image, notes: list[str]) -> Metadata:
    """What stands beside the pixels of an opened picture. `notes` gets a sentence for what cannot be read.

    The orientation is 1 where it is missing or makes no sense.
    """
    orientation, exif = _exif(picture, notes)
    kind = picture.format
    if kind == "PNG":
        found = _of_png(stream, orientation, exif)
        cicp = next((data for name, data in found.colours if name == b"cICP"), _SRGB)
        if cicp[:2] != _SRGB:
            notes.append(f"its colours (cICP {', '.join(map(str, cicp[:4]))}) are read and edited as if they were sRGB")
        return found
    if kind in {"JPEG", "MPO"}:
        return _of_jpeg(stream, picture, orientation, exif)
    claim = _claim(stream)
    if kind == "TIFF":
        resources, iptc = tag_bytes(stream, TIFF_RESOURCES), tag_bytes(stream, TIFF_IPTC)
        if iptc and not resources:
            head = b"8BIM" + photoshop.IPTC.to_bytes(2, "big") + b"\0\0" + len(iptc).to_bytes(4, "big")
            resources = head + iptc + bytes(len(iptc) % 2)
        return Metadata(orientation, exif, tag_bytes(stream, TIFF_XMP), resources, claim=claim)
    return Metadata(orientation, exif, _bytes(picture.info.get("xmp")), claim=claim)


def orientation_of(picture: Pictures.Image) -> int:
    """The EXIF orientation of a picture, 1..8; 1 where it is missing or makes no sense."""
    try:
        value = picture.getexif().get(ExifTags.Base.Orientation, 1)
        return int(value) if value in range(1, 9) else 1
    except Exception:  # noqa: BLE001 - metadata from anywhere; Pillow raises nearly anything on it
        return 1


def chunks(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """The kind and the data of each chunk of a PNG file, pixels left out, as far as it is whole."""
    length = stream.seek(0, 2)
    at = 8
    while at + 12 <= length:
        stream.seek(at)
        head = stream.read(8)
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if at + 12 + size > length:
            return
        if kind not in {b"IDAT", b"fdAT"}:
            yield kind, stream.read(size)
        at += 12 + size


def _exif(picture: Pictures.Image, notes: list[str]) -> tuple[int, bytes]:
    orientation = orientation_of(picture)
    try:
        data = _tiff_exif(picture) if picture.format == "TIFF" else _raw_exif(picture)
        if not data:
            return orientation, b""
        if len(data) > exifs.MAX_EXIF:
            raise exifs.BrokenExif(f"it is longer than {exifs.MAX_EXIF} bytes")
        exifs.Exif(data)
    except Exception as error:  # noqa: BLE001 - as above
        notes.append(f"EXIF data cannot be read and is dropped: {' '.join(str(error).split())[:80]}")
        return orientation, b""
    return orientation, data


def _raw_exif(picture: Pictures.Image) -> bytes:
    data = _bytes(picture.info.get("exif"))
    if not data and "Raw profile type exif" in picture.info:
        # ImageMagick writes it as text: a line with the name, one with the length, then hexadecimal digits.
        data = bytes.fromhex("".join(str(picture.info["Raw profile type exif"]).split("\n")[3:]))
    return data.removeprefix(exifs.PREFIX)


def _tiff_exif(picture: Pictures.Image) -> bytes:
    """The tags of a TIFF file that describe the photograph, as a block of their own."""
    found, kept = picture.getexif(), Pictures.Exif()
    for tag in sorted(set(found) - _STRUCTURE):
        kept[tag] = exifs.as_read(found[tag])
    for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        values = {
            tag: exifs.as_read(value)
            for tag, value in found.get_ifd(ifd).items()
            if tag not in {exifs.MAKER_NOTE, exifs.INTEROPERABILITY}
        }
        if values:
            kept.get_ifd(ifd).update(values)
    if not len(kept) and not any(kept.get_ifd(ifd) for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)):
        return b""
    return kept.tobytes().removeprefix(exifs.PREFIX)


def _of_png(stream: BinaryIO, orientation: int, exif: bytes) -> Metadata:
    texts, colours, others = [], [], []
    xmp = claim = b""
    for kind, data in chunks(stream):
        keyword = data.partition(b"\0")[0]
        if kind == b"iTXt" and keyword == XMP_KEYWORD:
            xmp = _international(data)
        elif kind in TEXT_CHUNKS and keyword.startswith(_RAW_PROFILE):
            if not keyword.endswith(_PROFILES):
                others.append(keyword.decode("latin-1"))
        elif kind in TEXT_CHUNKS:
            texts += [] if keyword == RECORD_KEYWORD else [(kind, data)]
        elif kind in COLOUR_CHUNKS:
            colours.append((kind, data))
        elif kind == b"caBX":
            claim = data
        elif kind not in _CARRIED_ELSEWHERE:
            others.append("further frames" if kind in _FRAMES else f"chunk {kind.decode('latin-1')}")
    return Metadata(
        orientation,
        exif,
        xmp,
        texts=tuple(texts),
        colours=tuple(colours),
        claim=claim,
        others=tuple(dict.fromkeys(others)),
    )


def _international(data: bytes) -> bytes:
    """The text of an iTXt chunk (PNG, 11.3.3.4); none when it is broken or too long."""
    _, _, rest = data.partition(b"\0")
    text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if rest[:1] != b"\1":
        return text
    engine = zlib.decompressobj()
    try:
        text = engine.decompress(text, MAX_XMP)
    except zlib.error:
        return b""
    return b"" if engine.unconsumed_tail else text


def _of_jpeg(stream: BinaryIO, picture: Pictures.Image, orientation: int, exif: bytes) -> Metadata:
    segments = tuple(
        (0xFE if name == "COM" else 0xE0 + int(name[3:]), bytes(data)) for name, data in getattr(picture, "applist", ())
    )
    resources = b"".join(
        data.removeprefix(photoshop.SIGNATURE)
        for marker, data in segments
        if marker == 0xED and data.startswith(photoshop.SIGNATURE)
    )
    comment = next((data for marker, data in segments if marker == 0xFE), b"")
    claim = b"".join(data[16 if number else 8 :] for number, data in enumerate(_jumbf(segments)))
    return Metadata(
        orientation,
        exif,
        _bytes(picture.info.get("xmp")),
        resources,
        comment=comment,
        claim=claim,
        segments=segments,
        others=_behind(stream),
    )


def _behind(stream: BinaryIO) -> tuple[str, ...]:
    """What stands behind the picture of a JPEG file, in words."""
    stream.seek(0)
    try:
        trailer = read_layout(stream.read()).trailer
    except BrokenJpeg:
        return ()
    if not trailer.strip(b"\0"):
        return ()
    if b"hdrgm" in trailer or b"urn:iso:std:iso:ts:21496" in trailer:
        return ("gain map (the picture is no longer brighter than white on an HDR screen)",)
    if b"ftyp" in trailer[:4096] or b"MotionPhoto_Data" in trailer:
        return ("video",)
    if b"\xff\xd8\xff" in trailer:
        return ("further pictures",)
    return (f"{len(trailer)} bytes behind the picture",)


def _jumbf(segments: Sequence[tuple[int, bytes]]) -> list[bytes]:
    """The APP11 segments that hold content credentials, in order; each repeats the box's header but for the first."""
    found = [data for marker, data in segments if marker == 0xEB and data.startswith(b"JP")]
    boxes = {data[2:4] for data in found if b"c2pa" in data[:128]}
    return [data for data in found if data[2:4] in boxes]


def _claim(stream: BinaryIO) -> bytes:
    stream.seek(0)
    return found_claim(stream.read(MAX_SEARCHED)) or b""


def _bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return value if isinstance(value, bytes) else b""
