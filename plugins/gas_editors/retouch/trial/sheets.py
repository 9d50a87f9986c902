"""Sheets of before, selection and after, to be looked at one by one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw

if TYPE_CHECKING:
    from gas.types import Image, Mask

WIDE, GAP, LINE = 420, 6, 16
ROWS = 4


def row(images: list[Image], title: str) -> Pictures.Image:
    """Pictures side by side at one width, a title above them."""
    small = []
    for image in images:
        picture = Pictures.fromarray(image)
        scale = WIDE / max(picture.size)
        small.append(picture.resize((round(picture.width * scale), round(picture.height * scale))))
    high = max(picture.height for picture in small)
    out = Pictures.new("RGB", (len(images) * (WIDE + GAP), high + LINE + GAP), "white")
    ImageDraw.Draw(out).text((2, 2), title, fill="black")
    for index, picture in enumerate(small):
        out.paste(picture, (index * (WIDE + GAP), LINE))
    return out


def shown(mask: Mask) -> Image:
    """A mask `(H, W)` as a picture, 1 white."""
    return np.repeat(np.rint(np.clip(mask, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)


def write(rows: list[Pictures.Image], folder: Path, name: str) -> list[Path]:
    """The files written: ROWS rows to a sheet."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        sheet = Pictures.new("RGB", (max(r.width for r in part), sum(r.height for r in part)), "white")
        top = 0
        for one in part:
            sheet.paste(one, (0, top))
            top += one.height
        written.append(folder / f"{name}-{start // ROWS + 1}.png")
        sheet.save(written[-1])
    return written
