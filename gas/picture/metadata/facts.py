"""What a picture from anywhere says of itself: size and colours, who made it and with what, what is hidden in it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from PIL import ExifTags, ImageCms

from gas import files
from gas.picture.decode import opened
from gas.picture.deep import bit_depth
from gas.picture.metadata import xmp
from gas.picture.metadata.credentials import claim_words
from gas.picture.metadata.exif import EXIF_IFD, GPS_IFD, Exif
from gas.picture.metadata.found import Metadata, read_metadata

if TYPE_CHECKING:
    from PIL import Image as Pictures

_SHOWN = 400
"""Characters of a text that are shown."""
_MOST_TEXT = 2**20

_GENERATORS = {
    "parameters": "AUTOMATIC1111 and others",
    "prompt": "ComfyUI",
    "workflow": "ComfyUI",
    "invokeai_metadata": "InvokeAI",
    "sd-metadata": "InvokeAI",
    "dream": "InvokeAI",
    "fooocus_scheme": "Fooocus",
}
"""Keywords of PNG texts in which programs that make pictures say how they did, and the programs."""
_TAGS = (
    ("camera", (ExifTags.Base.Make, ExifTags.Base.Model)),
    ("taken", (ExifTags.Base.DateTimeOriginal,)),
    ("changed", (ExifTags.Base.DateTime,)),
    ("program", (ExifTags.Base.Software,)),
    ("artist", (ExifTags.Base.Artist,)),
    ("copyright", (ExifTags.Base.Copyright,)),
    ("described as", (ExifTags.Base.ImageDescription,)),
)
_DUBLIN = "http://purl.org/dc/elements/1.1/"
_PROPERTIES = {
    f"{{{_DUBLIN}}}creator": "creator",
    f"{{{_DUBLIN}}}rights": "rights",
    f"{{{_DUBLIN}}}title": "title",
    "{http://ns.adobe.com/xap/1.0/}CreatorTool": "program",
    "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType": "digital source",
}
_DEPTHS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I": 32, "F": 32}


def facts(path: Path) -> list[tuple[str, str]]:
    """Names and values, in the order of reading. InputRefused as `gas.picture.photo.read`; no pixel is decoded."""
    notes: list[str] = []
    with files.open_regular(path) as stream, opened(stream, path.name) as picture:
        bits = bit_depth(picture)  # asked first: what is read behind the pixels may take the layout of these away
        metadata = read_metadata(stream, picture, notes)
        found = [*_of_pixels(picture, metadata, bits), *_of_exif(picture, metadata), *_of_xmp(metadata.xmp)]
    found += [("IPTC", f"{len(metadata.resources)} bytes")] if metadata.resources else []
    found += [("comment", metadata.comment.decode("utf-8", "replace"))] if metadata.comment else []
    found += _of_texts(metadata)
    found += [("content credentials", f"{claim_words(metadata.claim)} (not checked)")] if metadata.claim else []
    found += [("also holds", what) for what in metadata.others]
    found += [("note", note) for note in notes]
    return [(name, _cut(value)) for name, value in found]


def _of_pixels(picture: Pictures.Image, metadata: Metadata, bits: int) -> Iterator[tuple[str, str]]:
    width, height = picture.size
    what = f"{picture.format} {width}x{height}, {picture.mode}"
    depth = _DEPTHS.get(picture.mode) or picture.info.get("bit_depth") or bits
    said = depth != 8 or "bit_depth" in picture.info
    yield "picture", what + (f", {depth} bits a channel" if said else "")
    if metadata.orientation != 1:
        yield "orientation", f"{metadata.orientation} (EXIF): shown turned or mirrored"
    icc = picture.info.get("icc_profile")
    if icc:
        try:
            name = ImageCms.getProfileDescription(ImageCms.getOpenProfile(BytesIO(icc))).strip()
        except (ImageCms.PyCMSError, OSError):
            name = "one that cannot be read"
        yield "colour profile", name
    if metadata.colours:
        yield "colour chunks", ", ".join(kind.decode("latin-1") for kind, _ in metadata.colours)
    frames = getattr(picture, "n_frames", 1)
    if frames > 1:
        yield "frames", str(frames)


def _of_exif(picture: Pictures.Image, metadata: Metadata) -> list[tuple[str, str]]:
    if not metadata.exif:
        return []
    try:
        tags = picture.getexif()
        values = {**tags, **tags.get_ifd(EXIF_IFD)}
        position = bool(tags.get_ifd(GPS_IFD))
        block = Exif(metadata.exif)
        block.without_previews()
    except Exception:  # noqa: BLE001 - metadata from anywhere; Pillow raises nearly anything on it
        return [("EXIF", "cannot be read")]
    words = ((name, " ".join(str(values[tag]).strip("\0 ") for tag in of if values.get(tag))) for name, of in _TAGS)
    found = [(name, value) for name, value in words if value]
    found += [("position", "is in its EXIF data")] if position else []
    return [*found, *(("also holds", f"{what} in its EXIF data") for what in block.left_out)]


def _of_xmp(packet: bytes) -> Iterator[tuple[str, str]]:
    if not packet:
        return
    try:
        root = ElementTree.fromstring(xmp.packet_text(packet))
        position = xmp.positions(packet)
    except (xmp.BrokenXmp, ElementTree.ParseError, ValueError):
        yield "XMP", "cannot be read"
        return
    for element in root.iter():
        for key, value in (*element.attrib.items(), (element.tag, " ".join("".join(element.itertext()).split()))):
            if key in _PROPERTIES and value:
                yield _PROPERTIES[key], value.rpartition("/")[2] if "digitalsource" in value else value
    if position:
        yield "position", "is in its XMP data"


def _of_texts(metadata: Metadata) -> Iterator[tuple[str, str]]:
    for kind, data in metadata.texts:
        keyword, _, rest = data.partition(b"\0")
        name = keyword.decode("latin-1")
        maker = _GENERATORS.get(name)
        yield f"text {name}" + (f" ({maker})" if maker else ""), _text(kind, rest)


def _text(kind: bytes, rest: bytes) -> str:
    """The text of a PNG chunk behind its keyword (PNG, 11.3.3)."""
    if kind == b"tEXt":
        return rest.decode("latin-1")
    packed = kind == b"zTXt"
    coding = "latin-1"
    if kind == b"iTXt":
        packed, rest, coding = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2], "utf-8"
    else:
        rest = rest[1:]
    if packed:
        try:
            rest = zlib.decompressobj().decompress(rest, _MOST_TEXT)
        except zlib.error:
            return "cannot be read"
    return rest.decode(coding, "replace")


def _cut(value: str) -> str:
    words = " ".join(value.split())
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}… ({len(words)} characters)"
