import contextlib
import io
import json
import random
import shutil
import struct
import subprocess
import zlib
from xml.etree import ElementTree

import numpy as np
import pictures
import pytest
from PIL import ExifTags, PngImagePlugin
from PIL import Image as Pictures

from gas.picture import photo, photo_write
from gas.picture.jpeg.markers import Segment, read_layout
from gas.picture.metadata import exif as exifs
from gas.picture.metadata import photoshop, xmp
from gas.picture.metadata.credentials import claim_words, found_claim
from gas.picture.metadata.facts import facts
from gas.picture.metadata.found import chunks
from gas.testing.jpeg.kinds import encoded, scene
from gas.testing.jpeg.survey import edited

PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<r:Description r:about="uuid:1" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
  xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"
  xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" exif:GPSLatitude="48,6N" xmp:Rating="4">
 <dc:creator><r:Seq><r:li>Jörg &amp; Söhne</r:li></r:Seq></dc:creator>
 <exif:GPSLongitude>11,34E</exif:GPSLongitude>
 <xmp:Thumbnails><r:Alt><r:li r:parseType="Resource">oldpicture</r:li></r:Alt></xmp:Thumbnails>
</r:Description></r:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


def written(source, suffix, **how):
    read = photo.read(source)
    image, mask = edited(read.pixels)
    return photo_write.write(read, source.parent / f"out.{suffix}", image, mask, record="{}", overwrite=True, **how)


# --- XMP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["utf-8", "utf-16", "utf-16-le"])
def test_xmp_is_merged(coding):
    edit = xmp.edited_packet(PACKET.encode(coding), "cGFja2Vk", trained=True)
    text = edit.packet.decode()
    root = ElementTree.fromstring(text)
    assert "Jörg &amp; Söhne" in text and 'xmp:Rating="4"' in text and 'tiff:Orientation="6"' in text
    assert "GPS" not in text and "oldpicture" not in text and "hdrgm:Version" not in text
    assert set(edit.left_out) == {"position", "thumbnail", "gain map"}
    descriptions = root.findall(f".//{{{xmp.RDF}}}Description")
    assert [one.get(f"{{{xmp.RDF}}}about") for one in descriptions] == ["uuid:1", "uuid:1"]
    assert xmp.DIGITAL_SOURCE in text and 'gas:record="cGFja2Vk"' in text
    again = xmp.edited_packet(edit.packet, "bmV3")
    assert again.packet.count(b"gas:record") == 1 and b"bmV3" in again.packet
    assert again.packet.count(b"DigitalSourceType") == 1


def test_xmp_keeps_the_position_when_asked_and_says_upright_when_it_is():
    edit = xmp.edited_packet(PACKET.encode(), gps=True, upright=True)
    assert b"GPSLatitude" in edit.packet and b"GPSLongitude" in edit.packet and b"Orientation" not in edit.packet
    assert xmp.positions(PACKET.encode()) and not xmp.positions(xmp.edited_packet(PACKET.encode()).packet)


@pytest.mark.parametrize(
    "packet",
    [
        b"<nothing/>",
        b"no xml",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        PACKET.encode()[:400],
        b"\xff\xfe\x00",
        b" " * (xmp.MAX_XMP + 1),
    ],
)
def test_xmp_that_is_none_is_refused(packet):
    with pytest.raises(xmp.BrokenXmp):
        xmp.edited_packet(packet)


def test_broken_xmp_is_left_out_and_that_is_said(tmp_path):
    source = tmp_path / "a.webp"
    Pictures.fromarray(scene()).save(source, lossless=True, xmp=b"<broken")
    made = written(source, "webp")
    assert any(what.startswith("XMP, which is broken") for what in made.metadata.left_out)
    with Pictures.open(made.path) as picture:
        assert xmp.ENHANCED.encode() in picture.info["xmp"] and b"<broken" not in picture.info["xmp"]


# --- EXIF ------------------------------------------------------------------------------------------------------------


def exif_block(*, maker_note=b"", gps=True, thumbnail=True, order="<"):
    """EXIF data with a thumbnail, as cameras write it."""
    tags = Pictures.Exif()
    tags.endian = order
    tags[ExifTags.Base.Make] = "Maker"
    tags[ExifTags.Base.Orientation] = 1
    inside = tags.get_ifd(ExifTags.IFD.Exif)
    inside[ExifTags.Base.LensModel] = "Lens"
    if maker_note:
        inside[ExifTags.Base.MakerNote] = maker_note
    if gps:
        tags.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSMapDatum] = "secret place"
    data = tags.tobytes().removeprefix(exifs.PREFIX)
    if not thumbnail:
        return data
    small = encoded((20, 15))
    at = len(data) + len(data) % 2
    pack = {"<": "little", ">": "big"}[order]
    entries = [(0x0201, 4, at + 2 + 24 + 4), (0x0202, 4, len(small))]
    ifd = len(entries).to_bytes(2, pack)
    for tag, kind, value in entries:
        ifd += tag.to_bytes(2, pack) + kind.to_bytes(2, pack) + (1).to_bytes(4, pack) + value.to_bytes(4, pack)
    block = bytearray(data.ljust(at, b"\0") + ifd + bytes(4) + small)
    first = int.from_bytes(block[4:8], pack)
    end = first + 2 + 12 * int.from_bytes(block[first : first + 2], pack)
    block[end : end + 4] = at.to_bytes(4, pack)
    return bytes(block)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", ["jpg", "webp", "png"])
def test_thumbnails_and_positions_go(tmp_path, suffix, order):
    source = tmp_path / f"a.{suffix}"
    block = exif_block(order=order, maker_note=b"note")
    assert b"\xff\xd8\xff" in block and b"secret place" in block
    Pictures.fromarray(scene()).save(source, exif=exifs.PREFIX + block)
    made = written(source, suffix)
    with Pictures.open(made.path) as picture:
        found = picture.getexif()
        kept = picture.info["exif"]
        assert found[ExifTags.Base.Make] == "Maker"
        assert found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] == "Lens"
    assert b"\xff\xd8\xff" not in kept and b"secret" not in kept and b"note" not in kept
    assert set(made.metadata.left_out) >= {"thumbnail", "position", "maker's note"}
    assert "EXIF" in made.metadata.kept


def test_with_the_position_a_makers_note_stays_at_its_place(tmp_path):
    source = tmp_path / "a.jpg"
    block = exif_block(maker_note=b"note with offsets")
    source.write_bytes(encoded(exif=exifs.PREFIX + block))
    made = written(source, "jpg", gps=True)
    with Pictures.open(made.path) as picture:
        kept = picture.info["exif"].removeprefix(exifs.PREFIX)
    assert kept.index(b"note with offsets") == block.index(b"note with offsets")
    assert made.metadata.left_out == ("thumbnail",)


def test_a_preview_in_a_makers_note_goes_with_it(tmp_path):
    source = tmp_path / "a.jpg"
    source.write_bytes(encoded(exif=exifs.PREFIX + exif_block(maker_note=b"note" + encoded((9, 9)), thumbnail=False)))
    made = written(source, "jpg", gps=True)
    assert made.metadata.left_out == ("maker's note",)
    with Pictures.open(made.path) as picture:
        assert b"\xff\xd8\xff" not in picture.info["exif"]


def test_broken_blocks_never_break_an_edit():
    drawn = random.Random(1)
    block, packet = exif_block(maker_note=b"note"), PACKET.encode()
    for _ in range(300):
        data = bytearray(block)
        for _ in range(drawn.randrange(1, 6)):
            data[drawn.randrange(len(data))] = drawn.randrange(256)
        try:
            one = exifs.Exif(bytes(data))
            one.without_previews()
            one.without_position()
            one.without_maker_note()
            one.upright((3, 4))
            exifs.Exif(one.encoded())
        except exifs.BrokenExif:
            pass
        text = bytearray(packet)
        for _ in range(drawn.randrange(1, 4)):
            text[drawn.randrange(len(text))] = drawn.randrange(256)
        with contextlib.suppress(xmp.BrokenXmp):
            ElementTree.fromstring(xmp.edited_packet(bytes(text)).packet)


def test_names_that_are_not_ascii_stay_in_a_tiff(tmp_path):
    source = tmp_path / "a.tif"
    tags = Pictures.Exif()
    tags[ExifTags.Base.Artist] = "Jörg".encode()
    Pictures.fromarray(scene()).save(source, exif=tags)
    made = written(source, "tif")
    assert "Jörg".encode() in made.path.read_bytes()


# --- IPTC ------------------------------------------------------------------------------------------------------------


def resource(number, data):
    return b"8BIM" + number.to_bytes(2, "big") + b"\0\0" + len(data).to_bytes(4, "big") + data + b"\0" * (len(data) % 2)


def test_iptc_stays_and_the_thumbnail_beside_it_goes(tmp_path):
    small = encoded((12, 9))
    block = resource(0x0404, b"\x1c\x02\x50\0\x02me") + resource(0x040C, small)
    data = encoded()
    source = tmp_path / "a.jpg"
    source.write_bytes(data[:2] + Segment(0xED, photoshop.SIGNATURE + block).encoded + data[2:])
    made = written(source, "jpg")
    assert "IPTC" in made.metadata.kept and "thumbnail" in made.metadata.left_out
    segment = next(one for one in read_layout(made.path.read_bytes()).applications if one.marker == 0xED)
    assert segment.data == photoshop.SIGNATURE + resource(0x0404, b"\x1c\x02\x50\0\x02me")
    assert any(what.startswith("IPTC (PNG") for what in written(source, "png").metadata.left_out)


@pytest.mark.filterwarnings("ignore:Metadata Warning")
def test_iptc_of_a_tiff_stays_though_it_is_said_to_be_numbers(tmp_path):
    iptc = b"\x1c\x02\x50\0\x02me\0"
    entries = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 200)]
    entries += [(277, 3, 1, 1), (278, 3, 1, 1), (279, 4, 1, 1), (33723, 4, 2, 180)]
    body = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + b"".join(struct.pack("<HHII", *one) for one in entries)
    source = tmp_path / "a.tif"
    source.write_bytes((body + bytes(4)).ljust(180, b"\0") + iptc.ljust(20, b"\0") + b"\x80")
    read = photo.read(source)
    made = photo_write.write(read, tmp_path / "out.tif", read.pixels, np.zeros((1, 1), np.float32))
    assert iptc in made.path.read_bytes() and "IPTC" in made.metadata.kept


# --- PNG -------------------------------------------------------------------------------------------------------------


def png_with(path, *added):
    """A PNG file with chunks put behind its header."""
    stream = io.BytesIO()
    Pictures.fromarray(scene()).save(stream, "PNG")
    data, extra = stream.getvalue(), b""
    for kind, content in added:
        extra += len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
    path.write_bytes(data[:33] + extra + data[33:])
    return path


def test_png_text_and_colours_stay(tmp_path):
    text = [
        (b"cICP", bytes([12, 13, 0, 1])),
        (b"gAMA", (45455).to_bytes(4, "big")),
        (b"tEXt", b"parameters\0a cat, steps: 20"),
        (b"zTXt", b"Copyright\0\0" + zlib.compress(b"me")),
        (b"iTXt", b"Title\0\0\0de\0Titel\0" + "Über".encode()),
    ]
    source = png_with(tmp_path / "a.png", *text)
    made = written(source, "png")
    with made.path.open("rb") as stream:
        found = list(chunks(stream))
    assert [one for one in found if one in text] == text
    assert "PNG text (parameters, Copyright, Title)" in made.metadata.kept
    assert {"cICP", "gAMA"} <= set(made.metadata.kept)
    assert any("cICP 12, 13, 0, 1" in note for note in photo.read(source).warnings)
    assert photo_write.read_embedded(made.path) == "{}"
    again = written(made.path, "png")
    with again.path.open("rb") as stream:
        assert sum(data.startswith(b"gas\0") for _, data in chunks(stream)) == 1
    other = written(source, "jpg")
    assert {"cICP", "gAMA", "PNG text (parameters, Copyright, Title)"} <= set(other.metadata.left_out)


def test_chunks_that_are_not_carried_are_named(tmp_path):
    made = written(png_with(tmp_path / "a.png", (b"prVt", b"of mine"), (b"oFFs", bytes(9))), "png")
    assert {"chunk prVt", "chunk oFFs"} <= set(made.metadata.left_out)


# --- what is hidden in a file ----------------------------------------------------------------------------------------


def box(kind, content):
    return (len(content) + 8).to_bytes(4, "big") + kind + content


def claim():
    """Content credentials as a JUMBF box; its claim in CBOR."""

    def text(word):
        raw = word.encode()
        return (bytes([0x60 + len(raw)]) if len(raw) < 24 else bytes([0x78, len(raw)])) + raw

    cbor = b"\xa2" + text("claim_generator") + text("Camera 1.0") + text("dc:title") + text("beach.jpg")

    def labelled(name, *inner):
        return box(b"jumb", box(b"jumd", b"c2pa" + bytes(12) + b"\3" + name + b"\0") + b"".join(inner))

    return labelled(b"c2pa", labelled(b"urn:uuid:1", labelled(b"c2pa.claim", box(b"cbor", cbor))))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_content_credentials_are_read_and_left_out_with_a_warning(tmp_path, suffix):
    source = tmp_path / f"a.{suffix}"
    if suffix == "png":
        png_with(source, (b"caBX", claim()))
    elif suffix == "jpg":
        data = encoded()
        source.write_bytes(data[:2] + Segment(0xEB, b"JP\0\1\0\0\0\1" + claim()).encoded + data[2:])
    else:
        Pictures.fromarray(scene()).save(source, lossless=True)
        data = source.read_bytes() + b"C2PA" + len(claim()).to_bytes(4, "little") + claim() + b"\0" * (len(claim()) % 2)
        source.write_bytes(data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:])
    made = written(source, suffix)
    assert "content credentials" in made.metadata.left_out
    (warning,) = [one for one in made.warnings if "content credentials" in one]
    assert "Camera 1.0" in warning and "beach.jpg" in warning and "invalidates" in warning
    assert found_claim(made.path.read_bytes()) is None
    assert ("content credentials", "made by Camera 1.0, title beach.jpg (not checked)") in facts(source)


def test_claims_that_are_broken_are_read_as_far_as_they_go():
    whole, drawn = claim(), random.Random(2)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(drawn.randrange(1, 5)):
            data[drawn.randrange(len(data))] = drawn.randrange(256)
        assert claim_words(bytes(data)).startswith("made by ")
    assert claim_words(b"") == "made by an unknown program"


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        (b"\xff\xd8\xff hdrgm", "gain map"),
        (b"\0\0\0\x18ftypmp42", "video"),
        (b"\xff\xd8\xff\xe0 another", "further pictures"),
        (b"something", "9 bytes behind the picture"),
    ],
)
def test_what_stands_behind_the_picture_is_left_out_and_named(tmp_path, behind, said):
    source = tmp_path / "a.jpg"
    source.write_bytes(encoded() + behind)
    made = written(source, "jpg")
    assert any(what.startswith(said) for what in made.metadata.left_out)
    assert not read_layout(made.path.read_bytes()).trailer


def test_a_thumbnail_in_the_jfif_header_goes(tmp_path):
    data = encoded()
    layout = read_layout(data)
    header = layout.applications[0].data
    with_thumbnail = Segment(0xE0, header[:12] + bytes([2, 1]) + b"abcdef").encoded
    source = tmp_path / "a.jpg"
    source.write_bytes(data[:2] + with_thumbnail + data[2 + len(layout.applications[0].encoded) :])
    made = written(source, "jpg")
    assert "thumbnail" in made.metadata.left_out and b"abcdef" not in made.path.read_bytes()


# --- all together ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool")
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_exiftool_finds_every_field_again(tmp_path, suffix):
    source = tmp_path / f"a.{suffix}"
    Pictures.fromarray(scene()).save(source, **({"lossless": True} if suffix == "webp" else {"dpi": (300, 300)}))
    fields = ["EXIF:Artist=Jörg", "EXIF:Copyright=me", "EXIF:DateTimeOriginal=2020:01:02 03:04:05", "EXIF:FNumber=2.8"]
    fields += ["EXIF:LensModel=Lens 50", "EXIF:GPSLatitude=48.1", "XMP:GPSLatitude=48.1", "XMP-dc:Creator=Jörg"]
    fields += ["XMP-dc:Rights=me", "XMP-dc:Subject=a", "XMP-xmp:Rating=4", "XMP-photoshop:City=Rom"]
    fields += ["IPTC:Keywords=kw", "IPTC:By-line=Jörg"] if suffix in {"jpg", "tif"} else []
    fields += ["EXIF:Orientation#=6", "Comment=hello"] if suffix == "jpg" else []
    fields += ["PNG:Title=T", "PNG:Copyright=C"] if suffix == "png" else []
    command = ["exiftool", "-q", "-overwrite_original", *(f"-{one}" for one in fields), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)

    def read(path):
        command = ["exiftool", "-json", "-G1", "-a", str(path)]
        found = json.loads(subprocess.run(command, capture_output=True, timeout=60, check=True).stdout)[0]
        groups = ("System", "ExifTool", "SourceFile", "File", "Composite")
        # A resource of Photoshop and a tag of TIFF hold the same IPTC data; exiftool counts them.
        return {
            name.replace("IPTC2:", "IPTC:"): value for name, value in found.items() if name.split(":")[0] not in groups
        }

    before = read(source)
    for gps in (False, True):
        after = read(written(source, suffix, gps=gps).path)
        lost = {name for name in before if before[name] != after.get(name)} - {"IFD0:StripOffsets"}
        assert lost == ({name for name in before if "GPS" in name} if not gps else set())
        new = {name.partition(":")[2] for name in after.keys() - before.keys()}
        assert new <= {"DigitalSourceType", "CreatorTool", "Record", "Gas"} and "DigitalSourceType" in new


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_facts_say_how_deep_colours_are(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "png":
        path.write_bytes(pictures.png(4, 3, bytes(3 * (1 + 4 * 6)), pictures.png_chunk(b"cICP", b"\x09\x10\0\1"), 16))
    else:
        tifffile = pytest.importorskip("tifffile")
        tifffile.imwrite(path, np.zeros((3, 4, 3), np.uint16), photometric="rgb")
    found = facts(path)
    assert ("picture", f"{'PNG' if suffix == 'png' else 'TIFF'} 4x3, RGB, 16 bits a channel") in found
    assert suffix == "tif" or any(name == "note" and "cICP 9, 16, 0, 1" in value for name, value in found)
    assert not any("cannot be read" in name for name, _ in found)


def test_facts_of_pictures_by_others(tmp_path):
    added = PngImagePlugin.PngInfo()
    added.add_text("parameters", "a cat\nsteps: 20")
    added.add_itxt("XML:com.adobe.xmp", PACKET)
    tags = Pictures.Exif()
    tags[ExifTags.Base.Make], tags[ExifTags.Base.Model] = "Maker", "X1"
    source = tmp_path / "a.png"
    Pictures.fromarray(np.zeros((4, 6, 3), np.uint8)).save(source, pnginfo=added, exif=tags)
    found = facts(source)
    assert ("picture", "PNG 6x4, RGB") in found and ("camera", "Maker X1") in found
    assert ("creator", "Jörg & Söhne") in found and ("position", "is in its XMP data") in found
    assert ("text parameters (AUTOMATIC1111 and others)", "a cat steps: 20") in found
    (tmp_path / "b.jpg").write_bytes(encoded(exif=exifs.PREFIX + exif_block()))
    assert {("also holds", "thumbnail in its EXIF data"), ("position", "is in its EXIF data")} <= set(
        facts(tmp_path / "b.jpg")
    )
