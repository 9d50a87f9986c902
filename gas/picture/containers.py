"""What each kind of picture file can hold, and the extensions that stand for it."""

from __future__ import annotations

from pathlib import Path

from gas.errors import UsageError
from gas.picture.deep import MODE

SUFFIXES = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "HEIF": (".heic", ".heif"),
    "AVIF": (".avif",),
}

WRITABLE = {  # what a container can hold without loss of meaning; an A stands for alpha
    "PNG": {"L", "LA", "I;16", "RGB", "RGBA", MODE, MODE + "A"},
    "JPEG": {"L", "RGB", "CMYK"},
    "WEBP": {"RGB", "RGBA"},
    "TIFF": {"L", "LA", "I;16", "I", "F", "RGB", "RGBA", "CMYK", "LAB", "YCbCr", MODE, MODE + "A"},
    "BMP": {"L", "RGB"},
    "HEIF": {"L", "RGB", "RGBA", MODE, MODE + "A"},
    "AVIF": {"RGB", "RGBA"},
}

LOSSY = {"JPEG", "HEIF", "AVIF"}
OPAQUE = {"JPEG", "BMP"}
LONGEST = {"JPEG": 65_500, "AVIF": 65_536, "WEBP": 16_383}
"""Longest side that the encoders take. JPEG itself goes up to 65,535; libjpeg stops a little before."""


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
