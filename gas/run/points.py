"""Things that the user points at, outlined by the segmenter of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gas.backends.roles import GROUNDERS
from gas.errors import UsageError
from gas.interfaces import GroundJob, Watch
from gas.remedies import Remedy, Setting
from gas.run import answers

if TYPE_CHECKING:
    from gas.run.session import Session
    from gas.types import EditPlan, Image, Region


def outlined(
    session: Session, image: Image, plan: EditPlan | None, regions: Sequence[Region], watch: Watch
) -> tuple[Region, ...]:
    """The given regions, those that are a point alone with the box and the mask of what is there.

    The last chosen grounder that can (`Grounder.points`) is asked. UsageError (exit 2) where none is chosen;
    ObjectNotFound (exit 5) where it finds nothing at a point.
    """
    asked = [region for region in regions if is_point(region)]
    if not asked:
        return tuple(regions)
    name = _who(session)
    # Numbered here, since several may be of one subtask.
    job = GroundJob(image, [replace(one, subtask=n, given=False) for n, one in enumerate(asked)], plan, watch)
    watch.check_stop()
    answer = session.ask_grounder(name, job)
    size = image.shape[1], image.shape[0]
    found = iter(answers.regions(answer, range(len(asked)), size, session.fault(GROUNDERS, name)))
    return tuple(replace(next(found), subtask=one.subtask, given=True) if is_point(one) else one for one in regions)


def is_point(region: Region) -> bool:
    """Whether a point is all that is known of a region's place."""
    return region.point is not None and region.box is None and region.mask is None


def _who(session: Session) -> str:
    chosen = session.settings.grounders
    for name in reversed(chosen):
        if session.backend(GROUNDERS.plural, name).points:
            return name
    own = session.first(GROUNDERS, lambda kind: kind.points) or "NAME"
    raise UsageError(
        f"no chosen grounder outlines what is at a point ({', '.join(chosen) or 'none is chosen'})",
        Remedy("segmenter_for_points", "add one: {grounders}", grounders=Setting("grounders", (*chosen, own))),
    )
