"""`gas place`: a saved layer onto a picture again, moved or scaled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gas import files
from gas.errors import InputRefused, UsageError
from gas.picture import photo as photos
from gas.picture import photo_write
from gas_cli import flags as f
from gas_cli.output import people, print_json, warn


def place(
    picture: Path,
    layer: Path,
    *,
    out: Path | None,
    options: Sequence[f.Option],
    move: str,
    scale: float,
    gps: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Writes the picture with the layer on it, by default under a new name beside it."""
    import numpy as np

    from gas.run import layer as layers

    if options:
        raise UsageError(f"gas place has no options of a backend: {options[0][1]}", "give only -o OUT")
    by = _offset(move)
    console = people()
    photo, pasted = photos.read(picture), photos.read(layer, even=True)
    warn(console, photo.warnings)
    out = out or photo_write.default_output(photo, picture)
    files.refuse_same([out], [picture, layer])
    if pasted.alpha is None:
        raise InputRefused(f"{layer.name} has no transparency, so it is no layer", "gas edit --save-layer writes one")
    image, mask = layers.place(photo.pixels, np.dstack([pasted.pixels, pasted.alpha]), move=by, scale=scale)
    written = photo_write.write(photo, out, image, mask, gps=gps, overwrite=overwrite)
    warn(console, written.warnings)
    console.print(f"wrote {written.path}", markup=False, soft_wrap=True)
    if as_json:
        outside = {"max": written.outside.max, "mean": written.outside.mean}
        print_json("place", {"output": str(written.path), "outside": outside})


def _offset(text: str) -> tuple[int, int]:
    try:
        right, down = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--move {text!r} is not two whole numbers", "write for example --move 40,-12") from None
    return right, down
