"""Pictures for tests, made on the spot: scenes with known colours, ICC profiles, headers that lie."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from skimage import color


def scene(width: int = 96, height: int = 64) -> np.ndarray:
    """An asymmetric picture `(H, W, 3)` uint8: smooth ramps, which JPEG keeps well, and a light top left corner."""
    y, x = np.mgrid[0:height, 0:width]
    red, green, blue = 40 + 150 * x / width, 60 + 120 * y / height, 200 - 100 * x / width
    image = np.stack([red, green, blue], axis=-1)
    image[: height // 4, : width // 3] = (240, 220, 60)
    return np.rint(image).astype(np.uint8)


def _icc(device: bytes, pcs: bytes, kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC version 2 profile (ICC.1:2001-04, 6.1) of these tags."""
    tags = {b"desc": _desc("test"), b"cprt": b"text\0\0\0\0free\0", b"wtpt": _xyz(0.9642, 1.0, 0.8249), **tags}
    table, body = b"", b""
    offset = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, offset + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02100000, kind, device, pcs)
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    header += struct.pack(">3i", 63190, 65536, 54061)
    header += b"\0" * (128 - len(header))
    return header + struct.pack(">I", len(tags)) + table + body


def _desc(text: str) -> bytes:
    raw = text.encode() + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(raw)) + raw + b"\0" * 8 + b"\0" * 3 + b"\0" * 67


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))


def _gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def wide_rgb_profile() -> bytes:
    """A profile with ProPhoto's primaries (D50) and gamma 1.8: most of its colours are outside sRGB."""
    primaries = {
        b"rXYZ": _xyz(0.7977, 0.2880, 0.0),
        b"gXYZ": _xyz(0.1352, 0.7119, 0.0),
        b"bXYZ": _xyz(0.0313, 0.0001, 0.8249),
    }
    curves = {name: _gamma(1.8) for name in (b"rTRC", b"gTRC", b"bTRC")}
    return _icc(b"RGB ", b"XYZ ", b"mntr", {**primaries, **curves})


def srgb_profile() -> bytes:
    """sRGB written as a table, a hundredth off in gamma: converting by it moves some values by one level."""
    x = np.linspace(0, 1, 200)
    light = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    curve = b"curv\0\0\0\0" + struct.pack(">I", 200) + np.rint(light**1.01 * 65535).astype(">u2").tobytes()
    primaries = {
        b"rXYZ": _xyz(0.4360, 0.2225, 0.0139),
        b"gXYZ": _xyz(0.3851, 0.7169, 0.0971),
        b"bXYZ": _xyz(0.1431, 0.0606, 0.7141),
    }
    return _icc(b"RGB ", b"XYZ ", b"mntr", {**primaries, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)})


def grey_profile(gamma: float = 1.0) -> bytes:
    """A profile for grey pictures with this gamma; 1.0 is linear light, far from sRGB."""
    return _icc(b"GRAY", b"XYZ ", b"mntr", {b"kTRC": _gamma(gamma)})


def cmyk_profile() -> bytes:
    """A printer's profile with tables both ways: r = (1 - c)(1 - k) and so on, no black on the way back."""
    steps = np.linspace(0, 1, 6)
    c, m, y, k = np.meshgrid(steps, steps, steps, steps, indexing="ij")
    rgb = np.stack([(1 - c) * (1 - k), (1 - m) * (1 - k), (1 - y) * (1 - k)], axis=-1)
    lab = color.rgb2lab(rgb.reshape(-1, 1, 3), illuminant="D50").reshape(-1, 3)
    levels = np.linspace(0, 1, 17)
    lightness, a, b = np.meshgrid(levels * 100, levels * 255 - 128, levels * 255 - 128, indexing="ij")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # corners of the Lab cube are no colours
        back = color.lab2rgb(np.stack([lightness, a, b], axis=-1).reshape(-1, 1, 3), illuminant="D50").reshape(-1, 3)
    inks = np.concatenate([1 - np.clip(back, 0, 1), np.zeros((len(back), 1))], axis=1)
    forth = _table(4, 3, 6, np.stack([lab[:, 0] / 100, (lab[:, 1] + 128) / 255, (lab[:, 2] + 128) / 255], axis=-1))
    return _icc(b"CMYK", b"Lab ", b"prtr", {b"A2B0": forth, b"B2A0": _table(3, 4, 17, inks)})


def _table(inputs: int, outputs: int, steps: int, values: np.ndarray) -> bytes:
    """An 8-bit lookup table (lut8Type)."""
    identity = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    grid = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8).tobytes()
    head = b"mft1\0\0\0\0" + bytes([inputs, outputs, steps, 0]) + matrix
    return head + identity * inputs + grid + identity * outputs


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes, extra: bytes = b"", depth: int = 8, colour: int = 2) -> bytes:
    """A PNG file whose header says what it is told, whatever its (raw, filtered) pixel rows hold."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = png_chunk(b"IDAT", zlib.compress(pixels, 9)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + extra + body


def samples() -> list[Path]:
    """The real photographs in the packages that the tests use anyway."""
    import skimage
    import sklearn

    folders = [Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets" / "images"]
    found = [p for folder in folders for p in sorted(folder.iterdir())]
    # multipage_rgb.tif is five-dimensional and opens in no viewer.
    return [p for p in found if p.suffix in {".png", ".jpg", ".gif", ".tif"} and p.name != "multipage_rgb.tif"]
