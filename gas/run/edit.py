"""An edit in one call, for Python programs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas.errors import UsageError
from gas.interfaces import Watch
from gas.run.job import prepare
from gas.run.output import reserve_output
from gas.run.record import Request
from gas.run.session import Session
from gas.types import EditPlan, Region

if TYPE_CHECKING:
    from gas.picture.photo import Photo
    from gas.run.result import EditResult
    from gas.types import Image, WorkMode


def edit(
    image: Image | str | PathLike[str],
    instruction: str = "",
    *,
    out: str | PathLike[str] | None = None,
    seed: int | None = None,
    plan: EditPlan | None = None,
    regions: Sequence[Region] = (),
    caption: str | None = None,
    source: str | None = None,
    target: str | None = None,
    work: WorkMode = "auto",
    gps: bool = False,
    overwrite: bool = False,
    watch: Watch = Watch(),
    session: Session | None = None,
    **flags: Any,
) -> EditResult:
    """The edited picture, in one call: `gas.edit("photo.jpg", "make the dog a tiger", out="tiger.jpg")`.

    * image: a file's path, or `(H, W, 3)` uint8 upright RGB.
    * instruction: what to change; or `source` and `target`, two whole prompts; or a finished `plan`. `caption` says
      what the picture shows.
    * out: where the picture is written, with all that `EditResult.save` keeps; while it runs the state is kept beside
      it. `gps` and `overwrite` as there. Without it nothing is written, and `save` does so later.
    * regions: places that you know, `gas.Region("dog", box=(310, 200, 620, 540))`; a box or a mask is enough.
    * session: backends that are ready (`Session.of`), for several pictures: its models stay loaded. Else one is made of
      the other arguments, `flags`, by the names of `gas.settings.settings.Values`.

    Errors are those of `gas.run.job.prepare` and `PhotoJob.run`: children of `gas.GasError`.
    """
    if session is not None and flags:
        raise UsageError(f"both a session and {', '.join(flags)} are given", "give them to Session.of")
    if plan is not None and (instruction or source is not None or target is not None):
        raise UsageError("both a plan and a request are given", "give one of them")
    photo = _photo(image)
    with ExitStack() as held:
        output = None if out is None else held.enter_context(reserve_output(photo, Path(out), overwrite=overwrite))
        request = Request(instruction=instruction, caption=caption, source=source, target=target)
        chosen = Session.of(image=photo.pixels, **flags) if session is None else session
        until = Watch(should_stop=watch.should_stop)  # the steps that are reported are those of the edit
        job = prepare(chosen, photo, plan or request, regions, seed=seed, work=work, watch=until)
        return job.edit(watch) if output is None else job.run(output, watch=watch, gps=gps).result


def _photo(image: Image | str | PathLike[str]) -> Photo:
    from gas.picture.photo import of_pixels, read

    return read(Path(image)) if isinstance(image, str | PathLike) else of_pixels(image)
