"""What a file of safetensors says of its tensors before any of them is read."""

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
