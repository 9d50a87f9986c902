import io
import itertools
import os
import random
import struct
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pictures
import PIL
import pytest
from effort import at_most
from PIL import ExifTags, ImageCms, ImageOps
from PIL import Image as Pictures

from gas.errors import GasError, InputRefused, ModelUnavailable, OutOfResources, UsageError
from gas.memory import Memory
from gas.picture import decode, photo, photo_write
from gas.process import own_process

SCENE = pictures.scene()
MASK = np.zeros(SCENE.shape[:2], np.float32)
MASK[20:50, 30:80] = 1
MASK[20, 30:80] = 0.5


def saved(path, image, **options):
    image.save(path, **options)
    return path


def edit(image, strength=MASK):
    """A blended edit: a light blue inside the mask."""
    blue = np.array([120, 160, 240], np.float32)
    out = image + strength[..., None] * (blue - image)
    return np.where(strength[..., None] > 0, np.rint(out), image).astype(np.uint8)


def grey_edit(image, strength=MASK):
    out = image + strength[..., None] * (np.float32(200) - image)
    return np.where(strength[..., None] > 0, np.rint(out), image).astype(np.uint8)


# --- colours and orientation ---


def in_mode(mode):
    rgb = Pictures.fromarray(SCENE)
    if mode == "I;16":
        return Pictures.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
    if mode in {"I", "F"}:
        return Pictures.fromarray(np.asarray(rgb.convert("L")).astype({"I": np.int32, "F": np.float32}[mode]))
    if mode == "LA":
        return rgb.convert("L").convert("LA")
    if mode == "P":
        return rgb.quantize(256)
    return rgb.convert(mode)


def refuse_unreadable(mode, suffix):
    """Pillow 12.3 cannot read the YCbCr TIFF that it writes itself."""
    if (mode, suffix) != ("YCbCr", "tif"):
        return
    stream = io.BytesIO()
    in_mode(mode).save(stream, "TIFF")
    try:
        Pictures.open(stream).load()
    except OSError:
        pytest.skip(f"Pillow {PIL.__version__} cannot read its own YCbCr TIFF")


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        (mode, suffix)
        for suffix, modes in {
            "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
            "tif": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "YCbCr", "I", "F", "I;16"),
            "jpg": ("L", "RGB", "CMYK"),
            "bmp": ("1", "L", "P", "RGB"),
            "webp": ("RGB", "RGBA"),
            "gif": ("L", "P"),
        }.items()
        for mode in modes
    ],
)
def test_every_mode_is_seen_in_its_colours(tmp_path, mode, suffix):
    refuse_unreadable(mode, suffix)
    options = {"quality": 95} if suffix == "jpg" else {"lossless": True} if suffix == "webp" else {}
    picture = in_mode(mode)
    read = photo.read(saved(tmp_path / f"a.{suffix}", picture, **options))
    if mode == "1":
        reference = np.asarray(picture.convert("RGB"))
    elif mode in {"L", "LA", "I;16", "I", "F"}:
        reference = np.asarray(Pictures.fromarray(SCENE).convert("L").convert("RGB"))
    else:
        reference = SCENE
    assert read.pixels.shape == SCENE.shape and read.pixels.dtype == np.uint8
    assert np.abs(read.pixels.astype(int) - reference).mean() <= 2


@pytest.mark.parametrize("orientation", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 65535])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_pictures_are_read_and_written_upright_with_no_second_turn(tmp_path, orientation, suffix):
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's way back from upright to as stored
    stored = Pictures.fromarray(SCENE)
    if orientation in turns:
        stored = stored.transpose(Pictures.Transpose(turns[orientation]))
    exif = Pictures.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Artist] = "somebody"
    options = {"lossless": True} if suffix == "webp" else {"quality": 95} if suffix == "jpg" else {}
    path = saved(tmp_path / f"a.{suffix}", stored, exif=exif, **options)
    read = photo.read(path)
    assert read.pixels.shape == SCENE.shape
    assert np.abs(read.pixels.astype(int) - SCENE).mean() <= 2
    out = tmp_path / f"out.{suffix}"
    photo_write.write(read, out, edit(read.pixels), MASK)
    with Pictures.open(out) as again:
        assert again.getexif()[ExifTags.Base.Artist] == "somebody"
        tag = again.getexif().get(ExifTags.Base.Orientation)
        if orientation in turns:
            # A JPEG file keeps its frame and with it its coefficients; any other is stored upright.
            assert tag == {"jpg": orientation, "tif": None}.get(suffix, 1)
        if suffix != "jpg":
            assert again.size == (96, 64)
        shown = np.asarray(ImageOps.exif_transpose(again))
        assert np.abs(shown.astype(int) - edit(SCENE)).mean() <= 2


def test_garbage_exif_is_dropped_and_said(tmp_path):
    for junk in (
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xaa" * 50,
        b"Exif\0\0nonsense",
        b"\0",
    ):
        path = saved(tmp_path / "a.jpg", Pictures.fromarray(SCENE), exif=junk)
        assert photo.read(path).pixels.shape == SCENE.shape
        path.unlink()


def test_a_profile_is_used_and_kept(tmp_path):
    icc = pictures.wide_rgb_profile()
    profile = ImageCms.getOpenProfile(io.BytesIO(icc))
    wide = ImageCms.profileToProfile(Pictures.fromarray(SCENE), ImageCms.createProfile("sRGB"), profile, 1)
    assert np.abs(np.asarray(wide).astype(int) - SCENE).mean() > 5, "the test needs a profile that matters"
    read = photo.read(saved(tmp_path / "a.png", wide, icc_profile=icc))
    assert np.abs(read.pixels.astype(int) - SCENE).mean() <= 2
    target = edit(read.pixels)
    written = photo_write.write(read, tmp_path / "out.png", target, MASK)
    assert written.exact and written.outside == (0, 0)
    again = photo.read(written.path)
    assert again.icc == icc
    assert np.abs(again.pixels.astype(int) - target)[MASK > 0].mean() <= 2


def test_colours_outside_srgb_stay_outside_the_mask_and_fade_in_it(tmp_path):
    """What 8-bit sRGB clips is kept where the mask is 0 and leaves no step where it begins."""
    wide = np.zeros((64, 96, 3), np.uint8)
    wide[..., 1] = 250  # a green far outside sRGB
    read = photo.read(saved(tmp_path / "a.png", Pictures.fromarray(wide), icc_profile=pictures.wide_rgb_profile()))
    ramp = np.zeros((64, 96), np.float32)
    ramp[:, 20:80] = np.linspace(0.01, 1, 60)
    written = photo_write.write(read, tmp_path / "out.png", grey_edit(read.pixels, ramp), ramp)
    assert written.outside == (0, 0)
    native = photo.read(written.path).native.astype(int)
    assert np.abs(native[:, 20] - native[:, 19]).max() <= 4
    assert np.abs(np.diff(native[32, 20:80], axis=0)).max() <= 12


@pytest.mark.parametrize("icc", [b"garbage", b"", pictures.wide_rgb_profile()[:200], pictures.cmyk_profile()])
def test_a_profile_that_cannot_be_used_is_dropped_with_a_warning(tmp_path, icc):
    read = photo.read(saved(tmp_path / "a.png", Pictures.fromarray(SCENE), icc_profile=icc))
    assert np.array_equal(read.pixels, SCENE)
    assert read.icc is None
    assert bool(icc) == any("colour profile" in note for note in read.warnings)


def test_srgb_under_any_name_is_left_alone(tmp_path):
    icc = pictures.srgb_profile()
    exact = ImageCms.profileToProfile(
        Pictures.fromarray(SCENE), ImageCms.getOpenProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB"), 1
    )
    assert not np.array_equal(exact, SCENE), "the test needs a profile that shakes the last bit"
    read = photo.read(saved(tmp_path / "a.png", Pictures.fromarray(SCENE), icc_profile=icc))
    assert np.array_equal(read.pixels, SCENE)
    assert read.icc == icc


def test_grey_and_cmyk_profiles(tmp_path):
    linear = Pictures.fromarray(np.full((64, 96), 55, np.uint8))
    grey = photo.read(saved(tmp_path / "a.png", linear, icc_profile=pictures.grey_profile()))
    assert abs(int(grey.pixels[0, 0, 0]) - 128) <= 3, "a fifth of the light is a middle grey"
    icc = pictures.cmyk_profile()
    profile = ImageCms.getOpenProfile(io.BytesIO(icc))
    inks = ImageCms.profileToProfile(Pictures.fromarray(SCENE), ImageCms.createProfile("sRGB"), profile, 1, "CMYK")
    read = photo.read(saved(tmp_path / "a.tif", inks, icc_profile=icc))
    assert (read.mode, read.icc) == ("CMYK", icc)
    assert np.abs(read.pixels.astype(int) - SCENE).mean() <= 2
    target = edit(read.pixels)
    written = photo_write.write(read, tmp_path / "out.tif", target, MASK)
    assert (written.mode, written.outside, written.exact) == ("CMYK", (0, 0), True)
    assert np.abs(photo.read(written.path).pixels.astype(int) - target)[MASK > 0].mean() <= 3


# --- writing ---


@pytest.mark.parametrize(
    ("mode", "suffix", "becomes"),
    [
        ("RGB", "png", "RGB"),
        ("RGBA", "png", "RGB"),
        ("P", "png", "RGB"),
        ("1", "png", "RGB"),
        ("L", "png", "RGB"),
        ("I;16", "png", "RGB"),
        ("F", "tif", "RGB"),
        ("RGB", "tif", "RGB"),
        ("CMYK", "tif", "CMYK"),
        ("LAB", "tif", "LAB"),
        ("YCbCr", "tif", "YCbCr"),
        ("RGB", "bmp", "RGB"),
        ("RGB", "webp", "RGB"),
        ("RGBA", "webp", "RGB"),
    ],
)
def test_lossless_outputs_are_the_input_outside_the_mask(tmp_path, mode, suffix, becomes):
    refuse_unreadable(mode, suffix)
    picture = in_mode(mode)
    if mode == "RGBA":
        picture.putalpha(Pictures.fromarray((np.arange(64 * 96).reshape(64, 96) % 256).astype(np.uint8)))
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    read = photo.read(saved(tmp_path / f"a.{suffix}", picture, **options))
    target = edit(read.pixels)
    written = photo_write.write(read, tmp_path / f"out.{suffix}", target, MASK)
    assert (written.mode, written.exact, written.outside) == (becomes, True, (0, 0))
    again = photo.read(written.path)
    if becomes == read.mode:
        assert np.array_equal(again.native[MASK == 0], read.native[MASK == 0])
    assert np.array_equal(again.pixels[MASK == 0], read.pixels[MASK == 0])
    assert np.abs(again.pixels.astype(int) - target)[MASK > 0].mean() <= 2
    assert (again.alpha is None) == (mode != "RGBA")
    if again.alpha is not None:
        assert np.array_equal(again.alpha, read.alpha)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", "png"), ("L", "jpg"), ("I;16", "png"), ("I;16", "tif"), ("I", "tif"), ("F", "tif"), ("LA", "png")],
)
def test_grey_stays_grey_at_its_depth_when_the_edit_is(tmp_path, mode, suffix):
    picture = in_mode(mode)
    if mode == "I;16":
        fine = np.asarray(picture) - np.arange(64 * 96, dtype=np.uint16).reshape(64, 96) % 50
        picture = Pictures.fromarray(fine.astype(np.uint16))
    if mode == "LA":
        picture.putalpha(77)
    read = photo.read(saved(tmp_path / f"a.{suffix}", picture))
    written = photo_write.write(read, tmp_path / f"out.{suffix}", grey_edit(read.pixels), MASK)
    again = photo.read(written.path)
    assert written.mode == again.mode == read.mode
    assert again.native.dtype == read.native.dtype
    if suffix != "jpg":
        assert np.array_equal(again.native[MASK == 0], read.native[MASK == 0])
        assert np.abs(again.pixels[MASK == 1].astype(int) - 200).max() <= 1


def test_not_a_number_stays_where_it_was_and_goes_where_the_edit_is(tmp_path):
    values = np.asarray(in_mode("F")).copy()
    values[5, 5] = values[30, 40] = np.nan
    read = photo.read(saved(tmp_path / "a.tif", Pictures.fromarray(values)))
    written = photo_write.write(read, tmp_path / "out.tif", grey_edit(read.pixels), MASK)
    again = photo.read(written.path).native
    assert np.isnan(again[5, 5]) and written.outside == (0, 0)
    assert again[30, 40] == pytest.approx(200)


def test_jpeg_keeps_its_tables_and_its_pixels_nearly(tmp_path):
    for options in ({"quality": 71, "subsampling": 2}, {"quality": 93, "subsampling": 0, "progressive": True}):
        path = saved(tmp_path / "a.jpg", Pictures.fromarray(SCENE), **options)
        read = photo.read(path)
        written = photo_write.write(read, tmp_path / "out.jpg", edit(read.pixels), MASK, overwrite=True)
        with Pictures.open(path) as before, Pictures.open(written.path) as after:
            assert after.quantization == before.quantization
            assert after.layer == before.layer
            assert after.info.get("progressive") == before.info.get("progressive")
        assert not written.exact
        again = photo.read(written.path)
        # Blocks that the edit does not touch come back nearly the same: coarser colour is resampled at sharp edges.
        far = np.ones(MASK.shape, bool)
        far[0:64, 16:80] = False
        assert np.abs(again.pixels.astype(int) - read.pixels)[far].mean() < 1.5
        assert written.outside.max == np.abs(again.pixels.astype(int) - read.pixels)[MASK == 0].max()


def test_heif_goes_in_and_out(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    path = saved(tmp_path / "a.heic", Pictures.fromarray(SCENE), quality=95)
    read = photo.read(path)
    assert np.abs(read.pixels.astype(int) - SCENE).mean() <= 3
    written = photo_write.write(read, tmp_path / "out.heic", edit(read.pixels), MASK, record="{}")
    assert written.format == "HEIF" and written.outside.mean < 2 and photo_write.read_embedded(written.path) == "{}"


@pytest.mark.parametrize("path", pictures.samples(), ids=lambda p: p.name)
def test_real_photographs(tmp_path, path):
    read = photo.read(path)
    width, height = read.size
    mask = np.zeros((height, width), np.float32)
    mask[height // 3 : height // 2 + 1, width // 4 : width // 2 + 1] = 1
    out = photo_write.default_output(read, tmp_path / path.name)
    written = photo_write.write(read, out, grey_edit(read.pixels, mask), mask)
    again = photo.read(out)
    assert again.size == read.size
    assert again.icc == read.icc
    if written.format == "JPEG":
        assert written.outside.mean < 0.5
    else:
        assert written.outside == (0, 0)
        assert np.array_equal(again.pixels[mask == 0], read.pixels[mask == 0])


def test_the_position_is_dropped_unless_asked_for(tmp_path):
    exif = Pictures.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"hello"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.IFD.MakerNote] = b"secret place"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (12.0, 34.0, 56.0)
    read = photo.read(saved(tmp_path / "a.jpg", Pictures.fromarray(SCENE), exif=exif))
    for gps, suffix in itertools.product((False, True), ("png", "jpg", "webp", "tif")):
        out = photo_write.write(read, tmp_path / f"{gps}.{suffix}", SCENE, MASK, gps=gps, record="{}").path
        with Pictures.open(out) as again:
            found = again.getexif()
            assert bool(found.get_ifd(ExifTags.IFD.GPSInfo)) == gps
            assert found[ExifTags.Base.Make] == "Maker"
            assert found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] == b"hello"
        assert photo_write.read_embedded(out) == "{}"
        # A maker's note may hold the place, too; in a TIFF file its offsets would break.
        assert (b"secret place" in out.read_bytes()) == (gps and suffix != "tif")


@pytest.mark.parametrize(
    ("trained", "source"), [(True, "compositeWithTrainedAlgorithmicMedia"), (False, "algorithmicallyEnhanced")]
)
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_the_output_says_that_it_is_an_edit_and_holds_the_record(tmp_path, suffix, trained, source):
    read = photo.read(saved(tmp_path / "a.png", Pictures.fromarray(SCENE), dpi=(300, 300)))
    record = '{"phrase": "<ré & \\"ñ\\">"}' * 20
    how = {"record": record, "trained": trained}
    written = photo_write.write(read, tmp_path / f"out.{suffix}", edit(read.pixels), MASK, **how)
    data = written.path.read_bytes()
    assert f"digitalsourcetype/{source}".encode() in data
    assert written.embedded and photo_write.read_embedded(written.path) == record
    with Pictures.open(written.path) as again:
        packet = again.tag_v2[700] if suffix == "tif" else again.info["xmp"]
        (description,) = ElementTree.fromstring(packet)[0]
        kind = description.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
        assert kind.endswith(f"digitalsourcetype/{source}")
        if suffix != "webp":
            assert again.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    twice = photo_write.write(read, tmp_path / f"twice.{suffix}", edit(read.pixels), MASK, **how)
    assert twice.path.read_bytes() == data, "the same run gives the same bytes"


def test_a_record_too_long_for_the_picture_is_left_out_and_that_is_known(tmp_path):
    read = photo.read(saved(tmp_path / "a.png", Pictures.fromarray(SCENE)))
    long = random.Random(0).randbytes(100_000).hex()
    assert not photo_write.fits(long, photo_write.room(read, "JPEG"))
    assert photo_write.fits(long, photo_write.room(read, "PNG"))
    written = photo_write.write(read, tmp_path / "out.jpg", SCENE, MASK, record=long)
    assert not written.embedded and photo_write.read_embedded(written.path) is None
    written = photo_write.write(read, tmp_path / "out.png", SCENE, MASK, record=long)
    assert written.embedded and photo_write.read_embedded(written.path) == long


def test_output_names(tmp_path):
    path = saved(tmp_path / "a.JPEG", Pictures.fromarray(SCENE), format="JPEG")
    read = photo.read(path)
    first = photo_write.default_output(read, path)
    assert first.name == "a-edited.JPEG"
    photo_write.write(read, first, SCENE, MASK)
    assert photo_write.default_output(read, path).name == "a-edited-2.JPEG"
    with pytest.raises(UsageError, match="is there already"):
        photo_write.write(read, first, SCENE, MASK)
    with pytest.raises(UsageError, match="unknown extension"):
        photo_write.write(read, tmp_path / "a.xyz", SCENE, MASK)
    with pytest.raises(UsageError, match="256 colours"):
        photo_write.write(read, tmp_path / "a.gif", SCENE, MASK)
    gif = saved(tmp_path / "b.gif", Pictures.fromarray(SCENE))
    assert photo_write.default_output(photo.read(gif), gif).name == "b-edited.png"
    clear = Pictures.fromarray(SCENE).convert("RGBA")
    clear.putalpha(100)
    with pytest.raises(UsageError, match="transparency"):
        photo_write.write(photo.read(saved(tmp_path / "c.png", clear)), tmp_path / "c.jpg", SCENE, MASK)


def test_a_bitmap_with_transparency_gets_a_name_that_can_hold_it(tmp_path):
    read = replace(photo.read(saved(tmp_path / "a.bmp", Pictures.fromarray(SCENE))), alpha=np.zeros((64, 96), np.uint8))
    assert read.format == "BMP" and photo_write.default_output(read, tmp_path / "a.bmp").name == "a-edited.png"


@pytest.mark.parametrize(
    ("size", "suffix", "fits"),
    [
        ((16_383, 2), "webp", True),
        ((2, 16_384), "webp", False),
        ((65_500, 2), "jpg", True),
        ((2, 65_501), "jpg", False),
        ((65_501, 2), "png", True),
    ],
)
def test_sides_that_an_encoder_does_not_take_are_refused_before_anything_is_written(tmp_path, size, suffix, fits):
    """The limits are those that the encoders have here: just below each of them the file is written."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    read, out = photo.of_pixels(pixels), tmp_path / f"out.{suffix}"
    if fits:
        photo_write.check(read, out)
        assert photo_write.write(read, out, pixels).path.exists()
        return
    with pytest.raises(UsageError, match=f"{max(size)}") as refused:
        photo_write.check(read, out)
    assert refused.value.exit_code == 2 and refused.value.remedy == "use .png"
    with pytest.raises(Exception, match=r"broken data stream|encoding error"):
        Pictures.fromarray(pixels).save(out)


def test_what_a_format_cannot_hold_is_known_beforehand(tmp_path, monkeypatch):
    read = photo.of_pixels(SCENE)
    monkeypatch.setattr(photo_write, "find_spec", lambda name: name)
    assert photo_write.check(read, tmp_path / "a.heic") == "HEIF"
    monkeypatch.setattr(photo_write, "find_spec", lambda name: None)
    with pytest.raises(ModelUnavailable, match="needs pillow-heif") as missing:
        photo_write.check(read, tmp_path / "a.heic")
    assert "gas-edit[heif]" in missing.value.remedy
    clear = replace(read, alpha=np.zeros((64, 96), np.uint8))
    for name in ("a.jpg", "a.bmp"):
        with pytest.raises(UsageError, match="transparency"):
            photo_write.check(clear, tmp_path / name)
    assert photo_write.check(clear, tmp_path / "a.webp") == "WEBP"
    with pytest.raises(UsageError, match="reserved on Windows"):
        photo_write.check(read, tmp_path / "aux.png")


def test_what_changed_outside_is_measured_where_no_change_was_asked_for(tmp_path):
    """An edit that goes beyond what was asked for is a difference outside, though it was meant."""
    read = photo.read(saved(tmp_path / "a.png", Pictures.fromarray(SCENE)))
    asked = np.zeros_like(MASK)
    asked[MASK > 0] = np.arange(int((MASK > 0).sum())) % 2
    changed = edit(read.pixels)
    written = photo_write.write(read, tmp_path / "out.png", changed, MASK, outside_of=asked)
    again = np.asarray(Pictures.open(written.path)).astype(int)
    difference = np.abs(again - SCENE)[asked == 0]
    assert written.outside == (difference.max(), pytest.approx(difference.mean())) and written.outside.max > 5
    assert photo_write.write(read, tmp_path / "all.png", changed, MASK).outside == (0, 0)


def test_pixels_that_were_no_file(tmp_path):
    read = photo.of_pixels(SCENE)
    assert (read.size, read.mode, read.icc, read.path, read.name) == ((96, 64), "RGB", None, None, "array")
    assert photo.read(saved(tmp_path / "a.png", Pictures.fromarray(SCENE))).path == tmp_path / "a.png"
    for wrong in (SCENE[..., 0], SCENE.astype(float), np.dstack([SCENE, SCENE[..., :1]]), SCENE[:0], "a.png"):
        with pytest.raises(InputRefused, match="picture"):
            photo.of_pixels(wrong)


def test_what_reads_back_otherwise_is_not_kept(tmp_path, monkeypatch):
    read = photo.read(saved(tmp_path / "a.png", Pictures.fromarray(SCENE)))
    save = Pictures.Image.save

    def careless(self, stream, *args, **options):
        save(self.point(lambda level: level // 2), stream, *args, **options)

    monkeypatch.setattr(Pictures.Image, "save", careless)
    with pytest.raises(GasError, match="reads back with other pixels"):
        photo_write.write(read, tmp_path / "out.png", SCENE, MASK)
    monkeypatch.setattr(Pictures.Image, "save", lambda self, stream, *a, **k: stream.write(b"not a picture"))
    with pytest.raises(GasError, match="cannot be read"):
        photo_write.write(read, tmp_path / "out.png", SCENE, MASK)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


# --- bad input ---


def refused(path, complaint):
    with at_most(seconds=10), pytest.raises(InputRefused, match=complaint) as error:
        photo.read(path)
    assert "\n" not in error.value.message and error.value.exit_code == 3


def test_what_is_no_picture_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "dangling.png").symlink_to("nothing")
    contents = {
        "empty.png": b"",
        "text.png": b"hello",
        "a.pdf": b"%PDF-1.7\n",
        "a.png": b"%!PS-Adobe-3.0 EPSF-3.0\n",
        "a.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "zeros.bmp": bytes(1000),
        "a.ppm": b"P6 1 1 255\nabc",
        "half.png": pictures.png(9, 9, b"")[:40],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, name)
    for name in ("pipe.png", "dangling.png", "absent.png", "."):
        refused(tmp_path / name, ".")


def test_the_content_decides_not_the_name(tmp_path):
    path = saved(tmp_path / "a.png", Pictures.fromarray(SCENE), format="JPEG", quality=95)
    assert photo.read(path).format == "JPEG"
    polyglot = tmp_path / "b.jpg"
    polyglot.write_bytes(pictures.png(2, 1, b"\0abcdef") + b"%PDF-1.4 <script>" + path.read_bytes())
    read = photo.read(polyglot)
    assert (read.format, read.size) == ("PNG", (2, 1))


@pytest.mark.parametrize("size", [(1, 1), (4096, 1), (1, 4096), (2, 3)])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp", "gif"])
def test_tiny_and_thin_pictures(tmp_path, size, suffix):
    path = saved(tmp_path / f"a.{suffix}", Pictures.new("RGB", size, (200, 100, 50)))
    read = photo.read(path)
    assert read.size == size
    written = photo_write.write(read, photo_write.default_output(read, path), 255 - read.pixels)
    assert photo.read(written.path).size == size


def test_of_several_frames_the_first_is_taken_and_that_is_said(tmp_path):
    frames = [Pictures.new("RGB", (20, 10), c) for c in ("red", "blue")]
    for suffix in ("gif", "png", "webp", "tif"):
        path = saved(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:])
        read = photo.read(path)
        assert read.pixels[0, 0, 0] > 240
        assert any("only the first" in note for note in read.warnings), suffix


def test_sixteen_bit_colour_is_seen_in_eight(tmp_path):
    rows = b"".join(b"\0" + struct.pack(">3H", 65535, 256 * 77, 0) * 4 for _ in range(3))
    (tmp_path / "a.png").write_bytes(pictures.png(4, 3, rows, depth=16))
    read = photo.read(tmp_path / "a.png")
    assert tuple(read.pixels[0, 0]) == (255, 77, 0) and not read.warnings


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp", "gif"])
def test_broken_files_are_read_or_refused_never_worse(tmp_path, suffix, capfd):
    """Flipped bits, cut ends, zeroed and inserted bytes; a PNG has checksums, so any flip in it is noticed."""
    exif = Pictures.Exif()
    exif[ExifTags.Base.Orientation] = 6
    options = {} if suffix in {"bmp", "gif"} else {"exif": exif, "icc_profile": pictures.wide_rgb_profile()}
    if suffix == "tif":
        options["compression"] = "tiff_lzw"  # libtiff, unlike Pillow's own decoder, complains on its own
    good = saved(tmp_path / f"good.{suffix}", Pictures.fromarray(SCENE), **options).read_bytes()
    draw = random.Random(suffix)
    path = tmp_path / "bad"
    refusals = 0
    for _ in range(60):
        data = bytearray(good)
        at = draw.randrange(len(data))
        kind = draw.choice(("flip", "cut", "zero", "insert", "huge"))
        if kind == "flip":
            data[at] ^= 1 << draw.randrange(8)
        elif kind == "cut":
            del data[at:]
        elif kind == "zero":
            data[at : at + 16] = bytes(len(data[at : at + 16]))
        elif kind == "insert":
            data[at:at] = draw.randbytes(9)
        else:
            data[at : at + 4] = b"\x7f\xff\xff\xff"
        path.write_bytes(data)
        started = time.process_time()
        try:
            with own_process():
                read = photo.read(path)
            assert read.pixels.dtype == np.uint8 and read.pixels.shape[2] == 3
            assert (
                suffix != "png"
                or bytes(data) == good
                or len(data) > len(good)
                or np.array_equal(read.pixels, photo.read(tmp_path / "good.png").pixels)
            )
        except InputRefused as error:
            refusals += 1
            assert "\n" not in error.message
        assert time.process_time() - started < 2
    assert refusals > 0
    assert capfd.readouterr().err == ""


def limited(code, *arguments):
    """Runs Python code in a process whose memory is limited; returns its exit code, CPU seconds and output."""
    head = (
        "import sys, time, resource\n"
        "from pathlib import Path\n"
        "from gas.picture import photo\n"
        "from gas.errors import GasError\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30 + 2**28, 2**30 + 2**28))\n"
        "started = time.process_time()\n"
        "try:\n"
    )
    tail = (
        "\n    status = 0\nexcept GasError as error:\n    print(error)\n    status = error.exit_code\n"
        "print(time.process_time() - started)\nsys.exit(status)\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", head + code + tail, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    return done.returncode, float(done.stdout.splitlines()[-1]), done.stdout + done.stderr


def bombs():
    rows = zlib.compress(bytes(2**20)) * 50
    text = pictures.png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**28), 9))
    international = pictures.png_chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(2**28), 9))
    profile = pictures.png_chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(2**28), 9))
    webp = b"VP8L" + struct.pack("<I", 10) + b"\x2f" + struct.pack("<I", 16383 | 16383 << 14) + bytes(5)
    return {
        "header.png": pictures.png(100_000, 100_000, b""),
        "pixels.png": pictures.png(30_000, 30_000, bytes(30_000 * 300)),
        # A real picture, 0.001 bytes a pixel: what is small and unpacks to much is known before it is unpacked.
        "even.png": pictures.png(10_000, 6_000, bytes(10_001 * 6_000), colour=0),
        "text.png": pictures.png(2, 1, b"\0abcdef", extra=text),
        "international.png": pictures.png(2, 1, b"\0abcdef", extra=international),
        "profile.png": pictures.png(2, 1, b"\0abcdef", extra=profile),
        "header.gif": b"GIF89a"
        + struct.pack("<HH", 65535, 65535)
        + b"\x80\0\0"
        + bytes(6)
        + b","
        + struct.pack("<4H", 0, 0, 65535, 65535)
        + b"\0\2\1\0\0;",
        "header.bmp": b"BM"
        + struct.pack("<IHHI", 100, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0)
        + bytes(100),
        "header.webp": b"RIFF" + struct.pack("<I", 4 + len(webp)) + b"WEBP" + webp,
        "header.jpg": b"\xff\xd8\xff\xc0\0\x11\x08"
        + struct.pack(">HH", 65000, 65000)
        + b"\3\1\x22\0\2\x11\1\3\x11\1"
        + rows[:2000],
    }


def test_bombs_are_refused_quickly_and_in_little_memory(tmp_path):
    made = bombs()
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
    code, _, output = limited(
        "    for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "        started = time.process_time()\n"
        "        try:\n"
        "            photo.read(path)\n"
        "            print(path.name, 'was read')\n"
        "        except GasError as error:\n"
        "            print(path.name, error.exit_code, time.process_time() - started < 1)",
        tmp_path,
    )
    assert code == 0, output
    assert output.splitlines()[:-1] == [f"{name} 3 True" for name in sorted(made)]


def test_a_frame_larger_than_its_canvas_is_no_way_around_the_limit(tmp_path):
    data = (
        b"GIF89a"
        + struct.pack("<HH", 10, 10)
        + b"\x80\0\0"
        + bytes(6)
        + b","
        + struct.pack("<4H", 0, 0, 65535, 65535)
        + b"\0\2\1\0\0;"
    )
    (tmp_path / "a.gif").write_bytes(data)
    refused(tmp_path / "a.gif", "pixels")


def test_a_photograph_of_108_megapixels_works(tmp_path):
    """Read within 1 GB; and Pillow's own limit, which would refuse it, is the same afterwards."""
    path = saved(tmp_path / "a.jpg", Pictures.new("RGB", (12_000, 9_000), (90, 120, 60)))
    code, _, output = limited("    print(photo.read(Path(sys.argv[1])).size)", path)
    assert code == 0 and "(12000, 9000)" in output, output
    before = Pictures.MAX_IMAGE_PIXELS
    photo.read(saved(tmp_path / "b.png", Pictures.fromarray(SCENE)))
    assert before == Pictures.MAX_IMAGE_PIXELS


def test_a_bomb_is_named_by_its_bytes_and_its_pixels(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(pictures.png(10_000, 6_000, bytes(10_001 * 6_000), colour=0))
    refused(path, rf"{path.stat().st_size} bytes for 10000x6000 pixels, 0\.001\d bytes a pixel")
    path.write_bytes(pictures.png(7_000, 7_000, bytes(7_001 * 7_000), colour=0))
    assert photo.read(path).size == (7_000, 7_000), "an even picture of usual size is none"


def test_a_picture_larger_than_the_free_memory_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "memory", lambda: Memory(100_000_000, 10**12))
    path = saved(tmp_path / "a.jpg", Pictures.new("RGB", (5_000, 4_000)))
    monkeypatch.setattr(Pictures.Image, "crop", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(OutOfResources, match=r"5000x4000 pixels need 0\.1 GB of memory, 0\.1 GB are free"):
        photo.read(path)
    monkeypatch.undo()
    monkeypatch.setattr(decode, "memory", lambda: None)
    assert photo.read(path).size == (5_000, 4_000), "where the system does not say, it is tried"


def test_too_little_memory_is_exit_7(tmp_path):
    path = saved(tmp_path / "a.jpg", Pictures.new("RGB", (12_000, 12_000)))
    code, _, output = limited(
        "    resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29)); photo.read(Path(sys.argv[1]))", path
    )
    assert code == 7, output
