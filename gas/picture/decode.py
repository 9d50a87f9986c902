"""A picture's file opened for decoding: one of the allowed formats, its size known before any pixel is decoded.

Nothing of the process is changed meanwhile, so that threads can read at once: `PIL.Image.open` is not used, since its
limit on pixels and its warnings are one for the whole process. The decoders are those of Pillow's registry.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from PIL import (  # the plugins by name: Pillow would otherwise look for decoders only when it meets a file
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    JpegImagePlugin,  # noqa: F401
    MpoImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
    features,
)
from PIL import Image as Pictures

from gas.errors import GasError, InputRefused, OutOfResources
from gas.memory import gigabytes, memory
from gas.picture.deep import is_readable
from gas.process import native_messages_hidden
from gas.remedies import install

MAX_PIXELS = 200_000_000
LARGE = 50_000_000
"""Pixels from which on a file must have `LEAST_BYTES` for each."""
LEAST_BYTES = 0.005
"""An even grey surface as JPEG has 0.006 to 0.016 bytes a pixel, a photograph of quality 10 has 0.03. Deflate goes down
to 0.003 for RGB, and what does that fills a gigabyte from 400 kB."""
WORTH_ASKING = 2**26
_MEMORY = {"1": 5, "L": 5, "P": 8, "RGB": 7}
"""Bytes that a pixel takes while it is read: in Pillow, in `Photo.native` and in `Photo.pixels`."""
_DEEP = 20
"""The same where a channel has 16 bits."""
_DECODERS = {"WEBP": 8, "HEIF": 8, "AVIF": 8}
"""Bytes a pixel that the decoder keeps for itself."""

_OPENED_AS = ("JPEG", "WEBP", "TIFF", "BMP", "DIB", "GIF")
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
_AVIF_HEAD = 2**16
_NO_PHOTOGRAPH = (
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML"),
    (b"<!", "HTML"),
)
_GIVE = "give PNG, JPEG, WebP, TIFF, BMP, GIF, HEIF or AVIF"


@contextlib.contextmanager
def opened(stream: BinaryIO, name: str, *, even: bool = False) -> Iterator[Pictures.Image]:
    """The picture in `stream`, whose header is read and whose size is allowed; its pixels are not decoded yet.

    What is inside decides, not the `name`, which is for messages. An `even` picture, a mask or a layer, may have many
    pixels in few bytes. InputRefused (exit 3): another format, broken, cut
    off, or of too many pixels; OutOfResources (exit 7) when its pixels do not fit into memory. Both also for what is
    done with the picture within the block.
    """
    with _explained(name), _open(stream, name) as picture:
        check_size(picture.size, name)
        if not even:
            _check_ratio(picture.size, _length(stream), name)
        _check_memory(picture, name)
        # libtiff writes what it finds wrong to standard error; it comes back as an exception all the same.
        with native_messages_hidden() if picture.format == "TIFF" else contextlib.nullcontext():
            yield picture


def check_size(size: tuple[int, int], name: str) -> None:
    """InputRefused (exit 3) for a picture without pixels, or of more than 200 megapixels."""
    if size[0] < 1 or size[1] < 1 or size[0] * size[1] > MAX_PIXELS:
        raise InputRefused(
            f"{name}: says that it is {size[0]}x{size[1]} pixels; at most {MAX_PIXELS} are read",
            "give a smaller picture",
        )


def _check_ratio(size: tuple[int, int], length: int, name: str) -> None:
    """InputRefused (exit 3) for many pixels in few bytes, as files have that are made to fill the memory."""
    pixels = size[0] * size[1]
    if pixels >= LARGE and length < pixels * LEAST_BYTES:
        raise InputRefused(
            f"{name}: {length} bytes for {size[0]}x{size[1]} pixels, {length / pixels:.4f} bytes a pixel; a real "
            f"picture of that size has at least {LEAST_BYTES}",
            "if it is a real picture, save it as JPEG of quality 90",
        )


def _check_memory(picture: Pictures.Image, name: str) -> None:
    """OutOfResources (exit 7) for a picture that does not fit into the memory that is free, before it is decoded."""
    held = _DEEP if is_readable(picture) else _MEMORY.get(picture.mode, 8)
    needed = picture.width * picture.height * (held + _DECODERS.get(picture.format or "", 0))
    found = memory() if needed >= WORTH_ASKING else None
    if found is not None and needed > found.available:
        raise OutOfResources(
            f"{name}: its {picture.width}x{picture.height} pixels need {gigabytes(needed)} of memory, "
            f"{gigabytes(found.available)} are free",
            "give a smaller picture, or close other programs",
        )


def _length(stream: BinaryIO) -> int:
    place = stream.tell()
    length = stream.seek(0, os.SEEK_END)
    stream.seek(place)
    return length


def is_png(stream: BinaryIO) -> bool:
    """Whether the stream begins as a PNG file does. It is left at its start."""
    stream.seek(0)
    head = stream.read(8)
    stream.seek(0)
    return head == b"\x89PNG\r\n\x1a\n"


def _open(stream: BinaryIO, name: str) -> Pictures.Image:
    stream.seek(0)
    head = stream.read(64)
    if head[4:8] == b"ftyp" and (head[8:12] in _AVIF_BRANDS or (b"avif" in head and head[8:12] in _HEIF_BRANDS)):
        return _open_avif(stream, name)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return _open_heif(stream, name)
    for magic, what in _NO_PHOTOGRAPH:
        if head.lstrip().lower().startswith(magic.lower()):
            raise InputRefused(f"{name}: is {what}, not a photograph", _GIVE)
    for container in ("PNG",) if is_png(stream) else _OPENED_AS:
        factory, accept = Pictures.OPEN[container]
        accepted = accept is None or accept(head[:16])
        if not accepted or isinstance(accepted, str):  # a text says why it is not accepted
            continue
        stream.seek(0)
        try:
            return factory(stream, "")
        except (SyntaxError, IndexError, TypeError, struct.error):  # the file is none of this format
            continue
    raise InputRefused(f"{name}: cannot be read as a picture", _GIVE)


def _open_heif(stream: BinaryIO, name: str) -> Pictures.Image:
    try:
        import pillow_heif
    except ImportError:
        raise InputRefused(f"{name}: is HEIF, which needs pillow-heif", install("gas-edit[heif]")) from None
    stream.seek(0)
    return pillow_heif.HeifImageFile(stream, "")


def _open_avif(stream: BinaryIO, name: str) -> Pictures.Image:
    if not has_avif():
        raise InputRefused(f"{name}: is AVIF, which needs Pillow 11.3 or newer, built with it", "give PNG or JPEG")
    from PIL import AvifImagePlugin

    stream.seek(0)
    found = AvifImagePlugin.AvifImageFile(stream, "")
    stream.seek(0)
    found.info["bit_depth"] = avif_depth(stream.read(_AVIF_HEAD))  # Pillow does not say it, and decodes all to 8 bits
    return found


def avif_depth(head: bytes) -> int:
    """Bits a channel of an AVIF file, by its decoder configuration (AV1-ISOBMFF, 2.3.3); 8 where there is none."""
    _, _, flags = head.partition(b"av1C")
    return {0x40: 10, 0x60: 12}.get(flags[2] & 0x60, 8) if len(flags) > 2 else 8


def has_avif() -> bool:
    """Whether this Pillow reads and writes AVIF."""
    return bool(features.check("avif")) if "avif" in features.modules else False


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Within it, whatever a decoder raises becomes an error that names the file."""
    try:
        yield
    except GasError:
        raise
    except MemoryError:
        raise OutOfResources(f"{name}: its pixels do not fit into memory", "give a smaller picture") from None
    except (Pictures.DecompressionBombError, Pictures.DecompressionBombWarning):
        raise InputRefused(f"{name}: has more than {MAX_PIXELS} pixels", "give a smaller picture") from None
    except UnidentifiedImageError:
        raise InputRefused(f"{name}: cannot be read as a picture", _GIVE) from None
    # A decoder fed with broken bytes raises nearly anything: OSError, SyntaxError, struct.error, IndexError, ...
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputRefused(f"{name}: is broken or cut off: {reason}", "give a whole picture") from None
