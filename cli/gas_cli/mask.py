"""`gas mask`: masks put together and changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gas import files
from gas.errors import UsageError
from gas.masks import mask_box
from gas.picture.blend import set_share
from gas.regions.mask_file import read_mask
from gas.regions.own_mask import own_mask, write_mask
from gas.run.output import check_picture
from gas_cli import flags as f
from gas_cli.output import people, print_json, warn


def mask(
    parts: Sequence[Path],
    *,
    out: Path | None,
    options: Sequence[f.Option],
    of: str | None,
    minus: Sequence[Path],
    grow: float,
    shrink: float,
    invert: bool,
    feather: float,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Writes the mask that is made of the files, by default under a new name beside the first."""
    if options:
        raise UsageError(f"gas mask has no options of a backend: {options[0][1]}", "give only -o OUT")
    console = people()
    out = out or files.name_beside(parts[0], ".png", tag="mask")
    check_picture(out, overwrite=overwrite)
    files.refuse_same([out], [*parts, *minus])
    told: list[str] = []
    first = read_mask(parts[0], of=of, warn=told.append)
    size = (first.shape[1], first.shape[0])
    made = own_mask(
        [first, *(read_mask(one, size, of=of, warn=told.append) for one in parts[1:])],
        minus=[read_mask(one, size, warn=told.append) for one in minus],
        invert=invert,
        grow=grow,
        shrink=shrink,
        feather=feather,
    )
    warn(console, told)
    write_mask(out, made, overwrite=overwrite)
    box, share = mask_box(made), set_share(made)
    shown = ",".join(f"{side:g}" for side in box)
    console.print(f"wrote {out}: {share:.1%} of the picture, within {shown}", markup=False, soft_wrap=True)
    if as_json:
        print_json("mask", {"output": str(out), "size": size, "box": box, "share": share})
