"""Photographs written: only the native pixels under the mask change, and the file is read again before it counts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from gas import files
from gas.errors import InputRefused, ModelUnavailable, OutOfResources, UsageError
from gas.picture.blend import Difference
from gas.picture.containers import LONGEST, OPAQUE, SUFFIXES, output_format
from gas.picture.decode import has_avif, opened
from gas.picture.encode import encode
from gas.picture.jpeg.check import pixel_check
from gas.picture.jpeg.coefficients import NotExact
from gas.picture.jpeg.exact import exact_jpeg
from gas.picture.metadata.carried import Carried, Report, carried, jpeg_segments
from gas.picture.metadata.carried import room as metadata_room
from gas.picture.metadata.found import TIFF_XMP
from gas.picture.metadata.packed import pack, packed_in_xmp, unpack
from gas.picture.native import Native, edited_native
from gas.picture.photo import Photo
from gas.picture.pixels import as_stored
from gas.picture.reread import BandCheck, verify
from gas.remedies import install

if TYPE_CHECKING:
    from gas.types import Image, Mask


JpegMethod = Literal["coefficients", "jpegtran", "re-encoded"]


@dataclass(frozen=True)
class JpegCoding:
    """How a JPEG file was made of another.

    "coefficients" and "jpegtran": blocks that the edit does not touch hold the very coefficients that they held before;
    with jpegtran the blocks of a rectangle around the edit are new. "re-encoded": all are new; `why` says the reason.
    """

    method: JpegMethod
    why: str = ""


@dataclass(frozen=True)
class Written:
    """What was written and read again.

    `outside` is the measured difference to the input where no change was asked for, in levels of 255 over all channels;
    `exact` says that the container is lossless and every pixel is as meant; `embedded` that the record is inside the
    file. `metadata` says what of the photograph's was kept, changed and left out; `jpeg` how a JPEG file was made of
    one (None: not of one).
    """

    path: Path
    format: str
    mode: str
    outside: Difference
    exact: bool
    embedded: bool
    warnings: tuple[str, ...] = ()
    metadata: Report = field(default_factory=Report)
    jpeg: JpegCoding | None = None


def default_suffix(photo: Photo, path: Path) -> str:
    """The extension of the edited version of the file `path`: its own; .png where its format cannot be written, or
    cannot hold the picture's transparency."""
    own = SUFFIXES.get(photo.format, (".png",))
    if photo.alpha is not None and photo.format in OPAQUE:
        own = (".png",)
    return path.suffix if path.suffix.lower() in own else own[0]


def default_output(photo: Photo, path: Path) -> Path:
    """A new name beside the input for its edited version, in the format of `default_suffix`."""
    return files.name_beside(path, default_suffix(photo, path))


def check(photo: Photo, path: Path) -> str:
    """The container that `photo` is written in under the name `path`, once nothing speaks against it.

    What `write` would refuse after the work is refused here, before it. UsageError (exit 2): a name or an extension
    that cannot be used, transparency or a size that the container cannot hold. ModelUnavailable (exit 6): a package
    that is missing.
    """
    container = output_format(files.check_output_name(path))
    if photo.alpha is not None and container in OPAQUE:
        raise UsageError(f"output {path.name!r}: {container} cannot hold the picture's transparency", "use .png")
    longest = LONGEST.get(container)
    if longest is not None and max(photo.size) > longest:
        raise UsageError(
            f"output {path.name!r}: the picture is {photo.size[0]}x{photo.size[1]} pixels, {container} holds {longest} "
            "at most on a side",
            "use .png",
        )
    if container == "AVIF" and not has_avif():
        raise UsageError(f"output {path.name!r}: AVIF needs Pillow 11.3 or newer, built with it", "use .png")
    if container == "HEIF" and find_spec("pillow_heif") is None:
        raise ModelUnavailable(f"output {path.name!r}: HEIF needs pillow-heif", install("gas-edit[heif]"))
    return container


def write(
    photo: Photo,
    path: Path | str,
    image: Image,
    mask: Mask | None = None,
    *,
    outside_of: Mask | None = None,
    record: str | None = None,
    gps: bool = False,
    trained: bool = False,
    overwrite: bool = False,
) -> Written:
    """What was written to `path`, checked by reading it again before it gets its name.

    `image` is the edited photograph, `(H, W, 3)` uint8 upright sRGB of the photo's size, `mask` `(H, W)` in [0, 1] the
    strength with which the edit was blended in (None: everywhere); where it is 0 the native pixels are written
    (`gas.picture.native`). The format follows the extension. JPEG is saved with the input's own tables and subsampling
    where it was JPEG, WebP always without loss.

    `outside_of` `(H, W)` is where a change was asked for: what has changed elsewhere is measured on the file (None:
    where `mask` is 0). `record` is a text to embed (`gas.run.record`);
    `gps` keeps the position. `trained`: a trained model made a part, which the metadata then say. Nothing that depends
    on the time goes into the file. Errors as `check` and `files.atomic`.
    """
    path = Path(path)
    container = check(photo, path)
    if image.shape != photo.pixels.shape or image.dtype != np.uint8:
        raise ValueError(f"the image is {image.shape} {image.dtype}, the photograph {photo.pixels.shape} uint8")
    measured = mask if outside_of is None else outside_of
    for one in (mask, measured):
        if one is not None and one.shape != image.shape[:2]:
            raise ValueError(f"the mask is {one.shape}, the photograph {image.shape[:2]}")
    notes: list[str] = []
    native = edited_native(photo, image, mask, container, notes)
    if container == "BMP":
        notes.append("BMP holds neither profile nor metadata: nothing in the file says that it is an edit")
    target = _Target(photo, path, container, native, measured, pack(record) if record else "", gps, trained)
    with files.atomic(path, overwrite=overwrite) as stream:
        jpeg = None
        try:
            if container == "JPEG" and photo.format == "JPEG":
                try:
                    done = _with_old_coefficients(target, stream)
                    jpeg = JpegCoding(done.method)
                except NotExact as error:
                    jpeg = JpegCoding("re-encoded", str(error))
                    stream.seek(0)
                    stream.truncate()
            if jpeg is None or jpeg.method == "re-encoded":
                done = _encoded(target, stream)
        except MemoryError:
            raise OutOfResources(f"{path.name}: not enough memory to write it", "give a smaller picture") from None
    report = _with_profile(done.report, photo, native, container)
    return Written(
        path,
        container,
        native.mode,
        done.outside,
        done.exact,
        done.embedded,
        (*notes, *report.warnings),
        report,
        jpeg,
    )


@dataclass(frozen=True)
class _Target:
    photo: Photo
    path: Path
    container: str
    native: Native
    measured: np.ndarray | None
    packed: str
    gps: bool
    trained: bool

    def carried(self, *, upright: bool) -> Carried:
        how: dict[str, Any] = {"packed": self.packed, "gps": self.gps, "trained": self.trained}
        return carried(self.photo.metadata, self.container, upright=self.photo.size if upright else None, **how)

    def verified(
        self, stream: BinaryIO, *, orientation: int = 1, also: BandCheck | None = None
    ) -> tuple[Difference, bool]:
        stream.flush()
        file = Path(stream.name)
        photo, name = self.photo, self.path.name
        return verify(file, name, self.native, photo, self.measured, self.container, orientation=orientation, also=also)


@dataclass(frozen=True)
class _Done:
    report: Report
    outside: Difference
    exact: bool
    embedded: bool
    method: JpegMethod = "re-encoded"


def _with_old_coefficients(target: _Target, stream: BinaryIO) -> _Done:
    """A JPEG file in the frame that the photograph is stored in, its orientation kept. NotExact where that fails."""
    photo, native, orientation = target.photo, target.native, target.photo.metadata.orientation
    if native.mode != photo.mode or native.icc != photo.icc:
        raise NotExact("the edit has colours that the file cannot hold")
    if photo.path is None:
        raise NotExact("the photograph was no file")
    with files.open_regular(photo.path) as original:
        if files.sha256(original) != photo.sha256:
            raise NotExact("the file has changed since it was read")
        data = original.read()
    made = target.carried(upright=False)
    segments, report = jpeg_segments(photo.metadata, made, native.icc)
    before, after = as_stored(photo.native, orientation), as_stored(native.pixels, orientation)
    exact = exact_jpeg(data, before, after, segments)
    del data
    stream.write(exact.data)
    outside, same = target.verified(
        stream, orientation=orientation, also=pixel_check(before, exact.layout, exact.touched)
    )
    return _Done(report, outside, same, made.embedded, exact.method)


def _encoded(target: _Target, stream: BinaryIO) -> _Done:
    made = target.carried(upright=True)
    report = encode(stream, target.container, target.photo, target.native, made)
    outside, same = target.verified(stream)
    return _Done(report, outside, same, made.embedded)


def _with_profile(report: Report, photo: Photo, native: Native, container: str) -> Report:
    """The report with what is no block of metadata: the colour profile and the resolution."""
    kept, left = list(report.kept), list(report.left_out)
    if photo.icc is not None:
        (kept if native.icc is not None and container != "BMP" else left).append("colour profile")
    if photo.dpi is not None:
        (kept if container in {"PNG", "JPEG", "TIFF", "BMP"} else left).append("resolution")
    return replace(report, kept=tuple(kept), left_out=tuple(left))


def room(photo: Photo, container: str) -> int:
    """How long a packed record may be that goes into the file beside the photograph's own metadata."""
    return metadata_room(photo.metadata, container)


def read_embedded(path: Path) -> str | None:
    """The record's text that `write` embedded in a picture; None when there is none. InputRefused as `read`."""
    with files.open_regular(path) as stream, opened(stream, path.name) as picture:
        if picture.format == "PNG":
            picture.load()  # text may stand behind the pixels
        found = picture.info.get("gas")
        xmp = picture.info.get("xmp")
        if xmp is None and picture.format == "TIFF":
            xmp = getattr(picture, "tag_v2", {}).get(TIFF_XMP)
    if found is None and xmp is not None:
        found = packed_in_xmp(xmp)
    if not found:
        return None
    try:
        return unpack(str(found))
    except ValueError as error:
        raise InputRefused(f"{path.name}: its record is broken: {error}", "use the .gas.json file beside it") from None


def fits(text: str, space: int) -> bool:
    """Whether a record's text, packed, is no longer than `space` (see `room`)."""
    return len(pack(text)) <= space
