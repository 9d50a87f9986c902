"""Files that are made for a download: a mask as a picture, plan and masks as one archive."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures

from gas import files
from gas.plan.file import plan_to_json
from gas.regions.folder import save_regions
from gas_ui.command import MASKS, PLAN

if TYPE_CHECKING:
    from gas.run.record import Record
    from gas_ui.window import Window


def mask_png(window: Window, place: str) -> tuple[str, bytes]:
    """Name and content of a place's mask at the photograph's own size, white = edit here."""
    region = window.place(place).region
    assert region.mask is not None
    stream = io.BytesIO()
    Pictures.fromarray(np.rint(region.mask * 255).astype(np.uint8)).save(stream, "PNG")
    return f"{files.slug(region.phrase)}.png", stream.getvalue()


def plan_and_masks(record: Record) -> bytes:
    """An archive of `plan.json` and the folder `masks`, as the command line of the edit names them."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, TemporaryDirectory(prefix="gas-ui-") as folder:
        archive.writestr(PLAN, plan_to_json(record.plan))
        if record.regions:
            for path in save_regions(Path(folder) / MASKS, record.input.size, record.to_regions()):
                archive.write(path, f"{MASKS}/{path.name}")
    return stream.getvalue()
