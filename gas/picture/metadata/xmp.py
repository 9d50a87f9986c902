"""XMP packets changed in place: properties are cut out and a description of our own is put in, all else stays as it is.

XMP specification part 1 (2012), section 7. A packet is text from anybody: it is parsed by expat without entities and
never written anew, so nothing is lost that is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any
from xml.parsers import expat

from gas.version import __version__

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_SOURCES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
DIGITAL_SOURCE = f"{_SOURCES}compositeWithTrainedAlgorithmicMedia"
"""IPTC's word for a picture of which a trained model made a part."""
ENHANCED = f"{_SOURCES}algorithmicallyEnhanced"
"""IPTC's word for one that arithmetic alone has changed."""
RECORD_NAMESPACE = "urn:gas-edit:record:1"
MAX_XMP = 4 * 2**20

_XMP, _IPTC = "http://ns.adobe.com/xap/1.0/", "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_TOOL = (_XMP, "CreatorTool")
_ORIENTATION = ("http://ns.adobe.com/tiff/1.0/", "Orientation")
_PREVIEWS = {
    (_XMP, "Thumbnails"): "thumbnail",
    ("http://ns.adobe.com/xmp/note/", "HasExtendedXMP"): "extended XMP",
}
_PREVIEW_SPACES = {
    "http://ns.google.com/photos/1.0/image/": "second picture",
    "http://ns.google.com/photos/1.0/depthmap/": "depth map",
    "http://ns.google.com/photos/1.0/audio/": "sound",
    "http://ns.google.com/photos/1.0/container/": "list of further pictures",
    "http://ns.adobe.com/hdr-gain-map/1.0/": "gain map",
    "http://ns.apple.com/HDRGainMap/1.0/": "gain map",
}
_MOTION = re.compile(r"^(MicroVideo|MotionPhoto)")
_POSITION = re.compile(r"gps|latitude|longitude", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"\s+([^\s=/>]+)\s*=\s*(\"[^\"]*\"|'[^']*')")


class BrokenXmp(ValueError):
    """A packet that cannot be read."""


@dataclass(frozen=True)
class ChangedPacket:
    """A packet that was changed, and the names of what was taken out of it."""

    packet: bytes
    left_out: tuple[str, ...] = ()


def fresh_packet(packed: str = "", *, trained: bool = False) -> str:
    """The XMP packet of an edited picture that had none: its IPTC digital source type says that a model made part.

    `packed` is the record to carry in it, none when empty.
    """
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        f' <rdf:RDF xmlns:rdf="{RDF}">\n'
        f"{_description('rdf', '', packed, trained)}"
        " </rdf:RDF>\n"
        "</x:xmpmeta>\n"
        '<?xpacket end="w"?>'
    )


def edited_packet(
    packet: bytes, packed: str = "", *, gps: bool = False, trained: bool = False, upright: bool = False
) -> ChangedPacket:
    """`packet` saying besides that it is an edit, of which a `trained` model made a part or none did, without what
    shows the picture as it was, and unless `gps` without its position; without its orientation where the pixels
    are `upright`. BrokenXmp for one that is no XMP."""
    text = packet_text(packet)
    found = _Finder(text, gps, upright)
    if found.end is None:
        raise BrokenXmp("it holds no rdf:RDF")
    at, prefix = found.end
    cuts = [*found.cuts, (at, at, _description(prefix, found.about, packed, trained, tool=not found.has_tool))]
    for begin, end, new in sorted(cuts, reverse=True):
        text = text[:begin] + new + text[end:]
    # What stands for growing in place is not needed in a file that is written anew.
    text = re.sub(r"\s{100,}(?=<\?xpacket end)", "\n", text)
    try:
        expat.ParserCreate(namespace_separator=" ").Parse(text, True)
    except expat.ExpatError as error:
        raise BrokenXmp(str(error)) from None
    return ChangedPacket(text.encode(), tuple(dict.fromkeys(found.left_out)))


def positions(packet: bytes) -> bool:
    """Whether a packet holds the position of what is on the picture. BrokenXmp for one that is no XMP."""
    return "position" in _Finder(packet_text(packet), False, False).left_out


def _description(prefix: str, about: str, packed: str, trained: bool, *, tool: bool = True) -> str:
    record = f'\n    gas:record="{escape(packed)}"' if packed else ""
    made_with = f'    xmp:CreatorTool="gas-edit {__version__}"\n' if tool else ""
    return (
        f'  <{prefix}:Description {prefix}:about="{about}"\n'
        f'    xmlns:xmp="{_XMP}"\n'
        f'    xmlns:Iptc4xmpExt="{_IPTC}"\n'
        f'    xmlns:gas="{RECORD_NAMESPACE}"\n'
        f'{made_with}    Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE if trained else ENHANCED}"{record}/>\n'
    )


def packet_text(packet: bytes) -> str:
    """The packet's text, whatever Unicode it is in, from its first mark to its last. BrokenXmp for one that is too long
    or declares entities, which can be bombs."""
    if len(packet) > MAX_XMP:
        raise BrokenXmp(f"it is longer than {MAX_XMP} bytes")
    head = packet[:4]
    coding = "utf-8"
    if head[:2] in {b"\xfe\xff", b"\xff\xfe"} or head[:2] == b"\0<" or head[1:2] == b"\0":
        coding = "utf-16" if head[0] > 0xF0 else ("utf-16-be" if head[:1] == b"\0" else "utf-16-le")
    try:
        text = packet.decode(coding).lstrip("\ufeff").strip("\0 \t\r\n")
    except UnicodeDecodeError as error:
        raise BrokenXmp(str(error)) from None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise BrokenXmp("it declares entities")
    return text


class _Finder:
    """Finds where properties stand in a packet that are to be taken out of it."""

    def __init__(self, text: str, gps: bool, upright: bool) -> None:
        self.cuts: list[tuple[int, int, str]] = []
        self.left_out: list[str] = []
        self.end: tuple[int, str] | None = None
        self.about = ""
        self.has_tool = False
        self._gps, self._upright = gps, upright
        self._bytes = text.encode()
        self._scopes: list[dict[str, str]] = [{}]
        self._open: list[tuple[str, str, int]] = []  # namespace, name, where it begins
        self._removing: int | None = None  # how deep the element that is being taken out lies
        self._parser: Any = expat.ParserCreate("utf-8")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._finish
        try:
            self._parser.Parse(self._bytes, True)
        except (expat.ExpatError, ValueError) as error:
            raise BrokenXmp(str(error)) from None
        # Offsets are in bytes, cuts in characters.
        where = _characters(text)
        self.cuts = [(where(begin), where(end), new) for begin, end, new in self.cuts]
        if self.end is not None:
            self.end = (where(self.end[0]), self.end[1])

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        begin = self._parser.CurrentByteIndex
        tag = self._bytes[begin : self._tag_end(begin)].decode()
        scope = dict(self._scopes[-1])
        scope |= {key[6:]: value for key, value in attributes.items() if key.startswith("xmlns:")}
        scope |= {"": attributes["xmlns"]} if "xmlns" in attributes else {}
        self._scopes.append(scope)
        space, local = self._resolved(name, scope, scope.get("", ""))
        self._open.append((space, local, begin))
        if self._removing is not None:
            return
        if self._taken_out(space, local):
            self._removing = len(self._open)
            return
        if (space, local) == (RDF, "Description"):
            for key, value in attributes.items():
                if self._resolved(key, scope, "") == (RDF, "about") and not self.about:
                    self.about = escape(value)
        for match in _ATTRIBUTE.finditer(tag):
            key = match[1]
            if not key.startswith("xmlns") and self._taken_out(*self._resolved(key, scope, "")):
                ahead = len(tag[: match.start()].encode())
                self.cuts.append((begin + ahead, begin + ahead + len(match[0].encode()), ""))

    def _finish(self, name: str) -> None:
        at = self._parser.CurrentByteIndex
        space, local, begin = self._open[-1]
        if self._removing == len(self._open):
            empty = self._bytes[at : at + 2] != b"</"
            self.cuts.append((begin, self._tag_end(begin if empty else at), ""))
            self._removing = None
        elif (space, local) == (RDF, "RDF"):
            self.end = (at, name.partition(":")[0])
        self._open.pop()
        self._scopes.pop()

    def _taken_out(self, space: str, local: str) -> bool:
        if (space, local) == (_IPTC, "DigitalSourceType") or space == RECORD_NAMESPACE:
            return True  # put in anew
        if (space, local) == _ORIENTATION and self._upright:
            return True
        self.has_tool |= (space, local) == _TOOL
        what = _PREVIEWS.get((space, local)) or _PREVIEW_SPACES.get(space)
        if what is None and _MOTION.match(local):
            what = "video"
        if what is None and not self._gps and _POSITION.search(local):
            what = "position"
        if what is not None:
            self.left_out.append(what)
        return what is not None

    def _tag_end(self, begin: int) -> int:
        """Where the tag that begins at a byte ends; a `>` in an attribute does not end it."""
        quote = 0
        for at in range(begin, len(self._bytes)):
            byte = self._bytes[at]
            if quote:
                quote = 0 if byte == quote else quote
            elif byte in b"\"'":
                quote = byte
            elif byte == 0x3E:
                return at + 1
        raise ValueError("a tag does not end")

    @staticmethod
    def _resolved(name: str, scope: dict[str, str], default: str) -> tuple[str, str]:
        prefix, colon, local = name.rpartition(":")
        return (scope.get(prefix, prefix) if colon else default), local


def _characters(text: str) -> Callable[[int], int]:
    """Turns offsets in bytes of UTF-8 into offsets in characters."""
    data = text.encode()
    if len(data) == len(text):
        return lambda at: at
    return lambda at: len(data[:at].decode())
