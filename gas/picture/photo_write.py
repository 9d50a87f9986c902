"""Photographs written: only the native pixels under the mask change, and the file is read again before it counts."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, PngImagePlugin
from PIL import Image as Pictures

from gas import files
from gas.errors import InputRefused, ModelUnavailable, OutOfResources, UsageError
from gas.picture.blend import Difference
from gas.picture.colour import to_pillow
from gas.picture.containers import LONGEST, OPAQUE, SUFFIXES, output_format
from gas.picture.decode import opened
from gas.picture.metadata import MAX_EMBEDDED, pack, packed_in_xmp, unpack, without_position, xmp_packet
from gas.picture.native import edited_native
from gas.picture.photo import TIFF_XMP, Photo
from gas.picture.reread import verify
from gas.remedies import install

if TYPE_CHECKING:
    from gas.types import Image, Mask


@dataclass(frozen=True)
class Written:
    """What was written and read again.

    `outside` is the measured difference to the input where no change was asked for, in levels of 255 over all channels;
    `exact` says that the container is lossless and every pixel is as meant; `embedded` that the record is inside the
    file.
    """

    path: Path
    format: str
    mode: str
    outside: Difference
    exact: bool
    embedded: bool
    warnings: tuple[str, ...] = ()


def default_suffix(photo: Photo, path: Path) -> str:
    """The extension of the edited version of the file `path`: its own; .png where its format cannot be written, or
    cannot hold the picture's transparency."""
    own = SUFFIXES.get(photo.format, (".png",))
    if photo.alpha is not None and photo.format in OPAQUE:
        own = (".png",)
    return path.suffix if path.suffix.lower() in own else own[0]


def default_output(photo: Photo, path: Path) -> Path:
    """A new name beside the input for its edited version, in the format of `default_suffix`."""
    return files.name_beside(path, default_suffix(photo, path))


def check(photo: Photo, path: Path) -> str:
    """The container that `photo` is written in under the name `path`, once nothing speaks against it.

    What `write` would refuse after the work is refused here, before it. UsageError (exit 2): a name or an extension
    that cannot be used, transparency or a size that the container cannot hold. ModelUnavailable (exit 6): a package
    that is missing.
    """
    container = output_format(files.check_output_name(path))
    if photo.alpha is not None and container in OPAQUE:
        raise UsageError(f"output {path.name!r}: {container} cannot hold the picture's transparency", "use .png")
    longest = LONGEST.get(container)
    if longest is not None and max(photo.size) > longest:
        raise UsageError(
            f"output {path.name!r}: the picture is {photo.size[0]}x{photo.size[1]} pixels, {container} holds {longest} "
            "at most on a side",
            "use .png",
        )
    if container == "HEIF" and find_spec("pillow_heif") is None:
        raise ModelUnavailable(f"output {path.name!r}: HEIF needs pillow-heif", install("gas-edit[heif]"))
    return container


def write(
    photo: Photo,
    path: Path | str,
    image: Image,
    mask: Mask | None = None,
    *,
    outside_of: Mask | None = None,
    record: str | None = None,
    gps: bool = False,
    overwrite: bool = False,
) -> Written:
    """What was written to `path`, checked by reading it again before it gets its name.

    `image` is the edited photograph, `(H, W, 3)` uint8 upright sRGB of the photo's size, `mask` `(H, W)` in [0, 1] the
    strength with which the edit was blended in (None: everywhere); where it is 0 the native pixels are written
    (`gas.picture.native`). The format follows the extension. JPEG is saved with the input's own tables and subsampling
    where it was JPEG, WebP always without loss.

    `outside_of` `(H, W)` is where a change was asked for: what has changed elsewhere is measured on the file (None:
    where `mask` is 0). `record` is a text to embed (`gas.run.record`); `gps` keeps the position. Nothing that depends
    on the time goes into the file. Errors as `check` and `files.atomic`.
    """
    path = Path(path)
    container = check(photo, path)
    if image.shape != photo.pixels.shape or image.dtype != np.uint8:
        raise ValueError(f"the image is {image.shape} {image.dtype}, the photograph {photo.pixels.shape} uint8")
    measured = mask if outside_of is None else outside_of
    for one in (mask, measured):
        if one is not None and one.shape != image.shape[:2]:
            raise ValueError(f"the mask is {one.shape}, the photograph {image.shape[:2]}")
    notes: list[str] = []
    native = edited_native(photo, image, mask, container, notes)
    picture = _with_alpha(native.pixels, native.mode, photo.alpha)
    embedded, options = _save_options(photo, container, native.icc, record, gps, notes)
    with files.atomic(path, overwrite=overwrite) as stream:
        try:
            if container == "HEIF":
                import pillow_heif

                # Not by Pillow's registry of encoders, which belongs to the process.
                pillow_heif.encode(picture.mode, picture.size, picture.tobytes(), stream, **options)
            else:
                picture.save(stream, container, **options)
        except MemoryError:
            raise OutOfResources(f"{path.name}: not enough memory to write it", "give a smaller picture") from None
        del picture
        stream.flush()
        outside, exact = verify(Path(stream.name), path.name, native, photo, measured, container)
    return Written(path, container, native.mode, outside, exact, embedded, tuple(notes))


def _with_alpha(native: np.ndarray, mode: str, alpha: np.ndarray | None) -> Pictures.Image:
    picture = to_pillow(native, mode)
    if alpha is not None:
        picture.putalpha(Pictures.fromarray(alpha))
    return picture


def _save_options(
    photo: Photo, container: str, icc: bytes | None, record: str | None, gps: bool, notes: list[str]
) -> tuple[bool, dict[str, Any]]:
    packed = pack(record) if record else ""
    embedded = bool(packed) and len(packed) <= MAX_EMBEDDED[container]
    exif = photo.exif if gps else without_position(photo.exif)
    options: dict[str, Any] = {}
    if container == "BMP":
        notes.append("BMP holds neither profile nor metadata: nothing in the file says that it is an edit")
        return False, {"dpi": photo.dpi} if photo.dpi else {}
    if icc:
        options["icc_profile"] = icc
    if exif:
        options["exif"] = exif
    if photo.dpi and container in {"PNG", "JPEG", "TIFF"}:
        options["dpi"] = photo.dpi
    if container == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", xmp_packet())
        if embedded:
            chunks.add_itxt("gas", packed)
        # Level 3 takes a third of the time of zlib's usual 6 and a tenth more space.
        return embedded, {**options, "pnginfo": chunks, "compress_level": 3}
    xmp = xmp_packet(packed if embedded else "").encode()
    if container == "TIFF":
        # Pillow takes either these or the directory of a TIFF file, so XMP goes in as a tag (XMP part 3, 3.3.2).
        tags = Pictures.Exif()
        if exif:
            tags.load(exif)
        tags[TIFF_XMP] = xmp
        # libtiff cannot write the directories of camera data; Pillow's own writer can, but does not compress.
        nested = any(tags.get_ifd(ifd) for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo))
        compression = "raw" if nested else photo.encoding.get("compression", "tiff_adobe_deflate")
        return embedded, {**options, "exif": tags, "compression": compression}
    options["xmp"] = xmp
    if container == "WEBP":
        # `exact` keeps the colours under full transparency, which the encoder would otherwise drop.
        return embedded, {**options, "lossless": True, "exact": True, "method": 2}
    if container == "JPEG":
        if photo.format == "JPEG" and photo.encoding.get("qtables"):
            return embedded, {**options, **photo.encoding}
        return embedded, {**options, "quality": 95, "subsampling": 0}
    return embedded, {**options, "quality": 95, "chroma": 444}


def read_embedded(path: Path) -> str | None:
    """The record's text that `write` embedded in a picture; None when there is none. InputRefused as `read`."""
    with files.open_regular(path) as stream, opened(stream, path.name) as picture:
        if picture.format == "PNG":
            picture.load()  # text may stand behind the pixels
        found = picture.info.get("gas")
        xmp = picture.info.get("xmp")
        if xmp is None and picture.format == "TIFF":
            xmp = getattr(picture, "tag_v2", {}).get(TIFF_XMP)
    if found is None and xmp is not None:
        found = packed_in_xmp(xmp)
    if not found:
        return None
    try:
        return unpack(str(found))
    except ValueError as error:
        raise InputRefused(f"{path.name}: its record is broken: {error}", "use the .gas.json file beside it") from None


def fits(text: str, container: str) -> bool:
    """Whether a record's text can be embedded in a picture of this format."""
    return len(pack(text)) <= MAX_EMBEDDED[container]
