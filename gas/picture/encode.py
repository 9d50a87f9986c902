"""Edited pixels and their metadata as a file of each kind."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import ExifTags, PngImagePlugin
from PIL import Image as Pictures

from gas.picture import deep_write
from gas.picture.colour import to_pillow
from gas.picture.deep import MODE
from gas.picture.jpeg.exact import spliced
from gas.picture.jpeg.markers import read_layout
from gas.picture.metadata.carried import Report, jpeg_segments, new_segments
from gas.picture.metadata.exif import PREFIX, as_read
from gas.picture.metadata.found import TIFF_RESOURCES, TIFF_XMP

if TYPE_CHECKING:
    from gas.picture.metadata.carried import Carried
    from gas.picture.native import Native
    from gas.picture.photo import Photo


def encode(stream: BinaryIO, container: str, photo: Photo, native: Native, made: Carried) -> Report:
    """Writes a file into `stream`, and says what became of the metadata."""
    if native.mode == MODE:
        _deep(stream, container, photo, native, made)
        return made.report
    picture = to_pillow(native.pixels, native.mode)
    if photo.alpha is not None:
        picture.putalpha(Pictures.fromarray(photo.alpha))
    if container == "JPEG":
        return _jpeg(stream, picture, photo, native, made)
    if container == "HEIF":
        import pillow_heif

        # Not by Pillow's registry of encoders, which belongs to the process.
        options = {**_common(native, made), "quality": 95, "chroma": 444}
        pillow_heif.encode(picture.mode, picture.size, picture.tobytes(), stream, **options)
        return made.report
    options = {"PNG": _png, "TIFF": _tiff, "WEBP": _webp, "AVIF": _avif, "BMP": _bmp}[container](photo, native, made)
    picture.save(stream, container, **options)
    return made.report


def _deep(stream: BinaryIO, container: str, photo: Photo, native: Native, made: Carried) -> None:
    pixels = deep_write.with_alpha(native.pixels, photo.alpha)
    if container == "PNG":
        deep_write.write_png(stream, pixels, made.chunks, icc=native.icc, dpi=photo.dpi, exif=made.exif)
    elif container == "TIFF":
        deep_write.write_tiff(stream, pixels, _tiff(photo, native, made))
    else:
        deep_write.write_heif(stream, pixels, {**_common(native, made), "quality": 95, "chroma": 444})


def _common(native: Native, made: Carried) -> dict[str, Any]:
    options: dict[str, Any] = {"xmp": made.xmp}
    if native.icc:
        options["icc_profile"] = native.icc
    if made.exif:
        options["exif"] = PREFIX + made.exif
    return options


def _jpeg(stream: BinaryIO, picture: Pictures.Image, photo: Photo, native: Native, made: Carried) -> Report:
    """Encoded anew: with the tables and the sampling of the file that was read, where that was JPEG too."""
    options: dict[str, Any] = {"quality": 95, "subsampling": 0}
    if photo.format == "JPEG" and photo.encoding.get("qtables"):
        options = dict(photo.encoding)
    if photo.dpi:
        options["dpi"] = photo.dpi
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", **options)
    layout = read_layout(encoded.getvalue())
    if photo.format == "JPEG":
        segments, report = jpeg_segments(photo.metadata, made, native.icc, layout.applications)
    else:
        segments, report = new_segments(made, native.icc, layout.applications), made.report
    stream.write(spliced(segments, layout.coding))
    return report


def _png(photo: Photo, native: Native, made: Carried) -> dict[str, Any]:
    chunks = PngImagePlugin.PngInfo()
    for kind, data in made.chunks:
        chunks.add(kind, data)
    options = _common(native, made)
    del options["xmp"]  # it is one of the chunks
    if photo.dpi:
        options["dpi"] = photo.dpi
    # Level 3 takes a third of the time of zlib's usual 6 and a tenth more space.
    return {**options, "pnginfo": chunks, "compress_level": 3}


def _tiff(photo: Photo, native: Native, made: Carried) -> dict[str, Any]:
    # Pillow takes either these or the directory of a TIFF file, so XMP goes in as a tag (XMP part 3, 3.3.2).
    tags = Pictures.Exif()
    if made.exif:
        tags.load(PREFIX + made.exif)
        for directory in (tags, *(tags.get_ifd(ifd) for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo))):
            directory.update({tag: as_read(value) for tag, value in directory.items()})
    tags[TIFF_XMP] = made.xmp
    if made.resources:
        tags[TIFF_RESOURCES] = made.resources
    # libtiff cannot write the directories of camera data; Pillow's own writer can, but does not compress.
    nested = any(tags.get_ifd(ifd) for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo))
    compression = "raw" if nested else photo.encoding.get("compression", "tiff_adobe_deflate")
    options: dict[str, Any] = {"exif": tags, "compression": compression}
    if native.icc:
        options["icc_profile"] = native.icc
    if photo.dpi:
        options["dpi"] = photo.dpi
    return options


def _webp(photo: Photo, native: Native, made: Carried) -> dict[str, Any]:
    # `exact` keeps the colours under full transparency, which the encoder would otherwise drop.
    return {**_common(native, made), "lossless": True, "exact": True, "method": 2}


def _avif(photo: Photo, native: Native, made: Carried) -> dict[str, Any]:
    return {**_common(native, made), "quality": 95, "subsampling": "4:4:4"}


def _bmp(photo: Photo, native: Native, made: Carried) -> dict[str, Any]:
    return {"dpi": photo.dpi} if photo.dpi else {}
