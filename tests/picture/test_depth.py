import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, features
from PIL import Image as Pictures

from gas.errors import InputRefused
from gas.picture import decode, deep, deep_write, photo, photo_write

HEIGHT, WIDTH = 70, 90
MASK = np.zeros((HEIGHT, WIDTH), np.float32)
MASK[20:50, 30:60] = 1
MASK[20] = 0.5
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


def numbers(channels=3):
    """A picture of 16 bits with slow gradients and noise in its low bytes."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    out = np.stack([x * 700, y * 900, (x * y) * 10, np.full_like(x, 257 * 90)][:channels], axis=-1)
    out[..., :3] += np.random.default_rng(0).integers(0, 200, (HEIGHT, WIDTH, 3))
    return out.astype(np.uint16)


def png(pixels):
    """A PNG file, its lines unfiltered."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = pixels.shape
    head = struct.pack(">2I5B", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(pixels, order="<"):
    """A TIFF file, uncompressed."""
    height, width, channels = pixels.shape
    data = pixels.astype(order + "u2").tobytes()
    short, long = 3, 4
    tags = [(256, long, width), (257, long, height), (258, short, None), (259, short, 1), (262, short, 2)]
    tags += [(273, long, 200), (277, short, channels), (278, long, height), (279, long, len(data)), (284, short, 1)]
    tags += [(338, short, 2)] if channels == 4 else []
    out = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", len(tags))
    for tag, kind, value in tags:
        if value is None:
            out += struct.pack(order + "2H2I", tag, kind, channels, 180)
        elif kind == short:
            out += struct.pack(order + "2HI2H", tag, kind, 1, value, 0)
        else:
            out += struct.pack(order + "2H2I", tag, kind, 1, value)
    return (
        (out + bytes(4)).ljust(180, b"\0")
        + struct.pack(f"{order}{channels}H", *[16] * channels).ljust(20, b"\0")
        + data
    )


def edit(pixels):
    colour = np.array([40, 180, 200], np.float32)
    out = np.rint(pixels + MASK[..., None] * (colour - pixels)).astype(np.uint8)
    return np.where(MASK[..., None] > 0, out, pixels)


FILES = {
    "png": lambda: png(numbers()),
    "little.tif": lambda: tiff(numbers()),
    "big.tif": lambda: tiff(numbers(), ">"),
    "alpha.png": lambda: png(numbers(4)),
    "alpha.tif": lambda: tiff(numbers(4)),
}


@pytest.mark.parametrize("name", list(FILES))
def test_sixteen_bits_of_colour_are_read_and_written_as_they_are(tmp_path, name):
    source = tmp_path / f"a.{name}"
    source.write_bytes(FILES[name]())
    read = photo.read(source)
    assert read.mode == deep.MODE and (read.native == numbers()).all()
    assert np.abs(read.pixels - numbers() / 257).max() <= 0.5
    written = photo_write.write(read, tmp_path / f"out.{name}", edit(read.pixels), MASK, record="{}")
    assert written.exact and written.outside.max == 0 and written.mode == deep.MODE
    again = photo.read(written.path)
    outside = MASK == 0
    assert (again.native[outside] == numbers()[outside]).all()
    assert (again.alpha is None) == ("alpha" not in name) and (again.alpha is None or (again.alpha == 90).all())
    inside = again.native[30:45, 35:55].astype(int)
    assert np.abs(inside / 257 - [40, 180, 200]).max() <= 0.51
    assert len(np.unique(inside[..., 0])) > 50, "dithered, not in steps of 8 bits"
    assert photo_write.read_embedded(written.path) == "{}"
    same = photo_write.write(read, tmp_path / f"again.{name}", edit(read.pixels), MASK, record="{}")
    assert same.path.read_bytes() == written.path.read_bytes()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_other_programs_read_what_is_written(tmp_path, suffix):
    pixels = numbers(4)
    with (tmp_path / f"a.{suffix}").open("wb") as stream:
        if suffix == "png":
            deep_write.write_png(stream, pixels, [], dpi=(300, 300))
        else:
            deep_write.write_tiff(stream, pixels, {"exif": Pictures.Exif(), "compression": "tiff_adobe_deflate"})
    if suffix == "tif":
        tifffile = pytest.importorskip("tifffile")
        assert (tifffile.imread(tmp_path / "a.tif") == pixels).all()
        return
    cv2 = pytest.importorskip("cv2")
    assert (cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3]] == pixels).all()
    with Pictures.open(tmp_path / "a.png") as picture:
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.02)


def test_what_the_editor_left_as_it_was_keeps_all_its_bits(tmp_path):
    (tmp_path / "a.png").write_bytes(png(numbers()))
    read = photo.read(tmp_path / "a.png")
    image = read.pixels.copy()
    image[30:40, 40:50] = (1, 2, 3)
    written = photo_write.write(read, tmp_path / "out.png", image, np.ones_like(MASK))
    same = photo.read(written.path).native == numbers()
    same[30:40, 40:50] = True
    assert same.all()


def test_metadata_stays_beside_sixteen_bits(tmp_path):
    with (tmp_path / "a.png").open("wb") as stream:
        chunks = [(b"gAMA", (45455).to_bytes(4, "big")), (b"tEXt", b"Copyright\0me")]
        tags = Pictures.Exif()
        tags[ExifTags.Base.Make] = "Maker"
        deep_write.write_png(stream, numbers(), chunks, exif=tags.tobytes().removeprefix(b"Exif\0\0"), dpi=(96, 96))
    read = photo.read(tmp_path / "a.png")
    for suffix in ("png", "tif"):
        written = photo_write.write(read, tmp_path / f"out.{suffix}", edit(read.pixels), MASK)
        with Pictures.open(written.path) as picture:
            assert picture.getexif()[ExifTags.Base.Make] == "Maker"
            assert suffix == "tif" or picture.text["Copyright"] == "me"
        assert "EXIF" in written.metadata.kept and "resolution" in written.metadata.kept


def test_sixteen_bits_that_are_not_read_are_announced(tmp_path):
    (tmp_path / "a.png").write_bytes(png(numbers()[..., :2]))
    read = photo.read(tmp_path / "a.png")
    assert read.mode == "RGB" and any("16 bits a channel, of which 8" in note for note in read.warnings)


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_bits_that_a_format_cannot_hold_are_told(tmp_path, suffix):
    (tmp_path / "a.png").write_bytes(png(numbers()))
    read = photo.read(tmp_path / "a.png")
    written = photo_write.write(read, tmp_path / f"out.{suffix}", edit(read.pixels), MASK)
    assert written.mode == "RGB" and any("8 bits a channel" in note for note in written.warnings)


def test_ten_bits_of_heif_stay_ten(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.encode("RGB;16", (WIDTH, HEIGHT), numbers().tobytes(), tmp_path / "a.heic", quality=-1, chroma=444)
    read = photo.read(tmp_path / "a.heic")
    assert read.mode == deep.MODE and not read.warnings and np.abs(read.native.astype(int) - numbers()).mean() < 200
    written = photo_write.write(read, tmp_path / "out.heic", edit(read.pixels), MASK)
    assert pillow_heif.open_heif(written.path).info["bit_depth"] == 10
    assert written.outside.mean < 1
    assert photo_write.write(read, tmp_path / "out.png", edit(read.pixels), MASK).exact
    (tmp_path / "b.png").write_bytes(png(numbers()))
    made = photo_write.write(photo.read(tmp_path / "b.png"), tmp_path / "b.heic", edit(read.pixels), MASK)
    assert any("10 bits" in note for note in made.warnings)


@needs_avif
def test_avif_goes_in_and_out(tmp_path):
    tags = Pictures.Exif()
    tags[ExifTags.Base.Make], tags[ExifTags.Base.Orientation] = "Maker", 6
    eight = (numbers() >> 8).astype(np.uint8)
    Pictures.fromarray(eight).save(tmp_path / "a.avif", quality=95, exif=tags)
    read = photo.read(tmp_path / "a.avif")
    assert read.format == "AVIF" and read.size == (HEIGHT, WIDTH) and not read.warnings
    mask = np.ascontiguousarray(MASK.T[:, ::-1])
    image = np.where(mask[..., None] > 0, np.uint8(90), read.pixels)
    written = photo_write.write(read, photo_write.default_output(read, tmp_path / "a.avif"), image, mask, record="{}")
    assert written.path.suffix == ".avif" and not written.exact and written.outside.mean < 3
    assert photo_write.read_embedded(written.path) == "{}"
    with Pictures.open(written.path) as picture:
        assert picture.size == (HEIGHT, WIDTH) and picture.getexif()[ExifTags.Base.Make] == "Maker"


@needs_avif
def test_avif_of_more_bits_is_announced(tmp_path, monkeypatch):
    stream = io.BytesIO()
    Pictures.fromarray((numbers() >> 8).astype(np.uint8)).save(stream, "AVIF")
    data = bytearray(stream.getvalue())
    assert decode.avif_depth(data) == 8
    data[data.index(b"av1C") + 6] |= 0x40
    assert decode.avif_depth(data) == 10
    data[data.index(b"av1C") + 6] |= 0x20
    assert decode.avif_depth(data) == 12
    (tmp_path / "a.avif").write_bytes(stream.getvalue())
    monkeypatch.setattr(decode, "avif_depth", lambda head: 10)
    assert any("10 bits a channel, of which 8" in note for note in photo.read(tmp_path / "a.avif").warnings)


def test_without_avif_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "has_avif", lambda: False)
    (tmp_path / "a.avif").write_bytes(b"\0\0\0\x20ftypavif" + bytes(40))
    with pytest.raises(InputRefused, match="is AVIF"):
        photo.read(tmp_path / "a.avif")
