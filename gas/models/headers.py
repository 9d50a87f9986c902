"""What files of safetensors, and GGUF files, say of themselves before any tensor in them is read."""

from __future__ import annotations

import json
import math
from pathlib import Path

LONGEST = 100_000_000
"""Bytes of a header, the format's own limit."""


def shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in a file of safetensors, by name; none where the file has no readable header."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length)) if length < LONGEST else {}
        return {
            name: tuple(int(side) for side in one["shape"]) for name, one in header.items() if name != "__metadata__"
        }
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return {}


def numbers(file: Path) -> int:
    """How many numbers the tensors in a file of safetensors hold, all together."""
    return sum(math.prod(shape) for shape in shapes(file).values())


def architecture(file: Path) -> str:
    """What a GGUF file says that its network is, such as "flux"; "" where it says nothing that can be read.

    The entry is the first one in the files that are published: after four bytes, a version and two counts each entry
    has its key, its kind (8 is text) and its value, texts with their lengths before them.
    """
    try:
        with file.open("rb") as stream:
            start = stream.read(4096)
    except OSError:
        return ""
    _, key, rest = start.partition(b"general.architecture" + (8).to_bytes(4, "little"))
    length = int.from_bytes(rest[:8], "little")
    if not start.startswith(b"GGUF") or not key or not 0 < length < 64:
        return ""
    return rest[8 : 8 + length].decode("utf-8", "replace")
