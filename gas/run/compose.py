"""The way back: what an editor made is pasted into the photograph, and refused if it is nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gas.errors import ResultRefused
from gas.masks import union
from gas.remedies import OTHER_SEED, Option, Remedy

if TYPE_CHECKING:
    from gas.interfaces import Edited, EditJob
    from gas.picture.frame import Frame
    from gas.types import Image, Mask, Region


def working_mask(job: EditJob, edited: Edited) -> Mask:
    """Where an edit is to be pasted, `(H, W)` of the working picture: the editor's own mask, else the union of the
    regions, else everywhere."""
    if edited.mask is not None:
        return edited.mask
    masks = [region.mask for region in job.regions if region.mask is not None]
    return union(masks) if masks else np.ones(job.image.shape[:2], np.float32)


def compose(
    image: Image, frame: Frame, job: EditJob, edited: Edited, regions: Sequence[Region], *, confined: bool
) -> tuple[Image, Mask]:
    """The photograph `(H, W, 3)` with the edit in it, and the native mask `(H, W)` through which it was pasted.

    `image` is the photograph, from which `frame` cut the job's picture; `regions` are the native ones. An editor that
    says where it has worked may go beyond them, but not when it is `confined`.
    """
    masks = [region.mask for region in regions if region.mask is not None]
    within = union(masks) if masks and (edited.mask is None or confined) else None
    mask = frame.native_mask(working_mask(job, edited), within)
    mask = frame.paste_mask(mask, in_place=True)
    return frame.paste(image, edited.image, mask), mask


def is_unchanged(before: Image, edited: Edited, mask: Mask) -> bool:
    """Whether an editor has changed nothing of the working picture `before` where `mask` is set.

    Its output is held against the picture, and against what its model makes of the picture without any edit
    (`Edited.unedited`): coming back from a latent is no edit. Both at working resolution, so that neither enlarging nor
    a soft edge can hide an edit or make one.
    """
    inside = mask > 0
    references = [before] if edited.unedited is None else [before, edited.unedited]
    return any(not bool(((edited.image != one).any(axis=2) & inside).any()) for one in references)


def refuse_black(before: Image, edited: Edited, mask: Mask) -> None:
    """ResultRefused (exit 11) for a working picture that is black inside its mask, where it was not."""
    inside = mask > 0
    if not (edited.image.any(axis=2) & inside).any() and (before.any(axis=2) & inside).any():
        raise ResultRefused("the edited part of the result is all black", OTHER_SEED)


def refuse_unchanged(before: Image, edited: Edited, mask: Mask, editor: str) -> None:
    """ResultRefused (exit 11) for an edit of nothing, with the reason."""
    if not mask.any():
        raise ResultRefused(
            f"{editor} has found no place to change: the result is the same as the input",
            Remedy("name_or_draw", "name the thing differently, or draw its region"),
        )
    if is_unchanged(before, edited, mask):
        codec = edited.unedited is not None and not np.array_equal(edited.unedited, before)
        only = "; only its model's coding of the picture shows" if codec else ""
        raise ResultRefused(
            f"{editor} has changed nothing: the result is the same as the input{only}",
            Remedy(
                "stronger_edit",
                "raise the steps ({steps}) or the guidance ({guidance}), or name the thing differently",
                steps=Option({"steps": None}, editor),
                guidance=Option({"guidance_scale": None}, editor),
            ),
        )
