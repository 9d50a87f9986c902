"""Where an edit is written: everything that could be refused is refused, and the name reserved, before the work."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gas import files
from gas.checkpoint import SUFFIX
from gas.errors import UsageError
from gas.files import OutputExists
from gas.picture import photo_write
from gas.remedies import Remedy, Setting
from gas.reserve import remove_abandoned, reserved
from gas.run.record import sidecar

if TYPE_CHECKING:
    from gas.picture.photo import Photo
    from gas.types import Image, Mask


@dataclass(frozen=True)
class Output:
    """A name that is reserved for one run, by `reserve_output`. `overwrite`: what is there may be replaced."""

    path: Path
    overwrite: bool = False


def state_path(output: Path) -> Path:
    """The file that holds the state of an unfinished run, beside its output."""
    return output.with_name(output.name + SUFFIX)


def check_output(photo: Photo, path: Path, *, overwrite: bool = False) -> None:
    """Refuses whatever writing the edited `photo` to `path` would refuse; nothing is made.

    OutputExists (exit 2): the output, its record or the state of an interrupted run is there and may not be replaced.
    UsageError (exit 2): the name, format, folder, or the photograph itself under any of its names, which is never
    replaced. ModelUnavailable (exit 6) as `photo_write.check`.
    """
    photo_write.check(photo, path)
    files.refuse_same([path, sidecar(path)], [photo.path] if photo.path is not None else [])
    for target in (path, sidecar(path)):
        files.check_target(target, overwrite=overwrite)
    state = state_path(path)
    if not overwrite and os.path.lexists(state):
        raise OutputExists(
            f"{path}: an interrupted run has left its state there, {state.name}",
            Remedy(
                "resume_or_overwrite",
                "resume it with {resume}, or allow to start anew with {overwrite}",
                resume=Setting("resume", str(state), python="gas.run.replay.state_record"),
                overwrite=Setting("overwrite", True),
            ),
        )


@contextmanager
def reserve_output(photo: Photo, path: Path | None = None, *, overwrite: bool = False) -> Iterator[Output]:
    """Within it the checked name `path` is this run's alone; without one, a new name beside the photograph's file.

    Temporary files of processes that are gone are removed from the folder, states to resume from never. Errors as
    `check_output`; OutputExists (exit 2) also where another run is writing `path`.
    """
    with ExitStack() as held:
        if path is None:
            yield Output(_new_name(photo, held))
            return
        check_output(photo, path, overwrite=overwrite)
        held.enter_context(reserved(path))
        remove_abandoned(files.real_path(path).parent)
        if not overwrite:  # the run that had the name a moment ago may have ended well
            check_output(photo, path)
        yield Output(path, overwrite)


def _new_name(photo: Photo, held: ExitStack) -> Path:
    """A name beside the photograph that neither a file nor a run has yet; reserved as long as `held`."""
    if photo.path is None:
        raise UsageError("the picture came from no file, so its output has no name", "name an output")
    remove_abandoned(photo.path.parent)
    for path in files.names_beside(photo.path, photo_write.default_suffix(photo, photo.path)):
        try:
            check_output(photo, path)
            held.enter_context(reserved(path))
        except OutputExists:
            continue
        if not os.path.lexists(path):
            return path
    raise AssertionError("there is no end of numbers")


def check_picture(path: Path, *, overwrite: bool = False) -> None:
    """Refuses what `write_picture` would refuse: errors as `files.check_target`, UsageError for another format."""
    if files.check_output_name(path).suffix.lower() != ".png":
        raise UsageError(f"output {path.name!r}: this picture is written as PNG", "use .png")
    files.check_target(path, overwrite=overwrite)


def write_picture(path: Path, image: Image | Mask, *, overwrite: bool = True) -> None:
    """Writes a plain PNG of an `(H, W, 3)` or, with transparency, `(H, W, 4)` uint8 image, or of an `(H, W)` float map
    scaled so that its top is white."""
    import numpy as np
    from PIL import Image as Pictures

    if image.dtype != np.uint8:
        top = float(image.max()) or 1.0
        image = np.rint(np.clip(image / top, 0, 1) * 255).astype(np.uint8)
    stream = io.BytesIO()
    Pictures.fromarray(image).save(stream, "PNG")
    files.write_bytes(path, stream.getvalue(), overwrite=overwrite)
