"""Makes the record of a run, and writes it: as much of it as fits into the picture, all of it into a file beside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas import files
from gas.picture.blend import inside_change, outside_difference
from gas.placement import MemorySetting
from gas.regions.rle import encode_rle
from gas.run.record import (
    File,
    FileMetadata,
    Input,
    Measured,
    Model,
    Record,
    RecordedDetail,
    RecordedFrame,
    RecordedPlace,
    RecordedRegion,
    Request,
    Used,
    library_versions,
    pixel_hash,
    sidecar,
)
from gas.types import Region, WorkMode

if TYPE_CHECKING:
    from gas.picture.photo import Photo
    from gas.picture.photo_write import Written
    from gas.run.result import EditResult
    from gas.types import Image


def make(
    photo: Photo,
    result: EditResult,
    *,
    pixels: str | None = None,
    request: Request | None = None,
    planner: Used | None = None,
    grounders: Sequence[Used] = (),
    editor: Used,
    helpers: Sequence[Used] = (),
    verifier: Used | None = None,
    profile: str | None = None,
    profile_from: str | None = None,
    models: Iterable[Model] = (),
    seed: int,
    device: str,
    dtype: str,
    memory: MemorySetting = "auto",
    work: WorkMode = "auto",
    grounded: bool = False,
    detail: str = "off",
    notes: Sequence[str] = (),
) -> Record:
    """The record of a finished edit of `photo`, with its differences measured. `pixels` is the hash of its pixels,
    where that is known already."""
    outside = outside_difference(photo.pixels, result.image, result.asked)
    return Record(
        libraries=library_versions(),
        asked=request or Request(),
        plan=result.plan,
        regions=tuple(_recorded(region) for region in result.regions),
        chosen=tuple(_recorded(region) for region in result.chosen),
        planner=planner,
        grounders=tuple(grounders),
        editor=editor,
        helpers=tuple(helpers),
        verifier=verifier,
        verified=result.verified,
        profile=profile,
        profile_from=profile_from,
        models=tuple(models),
        seed=seed,
        device=device,
        dtype=dtype,
        memory=memory,
        work=work,
        grounded=grounded,
        detail=detail,
        detailed=tuple(RecordedDetail(**asdict(one)) for one in result.detailed),
        frame=RecordedFrame(native=result.frame.native, crop=result.frame.crop, size=result.frame.size),
        places=tuple(
            RecordedPlace(native=one.frame.native, crop=one.frame.crop, size=one.frame.size, subtasks=one.subtasks)
            for one in result.places
        ),
        input=Input(
            name=photo.name,
            sha256=photo.sha256,
            pixels=pixels or pixel_hash(photo.pixels),
            size=photo.size,
        ),
        measured=Measured(
            outside_max=outside.max,
            outside_mean=outside.mean,
            inside=tuple(_inside(photo.pixels, result, index) for index in range(len(result.plan.subtasks))),
        ),
        log=dict(result.log),
        notes=tuple(notes),
        stopped=result.stopped,
    )


def embeddable(record: Record, space: int) -> str | None:
    """The longest form of the record's text that fits, packed, into `space` (`photo_write.room`); None when none does.

    The log goes first, then the planner's own words; what is left out is named in `left_out`.
    """
    from gas.picture import photo_write

    plan = record.plan
    wordless = plan.provenance.model_copy(update={"request": None, "reply": None})
    quiet = plan.model_copy(update={"reasoning": "", "provenance": wordless})
    steps: tuple[dict[str, Any], ...] = ({}, {"log": {}}, {"log": {}, "plan": quiet})
    for changes in steps:
        left_out = tuple({"log": "log", "plan": "the planner's words"}[name] for name in changes)
        text = record.model_copy(update={**changes, "left_out": left_out}).to_json()
        if photo_write.fits(text, space):
            return text
    return None


def write_sidecar(
    record: Record, written: Written, result: EditResult, *, overwrite: bool = False
) -> tuple[Record, Path]:
    """The record with what was measured on the file, and the path beside the picture that it was written to.

    Errors as `files.atomic`.
    """
    file = File(
        name=written.path.name,
        sha256=files.sha256_of(written.path),
        format=written.format,
        outside_max=written.outside.max,
        outside_mean=written.outside.mean,
        exact=written.exact,
        edited=result.edited_share,
        beyond=result.beyond_share,
        metadata=FileMetadata(
            kept=written.metadata.kept, changed=written.metadata.changed, left_out=written.metadata.left_out
        ),
        jpeg=written.jpeg.method if written.jpeg else None,
        jpeg_why=written.jpeg.why[:500] if written.jpeg else "",
    )
    path = sidecar(written.path)
    whole = record.model_copy(update={"file": file})
    files.write_text(path, whole.to_json(indent=1) + "\n", overwrite=overwrite)
    return whole, path


def _inside(before: Image, result: EditResult, subtask: int) -> float | None:
    from gas.masks import union
    from gas.regions.where import edited_regions

    places = edited_regions(result.plan, result.regions, (before.shape[1], before.shape[0]))
    masks = [region.mask for region in places if region.subtask == subtask and region.mask is not None]
    if not masks:
        return None

    return inside_change(before, result.image, union(masks))


def _recorded(region: Region) -> RecordedRegion:
    if region.mask is None:
        raise ValueError(f"region {region.phrase!r} has no mask")
    return RecordedRegion(
        phrase=region.phrase,
        subtask=region.subtask,
        box=None if region.box is None else tuple(float(v) for v in region.box),
        score=None if region.score is None else float(region.score),
        given=region.given,
        mask=encode_rle(region.mask),
    )
