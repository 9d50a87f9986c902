"""Photographs: read upright and in true colours, written back with nothing changed that was not meant to be.

`read` gives an editor's view, `(H, W, 3)` uint8 upright sRGB, and keeps the native pixels beside it: their own mode,
colour space, depth and alpha. `write` changes only the native pixels under the mask and leaves all others as they
were, bit for bit where the container is lossless.

How each mode is seen and written:

* RGB, RGBA: as stored; colours under transparency are kept, alpha is never edited.
* P, PA, 1: as the colours that they display, written as RGB, RGBA or L (a palette cannot hold new colours).
* L, LA, I;16, I, F: grey. They stay what they are, at their own depth, when the edit is grey; an edit with colour
  turns them into 8-bit RGB that shows the same outside. I;16 runs from 0 to 65535; I and F have no range of their own,
  so 0..1, 0..255, 0..65535 or the least and largest value is assumed, whichever fits first.
* CMYK, LAB, YCbCr: stay so in a container that can hold them, else become sRGB.
* RGB of 16 bits a channel is reduced to 8 bits by the decoder; a warning says so.

An ICC profile is used in both directions and kept. One that cannot be used is dropped with a warning, and the numbers
are taken as sRGB, which is how viewers show them.
"""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import (  # the plugins by name: Pillow would otherwise look for decoders only when it meets a file
    BmpImagePlugin,  # noqa: F401
    ExifTags,
    GifImagePlugin,  # noqa: F401
    ImageCms,
    JpegImagePlugin,
    MpoImagePlugin,  # noqa: F401
    PngImagePlugin,
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)
from PIL import Image as Pictures

from gas import files
from gas.errors import GasError, InputRefused, OutOfResources, UsageError
from gas.picture.colour import BAND, GREY_MODES, Space, level_range, to_pillow
from gas.picture.frame import Difference, outside_difference
from gas.picture.metadata import MAX_EMBEDDED, pack, packed_in_xmp, read_exif, unpack, without_position, xmp_packet

if TYPE_CHECKING:
    from gas.types import Image, Mask

MAX_PIXELS = 200_000_000
MAX_BYTES = 2**30
GREY_SPREAD = 16
"""Levels between the channels of a pixel up to which it counts as grey: decoders of latents do not return exact
greys.
"""

SUFFIXES = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "HEIF": (".heic", ".heif"),
}
_TIFF_BITS, _TIFF_XMP = 258, 700
_OPENED_AS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "DIB", "GIF")
_WRITABLE = {  # what a container can hold without loss of meaning; an A stands for alpha
    "PNG": {"L", "LA", "I;16", "RGB", "RGBA"},
    "JPEG": {"L", "RGB", "CMYK"},
    "WEBP": {"RGB", "RGBA"},
    "TIFF": {"L", "LA", "I;16", "I", "F", "RGB", "RGBA", "CMYK", "LAB", "YCbCr"},
    "BMP": {"L", "RGB"},
    "HEIF": {"L", "RGB", "RGBA"},
}
_LOSSY = {"JPEG", "HEIF"}
_TIFF_COMPRESSIONS = {"raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits"}
_pillow_lock = threading.Lock()


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph that was read.

    `pixels` is `(H, W, 3)` uint8, upright, sRGB: what planners, grounders and editors see. `native` are the pixels as
    the file has them, upright, `(H, W)` or `(H, W, C)` in `mode` (RGB, L, I;16, I, F, CMYK, LAB or YCbCr); `alpha` is
    `(H, W)` uint8. `sha256` is that of the file's bytes. `warnings` are for the user to read.
    """

    pixels: Image
    native: np.ndarray
    mode: str
    alpha: np.ndarray | None
    icc: bytes | None
    format: str
    name: str
    sha256: str
    exif: bytes = b""
    dpi: tuple[float, float] | None = None
    encoding: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    levels: tuple[float, float] = (0.0, 255.0)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @cached_property
    def space(self) -> Space:
        return Space(self.mode, self.icc, self.levels)


@dataclass(frozen=True)
class Written:
    """What was written and read again.

    `outside` is the measured difference to the input where the mask is 0, in levels of 255 over all channels; `exact`
    says that the container is lossless and every pixel is as meant; `embedded` that the record is inside the file.
    """

    path: Path
    format: str
    mode: str
    outside: Difference
    exact: bool
    embedded: bool
    warnings: tuple[str, ...] = ()


# --- reading ----------------------------------------------------------------------------------------------------------


def read(path: Path | str) -> Photo:
    """The photograph in a file: PNG, JPEG, WebP, TIFF, BMP, GIF, and HEIF where pillow-heif is installed.

    What is inside decides, not the name. Of several frames or pages the first is taken, with a warning. InputRefused
    (exit 3): not a regular file, empty, another format, broken or cut off, or of more than 200 megapixels.
    OutOfResources (exit 7): the pixels do not fit into memory.
    """
    path = Path(path)
    with files.open_regular(path) as stream:
        length = os.fstat(stream.fileno()).st_size
        if length == 0:
            raise InputRefused(f"{path.name}: is empty (0 bytes)", "give a picture")
        if length > MAX_BYTES:
            raise InputRefused(f"{path.name}: is longer than {MAX_BYTES} bytes", "give a smaller picture")
        formats = _formats(stream, path.name)
        digest = files.sha256(stream)
        with _decoding(path.name):
            if formats == ["PNG"]:
                # Pillow skips the checksums of pixel data when it decodes, so a flipped bit could pass as a picture.
                with Pictures.open(stream, formats=formats) as picture:
                    _check_size(picture.size, path.name)
                    picture.verify()
                stream.seek(0)
            with Pictures.open(stream, formats=formats) as picture:
                _check_size(picture.size, path.name)
                notes: list[str] = []
                if getattr(picture, "is_animated", False):
                    notes.append(f"{path.name}: has several frames or pages; only the first is used")
                if _sixteen_bit_colour(picture):
                    notes.append(f"{path.name}: has 16 bits a channel, of which 8 are kept")
                with _quiet_libtiff(picture):
                    picture.load()
                return _photo(picture, path.name, digest, notes)


def _formats(stream: BinaryIO, name: str) -> list[str]:
    """The Pillow formats to try for a file's first bytes."""
    head = stream.read(64)
    stream.seek(0)
    if head[4:8] == b"ftyp" and head[8:12] in {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
        try:
            import pillow_heif
        except ImportError:
            raise InputRefused(f"{name}: is HEIF, which needs pillow-heif", "pip install 'gas-edit[heif]'") from None
        pillow_heif.register_heif_opener(thumbnails=False)
        return ["HEIF"]
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ["PNG"]
    for magic, what in (
        (b"%PDF", "PDF"),
        (b"%!PS", "PostScript"),
        (b"<svg", "SVG"),
        (b"<?xml", "XML"),
        (b"<!", "HTML"),
    ):
        if head.lstrip().lower().startswith(magic.lower()):
            raise InputRefused(f"{name}: is {what}, not a photograph", "give PNG, JPEG, WebP, TIFF, BMP, GIF or HEIF")
    return [f for f in _OPENED_AS if f != "PNG"]


def _check_size(size: tuple[int, int], name: str) -> None:
    if size[0] < 1 or size[1] < 1 or size[0] * size[1] > MAX_PIXELS:
        raise InputRefused(
            f"{name}: says that it is {size[0]}x{size[1]} pixels; at most {MAX_PIXELS} are read",
            "give a smaller picture",
        )


@contextlib.contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Pillow with our pixel limit and without its warnings; whatever it raises becomes an error that names the file."""
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Pictures.DecompressionBombWarning)
        limit, Pictures.MAX_IMAGE_PIXELS = Pictures.MAX_IMAGE_PIXELS, MAX_PIXELS
        try:
            yield
        except GasError:
            raise
        except MemoryError:
            raise OutOfResources(f"{name}: its pixels do not fit into memory", "give a smaller picture") from None
        except (Pictures.DecompressionBombError, Pictures.DecompressionBombWarning):
            raise InputRefused(f"{name}: has more than {MAX_PIXELS} pixels", "give a smaller picture") from None
        except UnidentifiedImageError:
            raise InputRefused(
                f"{name}: is no picture that can be read", "give PNG, JPEG, WebP, TIFF, BMP, GIF or HEIF"
            ) from None
        # A decoder fed with broken bytes raises nearly anything: OSError, SyntaxError, struct.error, IndexError, ...
        except Exception as error:  # noqa: BLE001
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise InputRefused(f"{name}: is broken or cut off: {reason}", "give a whole picture") from None
        finally:
            Pictures.MAX_IMAGE_PIXELS = limit


@contextlib.contextmanager
def _quiet_libtiff(picture: Pictures.Image) -> Iterator[None]:
    """Keeps libtiff, which has no other way to be silenced, from writing its complaints to the process's stderr.

    What it found wrong comes back as an exception all the same.
    """
    if picture.format != "TIFF":
        yield
        return
    try:
        kept = os.dup(2)
    except OSError:  # no stderr at all, as in a windowed program
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _photo(picture: Pictures.Image, name: str, digest: str, notes: list[str]) -> Photo:
    container = {"MPO": "JPEG", "DIB": "BMP"}.get(picture.format or "", picture.format or "")
    orientation, exif = read_exif(picture, notes)
    encoding = _encoding(picture, container)
    dpi, icc = _dpi(picture), picture.info.get("icc_profile") or None
    picture = _plain(picture)
    mode, alpha = picture.mode, None
    if mode in {"RGBA", "LA"}:
        alpha = _upright(np.asarray(picture.getchannel("A")), orientation)
        mode = mode[:-1]
    native = _upright(_array(picture, mode), orientation)
    if mode.startswith("I;16"):
        native, mode = native.astype(np.uint16), "I;16"
        transparent = picture.info.get("transparency")
        if isinstance(transparent, int):
            alpha = np.where(native == transparent, 0, 255).astype(np.uint8)
    levels = level_range(native, mode)
    if icc is not None:
        try:
            Space(mode, icc, levels)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())[:80]
            notes.append(f"{name}: its colour profile cannot be used and is dropped: {reason}")
            icc = None
    space = Space(mode, icc, levels)
    return Photo(
        pixels=space.to_srgb(native),
        native=native,
        mode=mode,
        alpha=None if alpha is None or (alpha == 255).all() else alpha,
        icc=icc,
        format=container,
        name=name,
        sha256=digest,
        exif=exif,
        dpi=dpi,
        encoding=encoding,
        warnings=tuple(notes),
        levels=levels,
    )


def _plain(picture: Pictures.Image) -> Pictures.Image:
    """The picture without palette, bits and premultiplied alpha; a transparent colour becomes an alpha channel."""
    transparent = "transparency" in picture.info
    if picture.mode in {"P", "PA"}:
        return picture.convert("RGBA" if transparent or picture.mode == "PA" else "RGB")
    if picture.mode in {"L", "RGB"} and not transparent:
        return picture  # convert would copy it, and it may be large
    if picture.mode in {"1", "L"}:
        return picture.convert("LA" if transparent else "L")
    if picture.mode in {"RGB", "RGBX"}:
        return picture.convert("RGBA" if transparent else "RGB")
    if picture.mode in {"RGBa", "La"}:
        return picture.convert(picture.mode.upper())
    if picture.mode in {"RGBA", "LA", "CMYK", "LAB", "YCbCr", "I", "F"} or picture.mode.startswith("I;16"):
        return picture
    raise InputRefused(f"pictures of mode {picture.mode} cannot be read", "save it as 8-bit RGB")


def _array(picture: Pictures.Image, mode: str) -> np.ndarray:
    """The colour channels of a loaded picture, filled in bands: Pillow's conversion needs three times the memory."""
    width, height = picture.size
    channels = {"RGB": (3,), "CMYK": (4,), "LAB": (3,), "YCbCr": (3,)}.get(mode, ())
    out: np.ndarray | None = None
    for top in range(0, height, BAND):
        part = np.asarray(picture.crop((0, top, width, min(top + BAND, height))))
        if picture.mode in {"RGBA", "LA"}:
            part = part[..., :-1].reshape(*part.shape[:2], *channels)
        if out is None:
            out = np.empty((height, width, *channels), part.dtype.newbyteorder("="))
        out[top : top + BAND] = part
    assert out is not None  # a picture has at least one row
    return out


def _upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """The array turned by an EXIF orientation 1..8 (EXIF 2.32, tag 0x0112)."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    # After the swap: 5 is done, 6 is mirrored in x, 7 in both, 8 in y.
    if orientation in {2, 3, 6, 7}:
        array = array[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        array = array[::-1]
    return np.ascontiguousarray(array)


def _sixteen_bit_colour(picture: Pictures.Image) -> bool:
    """Whether a picture that is not decoded yet has more than 8 bits in each colour channel."""
    if picture.mode not in {"RGB", "RGBA", "RGBX", "CMYK"}:
        return False
    if picture.format == "TIFF":
        bits = getattr(picture, "tag_v2", {}).get(_TIFF_BITS, 8)
        return max(bits if isinstance(bits, tuple) else (bits,)) > 8
    return any(";16" in str(tile[-1]) for tile in getattr(picture, "tile", ()))


def _dpi(picture: Pictures.Image) -> tuple[float, float] | None:
    try:
        x, y = (float(v) for v in picture.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < 1e5 and 0 < y < 1e5 else None


def _encoding(picture: Pictures.Image, container: str) -> dict[str, Any]:
    """How the file was compressed, as options for saving another like it."""
    if container == "JPEG":
        out: dict[str, Any] = {"qtables": [list(t) for t in getattr(picture, "quantization", {}).values()]}
        out["subsampling"] = JpegImagePlugin.get_sampling(picture)
        out["progressive"] = bool(picture.info.get("progressive"))
        if picture.mode == "RGB" and picture.info.get("adobe_transform") == 0:
            out["keep_rgb"] = True
        return out
    if container == "TIFF" and picture.info.get("compression") in _TIFF_COMPRESSIONS:
        return {"compression": picture.info["compression"]}
    return {}


# --- writing ----------------------------------------------------------------------------------------------------------


def output_format(path: Path) -> str:
    """The container that a file name's extension stands for. UsageError (exit 2) for an unknown one."""
    suffix = path.suffix.lower()
    for container, suffixes in SUFFIXES.items():
        if suffix in suffixes:
            return container
    known = ", ".join(s[0] for s in SUFFIXES.values())
    if suffix == ".gif":
        raise UsageError(f"output {path.name!r}: GIF holds only 256 colours", f"use one of {known}")
    raise UsageError(f"output {path.name!r}: unknown extension {suffix!r}", f"use one of {known}")


def default_output(photo: Photo, path: Path) -> Path:
    """A new name beside the input for its edited version, in the input's format (PNG for GIF)."""
    own = SUFFIXES.get(photo.format, (".png",))
    suffix = path.suffix if path.suffix.lower() in own else own[0]
    return files.name_beside(path, suffix)


def write(
    photo: Photo,
    path: Path | str,
    image: Image,
    mask: Mask | None = None,
    *,
    record: str | None = None,
    gps: bool = False,
    overwrite: bool = False,
) -> Written:
    """What was written to `path`, checked by reading it again before it gets its name.

    `image` is the edited photograph, `(H, W, 3)` uint8 upright sRGB of the photo's size, `mask` `(H, W)` in [0, 1] the
    strength with which the edit was blended in (None: everywhere); where it is 0 the native pixels are written. In
    between they become conv(image) + (1 - mask)·(native - conv(pixels)), so that what 8-bit sRGB cannot hold fades out
    with the blend instead of ending in a step. The format follows the extension. JPEG is saved with the input's own
    tables and subsampling where it was JPEG, WebP always without loss.

    `record` is a text to embed (`gas.run.record`); `gps` keeps the position. Nothing that depends on the time goes into
    the file. Errors as `files.atomic`, and UsageError when the format cannot hold the picture's transparency.
    """
    path = files.check_output_name(Path(path))
    container = output_format(path)
    if image.shape != photo.pixels.shape or image.dtype != np.uint8:
        raise ValueError(f"the image is {image.shape} {image.dtype}, the photograph {photo.pixels.shape} uint8")
    if mask is not None and mask.shape != image.shape[:2]:
        raise ValueError(f"the mask is {mask.shape}, the photograph {image.shape[:2]}")
    if photo.alpha is not None and container in {"JPEG", "BMP"}:
        raise UsageError(f"output {path.name!r}: {container} cannot hold the picture's transparency", "use .png")
    notes: list[str] = []
    native, mode, icc = _edited_native(photo, image, mask, container, notes)
    picture = _with_alpha(native, mode, photo.alpha)
    embedded, options = _save_options(photo, container, icc, record, gps, notes)
    with files.atomic(path, overwrite=overwrite) as stream:
        try:
            picture.save(stream, container, **options)
        except MemoryError:
            raise OutOfResources(f"{path.name}: not enough memory to write it", "give a smaller picture") from None
        del picture
        stream.flush()
        outside, exact = _verify(Path(stream.name), path.name, native, mode, photo, icc, mask, container)
    return Written(path, container, mode, outside, exact, embedded, tuple(notes))


def _edited_native(
    photo: Photo, image: Image, mask: Mask | None, container: str, notes: list[str]
) -> tuple[np.ndarray, str, bytes | None]:
    """The native pixels with the edit in them, their mode, and the profile that they are in."""
    has_alpha = photo.alpha is not None
    inside = np.ones(image.shape[:2], bool) if mask is None else mask > 0
    mode = photo.mode
    as_is = mode + ("A" if has_alpha and mode in {"L", "RGB"} else "") in _WRITABLE[container] and not (
        has_alpha and mode not in {"L", "RGB"}
    )
    if mode in GREY_MODES and _has_colour(image, inside):
        as_is = False
        if mode != "L":
            notes.append(f"the edit has colour: grey of mode {mode} is written as 8-bit RGB")
    if not as_is:
        if mode not in GREY_MODES and mode != "RGB":
            notes.append(f"{container} cannot hold {mode}: written as sRGB")
        # Inside and outside alike are what the editor saw: sRGB, the same on a screen.
        out = np.where(inside[..., None], image, photo.pixels)
        grey = (
            mode in GREY_MODES and not _has_colour(image, inside) and "L" in _WRITABLE[container] and photo.icc is None
        )
        return (np.ascontiguousarray(out[..., 0]), "L", None) if grey else (out, "RGB", None)
    out = photo.native.copy()
    space = photo.space
    if space.is_srgb:
        np.copyto(out, image, where=inside[..., None])
        return out, mode, photo.icc
    columns = np.flatnonzero(inside.any(axis=0))
    if not len(columns):
        return out, mode, photo.icc
    across = np.s_[columns[0] : columns[-1] + 1]
    top = {"I;16": 65535.0, "I": 2.0**31 - 1, "F": np.inf}.get(mode, 255.0)
    bottom = {"I": -(2.0**31), "F": -np.inf}.get(mode, 0.0)
    for first in range(0, len(out), BAND):
        part = np.s_[first : first + BAND, across]
        here = inside[part]
        if not here.any():
            continue
        new = space.from_srgb(image[part])
        if mask is not None:
            rest = photo.native[part] - space.from_srgb(photo.pixels[part])
            rest = np.nan_to_num(rest, nan=0.0, posinf=0.0, neginf=0.0)
            new = new + rest * (1 - (mask[part] if new.ndim == 2 else mask[part][..., None]))
        if mode != "F":
            new = np.rint(np.clip(new, bottom, top))
        out[part][here] = new[here].astype(out.dtype)
    return out, mode, photo.icc


def _has_colour(image: Image, inside: np.ndarray) -> bool:
    """Whether more than one in a thousand of the edited pixels are visibly coloured."""
    coloured = np.zeros(image.shape[:2], bool)
    np.greater(image.max(axis=2) - image.min(axis=2), GREY_SPREAD, out=coloured)
    count = int(inside.sum())
    return count > 0 and int((coloured & inside).sum()) * 1000 > count


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
        tags[_TIFF_XMP] = xmp
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
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)
    return embedded, {**options, "quality": 95, "chroma": 444}


def _verify(
    temporary: Path,
    name: str,
    native: np.ndarray,
    mode: str,
    photo: Photo,
    icc: bytes | None,
    mask: Mask | None,
    container: str,
) -> tuple[Difference, bool]:
    """The difference outside the mask of what was just written, after checking that it is what was meant."""
    try:
        again = read(temporary)
    except InputRefused as error:
        raise GasError(f"{name}: what was written cannot be read: {error.message}", "nothing was kept") from None
    if again.native.shape != native.shape or again.mode != mode:
        got = f"{again.mode} {again.native.shape}, not {mode} {native.shape}"
        raise GasError(f"{name}: what was written reads back as {got}", "please report this; nothing was kept")
    if container != "BMP" and again.icc != icc:
        raise GasError(f"{name}: the colour profile was not written", "please report this; nothing was kept")
    same_alpha = (again.alpha is None) == (photo.alpha is None) and (
        photo.alpha is None or again.alpha is None or np.array_equal(again.alpha, photo.alpha)
    )
    exact = same_alpha and np.array_equal(again.native, native, equal_nan=mode == "F")
    if container not in _LOSSY and not exact:
        raise GasError(f"{name}: what was written reads back otherwise", "please report this; nothing was kept")
    if mask is None:
        return Difference(0.0, 0.0), exact
    if mode != photo.mode:
        return outside_difference(photo.pixels, again.pixels, mask), exact
    scale = 255 / (photo.levels[1] - photo.levels[0]) if mode in GREY_MODES else 1.0
    raw = outside_difference(photo.native, again.native, mask)
    return Difference(raw.max * scale, raw.mean * scale), exact


# --- what is embedded -------------------------------------------------------------------------------------------------


def read_embedded(path: Path) -> str | None:
    """The record's text that `write` embedded in a picture; None when there is none. InputRefused as `read`."""
    with files.open_regular(path) as stream:
        formats = _formats(stream, path.name)
        with _decoding(path.name), Pictures.open(stream, formats=formats) as picture:
            if picture.format == "PNG":
                picture.load()  # text may stand behind the pixels
            found = picture.info.get("gas")
            xmp = picture.info.get("xmp")
            if xmp is None and picture.format == "TIFF":
                xmp = getattr(picture, "tag_v2", {}).get(_TIFF_XMP)
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
