"""A picture's file opened for decoding: one of the allowed formats, its size known before any pixel is decoded.

Nothing of the process is changed meanwhile, so that threads can read at once: `PIL.Image.open` is not used, since its
limit on pixels and its warnings are one for the whole process. The decoders are those of Pillow's registry.
"""

from __future__ import annotations

import contextlib
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
)
from PIL import Image as Pictures

from gas.errors import GasError, InputRefused, OutOfResources
from gas.process import native_messages_hidden
from gas.remedies import install

MAX_PIXELS = 200_000_000

_OPENED_AS = ("JPEG", "WEBP", "TIFF", "BMP", "DIB", "GIF")
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_NO_PHOTOGRAPH = (
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML"),
    (b"<!", "HTML"),
)
_GIVE = "give PNG, JPEG, WebP, TIFF, BMP, GIF or HEIF"


@contextlib.contextmanager
def opened(stream: BinaryIO, name: str) -> Iterator[Pictures.Image]:
    """The picture in `stream`, whose header is read and whose size is allowed; its pixels are not decoded yet.

    What is inside decides, not the `name`, which is for messages. InputRefused (exit 3): another format, broken, cut
    off, or of too many pixels; OutOfResources (exit 7) when its pixels do not fit into memory. Both also for what is
    done with the picture within the block.
    """
    with _explained(name), _open(stream, name) as picture:
        check_size(picture.size, name)
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


def is_png(stream: BinaryIO) -> bool:
    """Whether the stream begins as a PNG file does. It is left at its start."""
    stream.seek(0)
    head = stream.read(8)
    stream.seek(0)
    return head == b"\x89PNG\r\n\x1a\n"


def _open(stream: BinaryIO, name: str) -> Pictures.Image:
    stream.seek(0)
    head = stream.read(64)
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
    raise InputRefused(f"{name}: is no picture that can be read", _GIVE)


def _open_heif(stream: BinaryIO, name: str) -> Pictures.Image:
    try:
        import pillow_heif
    except ImportError:
        raise InputRefused(f"{name}: is HEIF, which needs pillow-heif", install("gas-edit[heif]")) from None
    stream.seek(0)
    return pillow_heif.HeifImageFile(stream, "")


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
        raise InputRefused(f"{name}: is no picture that can be read", _GIVE) from None
    # A decoder fed with broken bytes raises nearly anything: OSError, SyntaxError, struct.error, IndexError, ...
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputRefused(f"{name}: is broken or cut off: {reason}", "give a whole picture") from None
