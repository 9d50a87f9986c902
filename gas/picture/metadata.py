"""What stands in a picture's file beside its pixels: EXIF worth keeping, and the note that says it was edited."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
import zlib
from html import escape

from PIL import ExifTags
from PIL import Image as Pictures

from gas.version import __version__

MAX_EMBEDDED = {"PNG": 700_000, "WEBP": 700_000, "TIFF": 700_000, "JPEG": 48_000, "HEIF": 48_000, "BMP": 0}
"""Longest record, compressed and in base64, that goes into a picture. With the rest of the XMP packet it must fit into
a JPEG segment of 64 KB, and elsewhere into the megabyte that readers of PNG accept."""
MAX_RECORD = 64 * 2**20
MAX_EXIF = 60_000
_EXIF_KEPT = {
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
}
_DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_RECORD_NAMESPACE = "urn:gas-edit:record:1"


def read_exif(picture: Pictures.Image, notes: list[str]) -> tuple[int, bytes]:
    """The orientation, 1 where it is missing or makes no sense, and the EXIF data that is worth keeping, position
    included.

    Left out: the thumbnail (it shows the picture before the edit), the maker's note (its offsets break when it is
    moved) and all that describes the file rather than the photograph.
    """
    try:
        found = picture.getexif()
        orientation = found.get(ExifTags.Base.Orientation, 1)
        kept = Pictures.Exif()
        for tag in _EXIF_KEPT & set(found):
            kept[tag] = found[tag]
        for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            values = {
                tag: value
                for tag, value in found.get_ifd(ifd).items()
                if tag not in {ExifTags.IFD.MakerNote, ExifTags.IFD.Interop}
                and tag not in {ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight}
            }
            if values:
                kept.get_ifd(ifd).update(values)
        data = (
            kept.tobytes()
            if len(kept) or any(kept.get_ifd(i) for i in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo))
            else b""
        )
        if len(data) > 60_000:
            raise ValueError("longer than 60,000 bytes")
    except Exception as error:  # noqa: BLE001 - metadata from anywhere; Pillow raises nearly anything on it
        notes.append(f"EXIF data cannot be read and is dropped: {' '.join(str(error).split())[:80]}")
        with contextlib.suppress(Exception):
            value = picture.getexif().get(ExifTags.Base.Orientation, 1)
            return (value if value in range(1, 9) else 1), b""
        return 1, b""
    return (int(orientation) if orientation in range(1, 9) else 1), data


def without_position(exif: bytes) -> bytes:
    if not exif:
        return exif
    kept = Pictures.Exif()
    kept.load(exif)
    out = Pictures.Exif()
    for tag in _EXIF_KEPT & set(kept):
        out[tag] = kept[tag]
    values = kept.get_ifd(ExifTags.IFD.Exif)
    if values:
        out.get_ifd(ExifTags.IFD.Exif).update(values)
    return out.tobytes() if len(out) or values else b""


def pack(text: str) -> str:
    """A text compressed and in base64, as it stands in a picture."""
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unpack(packed: str) -> str:
    """The text that `pack` packed. ValueError when it is broken or longer than 64 MB."""
    engine = zlib.decompressobj()
    try:
        data = engine.decompress(base64.b64decode(packed, validate=True), MAX_RECORD)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(str(error)) from None
    if engine.unconsumed_tail or not engine.eof:
        raise ValueError("too long or cut off")
    return data.decode()


def packed_in_xmp(packet: bytes | str) -> str | None:
    """The packed record in an XMP packet, None when there is none."""
    text = packet.decode("utf-8", "replace") if isinstance(packet, bytes) else packet
    match = re.search(r'\bgas:record="([A-Za-z0-9+/=]+)"', text)
    return match.group(1) if match else None


def xmp_packet(packed: str = "") -> str:
    """The XMP packet of an edited picture: its IPTC digital source type says that a model made part of it.

    `packed` is the record to carry in it, none when empty.
    """
    record = f'\n    gas:record="{escape(packed)}"' if packed else ""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
        '  <rdf:Description rdf:about=""\n'
        '    xmlns:xmp="http://ns.adobe.com/xap/1.0/"\n'
        '    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"\n'
        f'    xmlns:gas="{_RECORD_NAMESPACE}"\n'
        f'    xmp:CreatorTool="gas-edit {__version__}"\n'
        f'    Iptc4xmpExt:DigitalSourceType="{_DIGITAL_SOURCE}"{record}/>\n'
        " </rdf:RDF>\n"
        "</x:xmpmeta>\n"
        '<?xpacket end="w"?>'
    )
