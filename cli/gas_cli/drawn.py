"""Regions that the user draws on the command line: `--box`, `--point`, `--mask`, `--masks`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from gas import notes
from gas.errors import InputRefused
from gas.masks import Size, box_mask, mask_box
from gas.regions.check import Warn, check_box, check_point
from gas.regions.mask_file import read_mask
from gas.types import Region

_NUMBER = re.compile(r"\s*([^,%]+?)\s*(%?)\s*$")


def parse_box(text: str, size: Size, *, warn: Warn = notes.warn) -> Region:
    """The region of a command-line box `phrase=x0,y0,x1,y1`, in pixels of the upright picture or percentages.

    `sky=0%,0%,100%,40%` is the upper part; bare fractions are refused, since 0,0,1,1 could be one pixel or everything.
    InputRefused names the text and what is wrong with it.
    """
    phrase, values = _split(text, "--box", "x0,y0,x1,y1")
    numbers = _numbers(values, (size[0], size[1]) * 2)
    if numbers is None:
        raise InputRefused(
            f"--box {text!r}: {values!r} is not four finite numbers",
            f"write --box {phrase!r}=x0,y0,x1,y1 in pixels of {size[0]}x{size[1]}, or with % signs",
        )
    box = check_box(numbers, size, name=f"--box {text!r}", sure="%" in values, warn=warn)
    return Region(phrase, box, box_mask(box, size), given=True)


def parse_point(text: str, size: Size) -> Region:
    """The region of a command-line point `phrase=x,y`, in pixels of the upright picture or percentages: what is there
    is still to be outlined. InputRefused names the text and what is wrong with it."""
    phrase, values = _split(text, "--point", "x,y")
    numbers = _numbers(values, size)
    if numbers is None:
        raise InputRefused(
            f"--point {text!r}: {values!r} is not two finite numbers",
            f"write --point {phrase!r}=x,y in pixels of {size[0]}x{size[1]}, or with % signs",
        )
    return Region(phrase, point=check_point(numbers, size, name=f"--point {text!r}"), given=True)


def parse_mask(text: str, size: Size, *, warn: Warn = notes.warn) -> Region:
    """The region of a command-line mask `phrase=FILE`. InputRefused names the file and what is wrong with it."""
    phrase, path = _split(text, "--mask", "FILE")
    mask = read_mask(Path(path), size, warn=warn)
    return Region(phrase, mask_box(mask), mask, given=True)


def _numbers(values: str, sides: Sequence[int]) -> list[float] | None:
    """As many numbers as sides, with % signs of these; None for anything else."""
    numbers = []
    parts = values.split(",")
    for part, side in zip(parts, sides, strict=False):
        match = _NUMBER.match(part)
        try:
            number = float(match.group(1)) if match else math.nan
        except ValueError:
            number = math.nan
        numbers.append(number * side / 100 if match and match.group(2) else number)
    return numbers if len(parts) == len(sides) and all(math.isfinite(n) for n in numbers) else None


def _split(text: str, flag: str, form: str) -> tuple[str, str]:
    # The phrase may hold an equals sign itself ("2+2=4 on the board"); a box cannot, and a file's name hardly does.
    phrase, equals, value = text.rpartition("=")
    if not equals or not phrase.strip() or not value.strip():
        raise InputRefused(f"{flag} {text!r}: a phrase, '=' and {form} are needed", f"write {flag} 'red car={form}'")
    return phrase.strip(), value.strip()
