"""`python -m gas_editors.retouch.trial.gallery DOCS`: the documentation's photographs, before and after.

Each is edited as `gas edit` would, from DOCS/photographs, with the profile `retouch` and seed 1; DOCS/images gets
`photograph.png` (the first) and `retouch.png` (all).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from gas.masks import box_mask
from gas.picture.photo import read
from gas.run.session import Session
from gas.types import Box, EditRequest, Region
from gas_editors.retouch.trial.pictures import mask_of

if TYPE_CHECKING:
    from gas.types import Image

GAP, LINE = 8, 26
WIDE, NARROW = 440, 260


@dataclass(frozen=True)
class Shown:
    """One picture of the gallery. What is drawn by hand is a box, or the trial's mask of the thing `drawn`; without
    either the grounders look."""

    picture: str
    request: str
    phrase: str = ""
    box: Box | None = None
    drawn: str = ""


GALLERY = (
    Shown("coffee", "change the red cup into a blue cup", "cup", (72, 12, 484, 392)),
    Shown("astronaut", "make the orange suit green"),
    Shown("chelsea", "make the green eyes blue", "green eyes", drawn="eyes"),
    Shown("rocket", "black and white but for the rocket", "rocket", drawn="rocket"),
    Shown("coffee", "make the red cup black and the picture a little cooler"),
    Shown("astronaut", "remove the badge", "badge", drawn="badge"),
)


def edited(shown: Shown, folder: Path) -> tuple[Image, Image]:
    """The photograph and its edit."""
    before = read(folder / f"{shown.picture}.jpg").pixels
    size = before.shape[1], before.shape[0]
    given = []
    if shown.box is not None:
        given = [Region(shown.phrase, mask=box_mask(shown.box, size), given=True)]
    elif shown.drawn:
        given = [Region(shown.phrase, mask=mask_of(shown.picture, shown.drawn, size), given=True)]
    session = Session.of(profile="retouch")
    plan = session.plan(EditRequest(before, shown.request))
    return before, session.edit(before, plan, session.ground(before, plan, given), seed=1).image


def pair(before: Image, after: Image, title: str, wide: int) -> Pictures.Image:
    """Both at one width each, the request beneath them."""
    high = round(before.shape[0] * wide / before.shape[1])
    out = Pictures.new("RGB", (2 * wide + GAP, high + LINE), "white")
    for index, image in enumerate((before, after)):
        small = Pictures.fromarray(image).resize((wide, high), Pictures.Resampling.LANCZOS)
        out.paste(small, (index * (wide + GAP), 0))
    ImageDraw.Draw(out).text((2, high + 4), f'"{title}"', fill="black", font=ImageFont.load_default(16))
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes both pictures."""
    docs = Path((sys.argv[1:] if arguments is None else arguments)[0])
    pairs = []
    for index, shown in enumerate(GALLERY):
        before, after = edited(shown, docs / "photographs")
        if index == 0:
            _save(pair(before, after, shown.request, WIDE), docs / "images" / "photograph.png")
        pairs.append(pair(before, after, shown.request, NARROW))
    columns = [pairs[0::2], pairs[1::2]]
    heights = [sum(one.height + GAP for one in column) for column in columns]
    sheet = Pictures.new("RGB", (2 * pairs[0].width + 2 * GAP, max(heights)), "white")
    for index, column in enumerate(columns):
        top = 0
        for one in column:
            sheet.paste(one, (index * (one.width + 2 * GAP), top))
            top += one.height + GAP
    _save(sheet, docs / "images" / "retouch.png")


def _save(picture: Pictures.Image, path: Path) -> None:
    picture.save(path, optimize=True)
    sys.stdout.write(f"wrote {path}, {path.stat().st_size // 1000} kB\n")


if __name__ == "__main__":
    main()
