"""Edits that were made in a window: what the page shows of each, kept small; the picture itself lies in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas.masks import mask_box, union
from gas.notes import joined
from gas.regions.where import edited_regions
from gas_shell.reused import reused_lines
from gas_ui import views
from gas_ui.kept import Kept
from gas_ui.picture import Picture
from gas_ui.wording import page_words

if TYPE_CHECKING:
    from gas.errors import GasError
    from gas.run.job import PhotoJob, WrittenEdit
    from gas.run.record import Record
    from gas.run.result import EditResult
    from gas_ui.tasks import Task


@dataclass
class Edit:
    """One edit: what was asked, with which settings, and what came of it.

    * `group`: the number of the comparison that it is part of;
    * `parent`, `redone`: the edit that it is with one change made again, and which; `offered` until the user has
      accepted it or thrown it away;
    * `job`, `state`: kept while it can be resumed; the file to resume from;
    * `kept`: its pixels before they were encoded; `from_cache`: some of it was not made anew, which takes less time;
    * `replayed`: made from a record, which says everything; `same_bytes`, `drift`: what came of that.
    """

    number: int
    picture: Picture
    out: Path
    instruction: str
    flags: dict[str, Any]
    by_hand: bool
    editor: str
    task: Task | None = None
    group: int | None = None
    parent: int | None = None
    redone: int | None = None
    offered: bool = False
    record: Record | None = None
    state: Path | None = None
    job: PhotoJob | None = None
    error: GasError | None = None
    seconds: float = 0.0
    after: bytes = b""
    changes: list[tuple[bytes, bytes] | None] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    kept: Kept | None = None
    from_cache: bool = False
    replayed: bool = False
    same_bytes: bool | None = None
    drift: tuple[str, ...] = ()

    @property
    def before(self) -> bytes:
        """The encoded view of the photograph."""
        return self.picture.view

    def finish(self, done: WrittenEdit, job: PhotoJob, seconds: float, warned: Sequence[str] = ()) -> None:
        """Takes what the page shows out of a written edit; `warned` is what was said of this run alone."""
        result = done.result
        self.record, self.state = done.record, done.state
        self.job = job if done.state is not None else None
        self.seconds += seconds
        self.kept = None if result.stopped else Kept.of(job.photo.pixels, result, self.out.with_suffix(".npz"))
        self.after = views.view(result.image)
        self.changes = [_change(job, result, index) for index in range(len(result.plan.subtasks))]
        self.from_cache = any(one.stage == "edit" and one.anew is None for one in result.reused)
        reused = list(reused_lines(result.reused, done.record.seed, done.record.plan, page_words))
        self.notes = joined(reused, done.written.warnings, done.record.notes, result.log.get("notes", ()), warned)
        self.error = None


def _change(job: PhotoJob, result: EditResult, subtask: int) -> tuple[bytes, bytes] | None:
    """The place of one subtask before and after; None where it has no region."""
    size = result.image.shape[1], result.image.shape[0]
    places = edited_regions(result.plan, result.regions, size)
    masks = [one.mask for one in places if one.subtask == subtask and one.mask is not None]
    if not masks:
        return None
    return views.crops(job.photo.pixels, result.image, mask_box(union(masks)))
