"""Pictures to judge at a glance: regions drawn on the photograph, and results side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from gas.types import Region

if TYPE_CHECKING:
    from gas.picture.frame import Frame
    from gas.types import Image

# Okabe and Ito's colours, told apart by nearly everybody; the order puts the most different first.
COLOURS = (
    (230, 159, 0),
    (0, 114, 178),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (86, 180, 233),
    (240, 228, 66),
)
FRAME = (255, 255, 255)
TINT = 0.45
LEAST = 512
"""Longer side in pixels that a drawn picture has at least."""


def draw_regions(image: Image, regions: Sequence[Region], frames: Sequence[tuple[Frame, str]] = ()) -> Image:
    """The image with each region's mask tinted and outlined, its box drawn, its phrase and score written, and the crops
    of the working pictures `frames` as dashed lines, each with its caption.

    `(H, W, 3)` uint8 in and out; a picture under 512 pixels is first enlarged by a whole number, so that it is not
    hidden by its labels. Regions of one subtask share a colour; a label starts with the subtask's number, counted from
    1. Labels are moved so that they stay inside the picture and off each other where there is room.
    """
    factor = max(math.ceil(LEAST / max(image.shape[:2])), 1)
    image, regions = _enlarged(image, factor), [_enlarged_region(region, factor) for region in regions]
    height, width = image.shape[:2]
    line = max(1, round(max(height, width) / 400))
    out = image.copy()
    for position, region in enumerate(regions):
        if region.mask is not None:
            _tint(out, region.mask, _colour(region, position), line)
    picture = Pictures.fromarray(out)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(13, round(max(height, width) / 38)))
    taken: list[tuple[float, float, float, float]] = []
    for position, region in enumerate(regions):
        colour = _colour(region, position)
        if region.box is not None:
            x0, y0, x1, y1 = region.box
            draw.rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline=colour, width=line)
        _write(draw, font, _label(region), _anchor(region), colour, picture.size, taken)
    for frame, caption in frames:
        x0, y0, x1, y1 = (side * factor for side in frame.crop)
        _dashed(draw, (x0, y0, x1 - line, y1 - line), line)
        # Its label stands within the lower edge; those of regions stand at their upper ones.
        _write(draw, font, _shown(caption), (x0, y1), FRAME, picture.size, taken)
    return np.asarray(picture)


def strip(pictures: Sequence[tuple[str, Image]], height: int = 512, in_a_row: int = 8) -> Image:
    """The given pictures side by side as one `(h, W, 3)` uint8, all equally high, at most `height`, their names above;
    more than `in_a_row` of them in several rows, equally full but for the last.

    ValueError when there is none.
    """
    if not pictures:
        raise ValueError("there is no picture to show")
    height = min(height, max(image.shape[0] for _, image in pictures))
    each = math.ceil(len(pictures) / math.ceil(len(pictures) / in_a_row))
    rows = [_row(pictures[start : start + each], height) for start in range(0, len(pictures), each)]
    width = max(row.shape[1] for row in rows)
    wide = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate(wide)


def _row(pictures: Sequence[tuple[str, Image]], height: int) -> Image:
    """The pictures side by side, all `height` high, their names above."""
    font_size = max(12, round(height / 24))
    font = ImageFont.load_default(font_size)
    scaled = [_scaled(image, height) for _, image in pictures]
    gap = max(4, height // 64)
    line = round(font_size * 1.25)
    columns = []
    for (name, _), picture in zip(pictures, scaled, strict=True):
        wide = max(picture.width, round(font_size * 4))
        columns.append((_wrapped(name, font, wide), picture, wide))
    head = line * max(len(lines) for lines, _, _ in columns) + gap
    width = sum(wide for _, _, wide in columns) + gap * (len(columns) + 1)
    canvas = Pictures.new("RGB", (width, head + height + 2 * gap), "white")
    draw = ImageDraw.Draw(canvas)
    x = gap
    for lines, picture, wide in columns:
        top = gap + head - gap - line * len(lines)
        for number, text in enumerate(lines):
            draw.text((x + wide / 2, top + number * line), text, fill=(20, 20, 20), font=font, anchor="ma")
        canvas.paste(picture, (x + (wide - picture.width) // 2, gap + head))
        x += wide + gap
    return np.asarray(canvas)


def _enlarged(array: np.ndarray, factor: int) -> np.ndarray:
    return array if factor == 1 else array.repeat(factor, axis=0).repeat(factor, axis=1)


def _enlarged_region(region: Region, factor: int) -> Region:
    box, mask = region.box, region.mask
    return replace(
        region,
        box=None if box is None else (box[0] * factor, box[1] * factor, box[2] * factor, box[3] * factor),
        mask=None if mask is None else _enlarged(mask, factor),
    )


def _tint(out: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int], line: int) -> None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    part = mask[window]
    strength = TINT * part[..., None]
    tinted = out[window] * (1 - strength) + np.array(colour) * strength
    inside = np.pad(part >= 0.5, line)
    edge = (inside & ~ndimage.binary_erosion(inside, iterations=line))[line:-line, line:-line]
    tinted[edge] = colour
    out[window] = np.rint(tinted).astype(np.uint8)


def _colour(region: Region, position: int) -> tuple[int, int, int]:
    return COLOURS[(position if region.subtask is None else region.subtask) % len(COLOURS)]


def _label(region: Region) -> str:
    number = "" if region.subtask is None else f"{region.subtask + 1} "
    return f"{number}{_shown(region.phrase)}" + ("" if region.score is None else f" {region.score:.2f}")


def _shown(text: str) -> str:
    """The text in one line of at most 40 characters that can be drawn."""
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= 40 else text[:39] + "…"


def _dashed(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], line: int) -> None:
    """A rectangle of white dashes on black, to be seen on any picture."""
    x0, y0, x1, y1 = box
    draw.rectangle(box, outline=(0, 0, 0), width=line)
    dash = 8 * line
    for x in range(x0, x1, 2 * dash):
        for y in (y0, y1):
            draw.rectangle((x, y, min(x + dash, x1), y + line - 1), fill=FRAME)
    for y in range(y0, y1, 2 * dash):
        for x in (x0, x1):
            draw.rectangle((x, y, x + line - 1, min(y + dash, y1)), fill=FRAME)


def _anchor(region: Region) -> tuple[float, float]:
    """Where the label is wanted: the box's or the mask's top left corner."""
    if region.box is not None:
        return region.box[0], region.box[1]
    if region.mask is not None and region.mask.any():
        return float(np.flatnonzero(region.mask.any(axis=0))[0]), float(np.flatnonzero(region.mask.any(axis=1))[0])
    return 0.0, 0.0


def _write(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    text: str,
    anchor: tuple[float, float],
    colour: tuple[int, int, int],
    size: tuple[int, int],
    taken: list[tuple[float, float, float, float]],
) -> None:
    pad = 3
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    wide, high = right - left + 2 * pad, bottom - top + 2 * pad
    x = min(max(anchor[0], 0.0), max(size[0] - wide, 0.0))
    above, below = anchor[1] - high, anchor[1]
    places = [above, below, *(below + high * n for n in range(1, 6)), *(above - high * n for n in range(1, 6))]
    inside = [y for y in places if 0 <= y <= size[1] - high] or [min(max(above, 0.0), max(size[1] - high, 0.0))]
    free = [y for y in inside if not any(_meet((x, y, x + wide, y + high), other) for other in taken)]
    y = (free or inside)[0]
    taken.append((x, y, x + wide, y + high))
    draw.rectangle((x, y, x + wide, y + high), fill=colour)
    light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 128
    draw.text((x + pad - left, y + pad - top), text, fill=(0, 0, 0) if light else (255, 255, 255), font=font)


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _scaled(image: Image, height: int) -> Pictures.Image:
    picture = Pictures.fromarray(np.ascontiguousarray(image))
    if picture.height == height:
        return picture
    width = max(round(picture.width * height / picture.height), 1)
    # Small pictures keep their pixels in view where that is even: smoothing would hide what an editor did to them.
    enlarge = height % picture.height == 0
    how = Pictures.Resampling.NEAREST if enlarge else Pictures.Resampling.LANCZOS
    return picture.resize((width, height), how)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """The text in lines that fit `width`, at most three, the last cut with an ellipsis."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if len(lines) > 3:
        lines = [*lines[:2], f"{lines[2]} …"]
    return [_cut(line, font, width) for line in lines] or [""]


def _cut(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    while len(line) > 1 and font.getlength(line + "…") > width:
        line = line[:-1]
    return line + "…"
