"""What of a photograph's metadata goes into its edited file: kept, changed, or left out, and a list that says so."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gas.picture.jpeg.markers import APP0, APP1, APP2, APP11, APP13, APP14, COM, Segment
from gas.picture.metadata import exif as exifs
from gas.picture.metadata import photoshop, xmp
from gas.picture.metadata.credentials import claim_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gas.picture.metadata.found import Metadata

MAX_EMBEDDED = {"JPEG": 48_000, "HEIF": 48_000, "BMP": 0, **dict.fromkeys(("PNG", "WEBP", "TIFF", "AVIF"), 700_000)}
"""Longest record, compressed and in base64, that goes into a picture. With the rest of the XMP packet it must fit into
a JPEG segment of 64 KB, and elsewhere into the megabyte that readers of PNG accept."""
XMP_HEAD, EXTENDED_HEAD = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
ICC_HEAD, MPF_HEAD = b"ICC_PROFILE\0", b"MPF\0"
_OF_FURTHER_PICTURES = {
    MPF_HEAD: "further pictures",
    b"FPXR\0": "previews",
    b"urn:iso:std:iso:ts:21496:-1\0": "gain map",
}
MAX_SEGMENT_XMP = 65_000


@dataclass(frozen=True)
class Report:
    """What became of a photograph's metadata, in words, for people and for the record."""

    kept: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Carried:
    """The metadata of an edited file: an EXIF block, an XMP packet, image resources, PNG chunks (kind, data), a JPEG
    comment. `embedded`: the packet or a chunk holds the record."""

    exif: bytes = b""
    xmp: bytes = b""
    resources: bytes = b""
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    comment: bytes = b""
    embedded: bool = False
    report: Report = field(default_factory=Report)


def room(metadata: Metadata, container: str) -> int:
    """How long a packed record may be that goes into a file beside what is there already."""
    most = MAX_EMBEDDED[container]
    if container in {"JPEG", "HEIF"}:
        most = min(most, MAX_SEGMENT_XMP - len(xmp.fresh_packet(trained=True)) - len(metadata.xmp))
    return max(most, 0)


def carried(
    metadata: Metadata,
    container: str,
    *,
    packed: str = "",
    gps: bool = False,
    trained: bool = False,
    upright: tuple[int, int] | None = None,
) -> Carried:
    """What goes into a file of kind `container`, with the `packed` record where there is room for it, and whether a
    `trained` model made a part.

    Without `gps` no position goes along, nor a maker's note, which may hold one. `upright` is the size (width, height)
    of pixels that are stored upright; None: they lie as in the file that was read.
    """
    if container == "BMP":
        return _nothing(metadata)
    kept: list[str] = []
    changed: list[str] = []
    left: list[str] = []
    warnings: list[str] = []
    exif = _exif(metadata, container, gps, upright, kept, left)
    if upright is not None and (metadata.turned or metadata.orientation != 1):
        changed.append("orientation (the pixels are upright)")
    embedded = 0 < len(packed) <= room(metadata, container)
    in_packet = packed if embedded and container != "PNG" else ""
    packet = _xmp(metadata, in_packet, gps, trained, upright is not None, kept, left)
    resources = b""
    if metadata.resources:
        if container in {"JPEG", "TIFF"}:
            resources = _resources(metadata, kept, left)
        else:
            left.append(f"IPTC ({container} has no place for it)")
    chunks = _chunks(metadata, container, packed if embedded else "", packet, kept, left)
    comment = b""
    if metadata.comment:
        if container == "JPEG":
            comment = metadata.comment
            kept.append("comment")
        else:
            left.append("comment")
    if metadata.claim:
        left.append("content credentials")
        warnings.append(
            f"the file had content credentials ({claim_words(metadata.claim)}); an edit invalidates them, so they are "
            "left out"
        )
    left += metadata.others
    report = Report(_each_once(kept), _each_once(changed), _each_once(left), tuple(warnings))
    return Carried(exif, packet, resources, chunks, comment, embedded, report)


def jpeg_segments(
    metadata: Metadata, made: Carried, icc: bytes | None, encoder: Sequence[Segment] | None = None
) -> tuple[tuple[Segment, ...], Report]:
    """The application segments of a JPEG file that is made of one, in their order, and the report on them.

    What is not known here stays, unless a picture is hidden in it. `encoder` are the segments that an encoder wrote:
    where the coefficients are new, they say what the colours are.
    """
    out: list[Segment] = []
    kept, left = list(made.report.kept), list(made.report.left_out)
    adobe = [Segment(*one) for one in metadata.segments if one[0] == APP14] if encoder is None else _of(encoder, APP14)
    once = {
        APP0: _jfif(metadata, encoder),
        APP14: adobe,
        APP1: _packets(made),
        APP2: _icc(metadata, icc),
        APP13: _resource_segments(made),
    }
    for marker, data in metadata.segments:
        known, words = _known(marker, data)
        if words:
            left.append(words)
        if known:
            out += once.pop(marker, [])
        elif not words:
            out.append(Segment(marker, data))
            kept += [f"segment APP{marker - APP0}"] if marker != COM else []
    # JFIF's header comes first; what the file had none of comes behind it.
    first = 1 if out and out[0].marker == APP0 else 0
    out[first:first] = [segment for segments in once.values() for segment in segments]
    return tuple(out), replace(made.report, kept=_each_once(kept), left_out=_each_once(left))


def new_segments(made: Carried, icc: bytes | None, encoder: Sequence[Segment]) -> tuple[Segment, ...]:
    """The application segments of a JPEG file whose photograph was a file of another kind."""
    own = [*_of(encoder, APP0), *_of(encoder, APP14), *_packets(made), *_icc_segments(icc), *_resource_segments(made)]
    return tuple([*own, Segment(COM, made.comment)] if made.comment else own)


def _known(marker: int, data: bytes) -> tuple[bool, str]:
    """Whether a segment is one of those that are put in anew, and what of it is left out."""
    if marker == APP0:
        thumbnail = data.startswith(b"JFXX\0") or (data.startswith(b"JFIF\0") and len(data) > 14)
        return True, "thumbnail" if thumbnail else ""
    if marker == APP1 and data.startswith(EXTENDED_HEAD):
        return True, "extended XMP"
    if marker == APP1 and data.startswith((exifs.PREFIX, XMP_HEAD)):
        return True, ""
    if marker == APP2 and data.startswith((ICC_HEAD, *_OF_FURTHER_PICTURES)):
        return True, _OF_FURTHER_PICTURES.get(data[: data.find(b"\0") + 1], "")
    if marker == APP11 and data.startswith(b"JP"):
        return True, "" if b"c2pa" in data[:128] else "segment APP11"
    if marker == APP13 and data.startswith(photoshop.SIGNATURE):
        return True, ""
    if marker == APP14:
        return True, ""
    if marker == COM:
        return False, ""
    return False, f"segment APP{marker - APP0}, which holds a picture" if b"\xff\xd8\xff" in data else ""


def _jfif(metadata: Metadata, encoder: Sequence[Segment] | None) -> list[Segment]:
    """The JFIF header, with the resolution of the file that was read, without a thumbnail."""
    if encoder is not None and not _of(encoder, APP0):
        return []  # its colours are such that there must be none
    found = [data for marker, data in metadata.segments if marker == APP0 and data.startswith(b"JFIF\0")]
    if not found:
        return []
    return [Segment(APP0, found[0] if len(found[0]) <= 14 else found[0][:12] + b"\0\0")]


def _icc(metadata: Metadata, icc: bytes | None) -> list[Segment]:
    found = [Segment(*one) for one in metadata.segments if one[0] == APP2 and one[1].startswith(ICC_HEAD)]
    return found if icc is not None else []


def _icc_segments(icc: bytes | None) -> list[Segment]:
    """A profile in segments of at most 64 KB (ICC.1:2022, B.4)."""
    step = 65_000
    parts = [(icc or b"")[at : at + step] for at in range(0, len(icc or b""), step)]
    return [Segment(APP2, ICC_HEAD + bytes([number, len(parts)]) + part) for number, part in enumerate(parts, 1)]


def _of(segments: Sequence[Segment], marker: int) -> list[Segment]:
    return [segment for segment in segments if segment.marker == marker]


def _packets(made: Carried) -> list[Segment]:
    exif = [Segment(APP1, exifs.PREFIX + made.exif)] if made.exif else []
    return [*exif, Segment(APP1, XMP_HEAD + made.xmp)]


def _nothing(metadata: Metadata) -> Carried:
    names = {
        "EXIF": metadata.exif,
        "XMP": metadata.xmp,
        "IPTC": metadata.resources,
        "PNG text": metadata.texts,
        "colour chunks": metadata.colours,
        "comment": metadata.comment,
        "content credentials": metadata.claim,
    }
    left = (*(name for name, value in names.items() if value), *metadata.others)
    return Carried(report=Report(left_out=_each_once(list(left))))


def _exif(
    metadata: Metadata,
    container: str,
    gps: bool,
    upright: tuple[int, int] | None,
    kept: list[str],
    left: list[str],
) -> bytes:
    if not metadata.exif:
        return b""
    try:
        block = exifs.Exif(metadata.exif)
        block.without_previews()
        if not gps:
            block.without_position()
        if not gps or container == "TIFF":
            block.without_maker_note()
        if upright is not None:
            block.upright(upright)
        data = block.encoded()
        exifs.Exif(data)
    except exifs.BrokenExif as error:
        left.append(f"EXIF, which is broken: {error}")
        return b""
    kept.append("EXIF")
    left += block.left_out
    return data


def _xmp(
    metadata: Metadata, packed: str, gps: bool, trained: bool, upright: bool, kept: list[str], left: list[str]
) -> bytes:
    if not metadata.xmp:
        return xmp.fresh_packet(packed, trained=trained).encode()
    try:
        edited = xmp.edited_packet(metadata.xmp, packed, gps=gps, trained=trained, upright=upright)
    except xmp.BrokenXmp as error:
        left.append(f"XMP, which is broken: {' '.join(str(error).split())[:80]}")
        return xmp.fresh_packet(packed, trained=trained).encode()
    kept.append("XMP")
    left += edited.left_out
    return edited.packet


def _resources(metadata: Metadata, kept: list[str], left: list[str]) -> bytes:
    try:
        data, had_thumbnail = photoshop.edited_resources(metadata.resources)
    except ValueError as error:
        left.append(f"IPTC, which is broken: {error}")
        return b""
    left += ["thumbnail"] if had_thumbnail else []
    kept += ["IPTC"] if data else []
    return data


def _chunks(
    metadata: Metadata, container: str, packed: str, packet: bytes, kept: list[str], left: list[str]
) -> tuple[tuple[bytes, bytes], ...]:
    names = [data.partition(b"\0")[0].decode("latin-1") for _, data in metadata.texts]
    words = f"PNG text ({', '.join(dict.fromkeys(names))})" if names else ""
    colours = [kind.decode("latin-1") for kind, _ in metadata.colours]
    if container != "PNG":
        left += [words] if words else []
        left += colours
        return ()
    kept += [words] if words else []
    kept += colours
    own = [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)]
    own += [(b"iTXt", b"gas\0\0\0\0\0" + packed.encode())] if packed else []
    return (*metadata.colours, *metadata.texts, *own)


def _resource_segments(made: Carried) -> list[Segment]:
    """The image resources in segments of at most 64 KB; a resource may be spread over two."""
    step = 65_000
    parts = [made.resources[at : at + step] for at in range(0, len(made.resources), step)]
    return [Segment(APP13, photoshop.SIGNATURE + part) for part in parts]


def _each_once(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_plain(name) for name in names))


def _plain(name: str) -> str:
    """A name from a file, without what could steer a terminal, and cut."""
    return re.sub(r"[^\x20-\x7e\xa0-\uffff]", "?", name)[:200]
