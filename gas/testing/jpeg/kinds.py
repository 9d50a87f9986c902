"""JPEG files of many kinds, made on the spot by Pillow and, where they are installed, by cjpeg and jpegtran."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import ExifTags
from PIL import Image as Pictures

Expected = Literal["exact", "re-encoded", "refused"]

SIZE = 203, 155
PROGRAMS = "cjpeg", "jpegtran"

_SCANS = {  # scripts of cjpeg: a scan for each component; a progression with one refinement
    "a scan for each component": "0;\n1;\n2;\n",
    "a short progression": "0,1,2: 0-0, 0, 0;\n0: 1-63, 0, 1;\n2: 1-63, 0, 0;\n1: 1-63, 0, 0;\n0: 1-63, 1, 0;\n",
}


@dataclass(frozen=True)
class Kind:
    """A JPEG file, who made it, and what is to become of it when it is edited."""

    name: str
    encoder: str
    data: bytes = field(repr=False)
    expected: Expected = "exact"


def scene(size: tuple[int, int] = SIZE) -> np.ndarray:
    """A picture `(H, W, 3)` uint8 with even parts, edges, fine lines and noise: the same one each time."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(0).integers(-20, 21, (height, width, 3))
    image = np.stack([x * 255 / max(width, 2), y * 255 / max(height, 2), 128 + 90 * np.sin(x * y / 400)], axis=-1)
    image += np.where((x > width // 3)[..., None], noise, 0)
    image[(x // 3 + y // 5) % 11 == 0] = (250, 40, 20)
    return np.clip(image, 0, 255).astype(np.uint8)


def kinds() -> Iterator[Kind]:
    """One file of every kind that can be made here."""
    yield from _of_pillow()
    yield from _of_cameras()
    yield from _odd()
    if all(shutil.which(program) for program in PROGRAMS):
        yield from _of_cjpeg()
        yield from _of_jpegtran()


def mutants(count: int, seed: int = 0) -> Iterator[Kind]:
    """Files with bytes changed, missing, doubled or swapped, at places drawn from `seed`: what is not refused must be
    edited as a sound file is, or encoded anew."""
    drawn = random.Random(seed)
    originals = [kind for kind in kinds() if kind.expected == "exact" and len(kind.data) > 300]
    for number in range(count):
        kind = drawn.choice(originals)
        data, how = bytearray(kind.data), drawn.choice(("bytes", "bits", "cut", "head", "hole", "double"))
        at, length = drawn.randrange(2, len(data)), drawn.randrange(1, 60)
        if how == "bytes":
            for _ in range(drawn.randrange(1, 8)):
                data[drawn.randrange(2, len(data))] = drawn.randrange(256)
        elif how == "bits":
            data[at] ^= 1 << drawn.randrange(8)
        elif how == "cut":
            del data[at:]
        elif how == "head":  # tables, frame and scan headers lie here
            data[drawn.randrange(2, min(700, len(data)))] = drawn.randrange(256)
        elif how == "hole":
            del data[at : at + length]
        else:
            data[at:at] = data[at : at + length]
        yield Kind(f"{number}: {kind.name}, {how} at {at}", kind.encoder, bytes(data))


def encoded(size: tuple[int, int] = SIZE, mode: str = "RGB", **options: Any) -> bytes:
    """The scene as Pillow saves it."""
    stream = io.BytesIO()
    Pictures.fromarray(scene(size)).convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()


def _of_pillow() -> Iterator[Kind]:
    for name, options in (
        ("4:2:0, quality 75", {}),
        ("4:4:4, quality 95", {"quality": 95, "subsampling": 0}),
        ("4:2:2, quality 90", {"quality": 90, "subsampling": 1}),
        ("quality 100", {"quality": 100, "subsampling": 0}),
        ("quality 8", {"quality": 8}),
        ("optimised tables", {"optimize": True}),
        ("progressive", {"progressive": True}),
        ("progressive 4:4:4, optimised", {"progressive": True, "subsampling": 0, "optimize": True}),
        ("restart each block", {"restart_marker_blocks": 1}),
        ("restart each row", {"restart_marker_rows": 1}),
        ("progressive, restart each 5", {"progressive": True, "restart_marker_blocks": 5}),
        ("RGB", {"keep_rgb": True, "subsampling": 0}),
        ("own tables", {"qtables": [list(range(1, 65)), [3] * 64]}),
        ("grey", {"mode": "L"}),
        ("grey, quality 100, progressive", {"mode": "L", "quality": 100, "progressive": True}),
        ("1 pixel", {"size": (1, 1)}),
        ("7 x 5 pixels", {"size": (7, 5)}),
        ("16 x 16 pixels", {"size": (16, 16)}),
        ("97 x 1 pixels", {"size": (97, 1)}),
        ("17 x 33 pixels, 4:2:2", {"size": (17, 33), "subsampling": 1}),
    ):
        yield Kind(name, "Pillow", encoded(**options))
    yield Kind("CMYK", "Pillow", encoded(mode="CMYK"), "re-encoded")


def _of_cameras() -> Iterator[Kind]:
    """Files with what cameras and telephones put beside the picture."""
    for orientation in range(2, 9):
        exif = Pictures.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        exif[ExifTags.Base.Make] = "Maker"
        yield Kind(f"EXIF orientation {orientation}", "Pillow", encoded(exif=exif.tobytes()))
    stream = io.BytesIO()
    first, second = (Pictures.fromarray(scene(size)) for size in (SIZE, (64, 48)))
    first.save(stream, "MPO", save_all=True, append_images=[second])
    yield Kind("several pictures (MPO)", "Pillow", stream.getvalue())
    gain = encoded((50, 38), "L").replace(b"\xff\xd8", b"\xff\xd8\xff\xe1\0\x20http://ns.adobe.com/hdrgm/1.0/", 1)
    yield Kind("gain map behind the picture", "Pillow", encoded() + gain)
    yield Kind("video behind the picture", "Pillow", encoded() + b"\0\0\0\x18ftypmp42" + bytes(500))
    yield Kind("segments of many makers", "Pillow", _with_segments(encoded(comment="a comment")))


def _with_segments(data: bytes) -> bytes:
    own = b"".join(
        b"\xff" + bytes([marker]) + (len(text) + 2).to_bytes(2, "big") + text
        for marker, text in ((0xE3, b"Meta\0one"), (0xE5, b"Ducky\0two"), (0xEC, b"three"), (0xFE, b"another comment"))
    )
    return data[:2] + own + data[2:]


def _odd() -> Iterator[Kind]:
    """Files that stand for other kinds of the standard, and broken ones."""
    data = encoded()
    frame = data.index(b"\xff\xc0")
    yield Kind("12 bits", "patched", _patched(data, frame + 4, 12), "refused")
    yield Kind("lossless", "patched", _patched(data, frame + 1, 0xC3), "refused")
    yield Kind("cut off", "patched", data[: len(data) // 2], "refused")
    broken = bytearray(encoded(restart_marker_blocks=3))
    broken[broken.index(b"\xff\xd2") + 1] = 0xD6
    yield Kind("broken restart marker", "patched", bytes(broken), "exact")


def _patched(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


def _of_cjpeg() -> Iterator[Kind]:
    with tempfile.TemporaryDirectory(prefix="gas-") as folder:
        source, tables = Path(folder) / "scene.ppm", Path(folder) / "tables"
        Pictures.fromarray(scene()).save(source)
        tables.write_text("\n\n".join(" ".join(str(n + k) for k in range(64)) for n in (2, 9, 20)))
        for name, arguments in (
            ("4:4:0", "-sample 1x2"),
            ("4:1:1", "-sample 4x1"),
            ("4:1:0", "-sample 4x2"),
            ("sampled 1x4", "-sample 1x4"),
            ("sampled 2x1,1x2", "-sample 2x1,1x2,1x1"),
            ("colours finer than light", "-sample 1x1,2x2,2x2"),
            ("sampled 3x1", "-sample 3x1"),
            ("three tables", f"-qtables {tables} -qslots 0,1,2"),
            ("tables of 16 bits", "-quality 1"),
            ("arithmetic", "-arithmetic"),
            ("arithmetic, progressive", "-arithmetic -progressive"),
            ("RGB", "-rgb"),
            ("RGB, progressive", "-rgb -progressive"),
            ("grey, restart each block", "-grayscale -restart 1B"),
            ("restart each second row, 4:4:4", "-sample 1x1 -restart 2"),
            ("fast DCT, smoothed", "-dct fast -smooth 50"),
            ("DCT in floats, optimised", "-dct float -optimize"),
        ):
            yield from _made(name, "cjpeg", *arguments.split(), str(source))
        for name, script in _SCANS.items():
            scans = Path(folder) / "scans"
            scans.write_text(script)
            yield from _made(name, "cjpeg", "-scans", str(scans), str(source))


def _of_jpegtran() -> Iterator[Kind]:
    with tempfile.TemporaryDirectory(prefix="gas-") as folder:
        source = Path(folder) / "scene.jpg"
        source.write_bytes(encoded(quality=88, subsampling=1))
        for name, arguments in (
            ("4:2:2 turned to 4:4:0", "-rotate 90 -trim"),
            ("made progressive", "-progressive"),
            ("made arithmetic", "-arithmetic"),
            ("cropped", "-crop 101x77+32+16"),
            ("made grey", "-grayscale"),
            ("optimised, restart each 3", "-optimize -restart 3B"),
            ("mirrored", "-flip horizontal"),
        ):
            yield from _made(name, "jpegtran", *arguments.split(), str(source))


def _made(name: str, program: str, *arguments: str) -> Iterator[Kind]:
    """What a program writes; nothing where it was built without that kind."""
    done = subprocess.run([program, *arguments], capture_output=True, check=False, timeout=60)
    if done.returncode == 0:
        yield Kind(name, program, done.stdout)
