"""Where a plan's changes are to be made: the user's regions as they are, the others found by the chosen grounders.

`Session.ground` and `Session.outline` are its doors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gas import notes
from gas.backends.roles import EDITORS, GROUNDERS
from gas.errors import ObjectNotFound, PluginBroken, UsageError
from gas.interfaces import GroundJob, Watch, read_only
from gas.remedies import Given, Remedy, Setting
from gas.run import answers
from gas.run.points import is_point, outlined
from gas.types import EditPlan, Region

if TYPE_CHECKING:
    from gas.interfaces import Editor
    from gas.run.session import Session
    from gas.types import Image


def ground(
    session: Session, image: Image, plan: EditPlan, given: Sequence[Region], *, required: bool | None, watch: Watch
) -> tuple[Region, ...]:
    """A region with a mask for every subtask of `plan`. Arguments and errors as `Session.ground`."""
    from gas.regions.check import with_mask
    from gas.regions.match import match

    if required is None:
        session.check_plan(plan)
    image = read_only(image)
    matched = [with_mask(region, image) for region in outlined(session, image, plan, match(given, plan), watch)]
    looked_for = _to_look_for(session, plan, matched, required)
    found = _looked_for(session, image, plan, looked_for, watch) if looked_for else []
    if required is None and _places_itself(session):
        _refuse_absent(session, image, plan, matched, watch)
    return tuple(sorted([*matched, *found], key=lambda region: region.subtask or 0))


def outline(session: Session, image: Image, region: Region, watch: Watch) -> Region:
    """The region with the mask that a grounder makes of it. Errors as `Session.outline`."""
    from gas.regions.check import check_region

    size = image.shape[1], image.shape[0]
    if is_point(region):
        (found,) = outlined(session, read_only(image), None, [check_region(region, size)], watch)
        return found
    hint = replace(check_region(replace(region, mask=None), size), mask=None, subtask=0, given=False, count=None)
    (found, *_) = _refined(session, image, [hint], watch)
    return replace(found, phrase=region.phrase, subtask=region.subtask)


def check_regions(session: Session, plan: EditPlan, regions: Sequence[Region]) -> None:
    """UsageError (exit 2) as `Session.check_regions`."""
    editor: Editor = session.backend(EDITORS.plural, session.settings.editor)
    if not (editor.needs_regions or session.settings.grounded):
        return
    there = {region.subtask for region in regions if region.mask is not None or region.box is not None}
    for index, subtask in enumerate(plan.subtasks):
        if index not in there and subtask.where != "picture":
            _refuse_unfindable(session, plan, Region(subtask.region_phrase, subtask=index))
            raise UsageError(
                f"{session.settings.editor}{', grounded,' if session.settings.grounded else ''} needs a region for "
                f"{subtask.region_phrase!r}",
                "find it first: Session.ground()",
            )


def _to_look_for(session: Session, plan: EditPlan, matched: Sequence[Region], required: bool | None) -> list[int]:
    """The subtasks whose places are to be looked for, as `ground` says; UsageError where one cannot be."""
    everywhere = {index for index, subtask in enumerate(plan.subtasks) if subtask.where == "picture"}
    unknown = sorted(set(range(len(plan.subtasks))) - everywhere - {region.subtask for region in matched})
    if required is None:
        if _places_itself(session):
            return []
        editor: Editor = session.backend(EDITORS.plural, session.settings.editor)
        required = editor.needs_regions or session.settings.grounded
    if not required and not any(session.backend(GROUNDERS.plural, name).detects for name in session.settings.grounders):
        return []
    for index in unknown:
        _refuse_unfindable(session, plan, Region(plan.subtasks[index].region_phrase, subtask=index))
    return unknown


def _places_itself(session: Session) -> bool:
    """Whether the editor is left to find the places of this run."""
    editor: Editor = session.backend(EDITORS.plural, session.settings.editor)
    return editor.finds_regions and not session.settings.grounded


def _refuse_absent(session: Session, image: Image, plan: EditPlan, matched: Sequence[Region], watch: Watch) -> None:
    """ObjectNotFound (exit 5) for a thing that is to be changed or removed, whose place nobody has given, and that
    the detectors among the chosen grounders do not find."""
    from gas.regions.asked import Asked

    given = {region.subtask for region in matched}
    named = [
        index
        for index, subtask in enumerate(plan.subtasks)
        if index not in given and subtask.where != "picture" and subtask.region_phrase.strip()
    ]
    detectors = [name for name in session.settings.grounders if session.backend(GROUNDERS.plural, name).detects]
    if named and detectors:
        _asked(session, image, plan, Asked.of(plan, named).regions, detectors, watch)


def _looked_for(session: Session, image: Image, plan: EditPlan, subtasks: Sequence[int], watch: Watch) -> list[Region]:
    """What the grounders, one after the other, find for these subtasks; each region with a mask."""
    from gas.regions.asked import Asked

    wanted = Asked.of(plan, subtasks)
    asked = _asked(session, image, plan, wanted.regions, session.settings.grounders, watch)
    _warn_of_boxes(session, image, asked)
    return [_filled(session, plan, region, image) for region in wanted.with_shared(asked)]


def _asked(
    session: Session, image: Image, plan: EditPlan, regions: Sequence[Region], grounders: Sequence[str], watch: Watch
) -> list[Region]:
    """What these grounders, one after the other, make of the regions."""
    asked, subtasks = list(regions), [region.subtask or 0 for region in regions]
    for name in grounders:
        watch.check_stop()
        try:
            answer = session.ask_grounder(name, GroundJob(image, asked, plan, Watch(watch.on_step, watch.should_stop)))
        except ObjectNotFound:
            _refuse_foreign(session, image)
            raise
        size = image.shape[1], image.shape[0]
        asked = answers.regions(answer, subtasks, size, session.fault(GROUNDERS, name))
    return asked


def _refined(session: Session, image: Image, regions: Sequence[Region], watch: Watch) -> list[Region]:
    """What the session's segmenter makes of `regions`, all of subtask 0."""
    refines = (
        name for name in reversed(session.settings.grounders) if _segments(session, name) or _refines(session, name)
    )
    name = next(refines, None)
    if name is None:
        segmenter = session.first(GROUNDERS, lambda kind: kind.segments)
        chain = Setting("grounders", (*session.settings.grounders, segmenter or "NAME"))
        raise UsageError(
            f"none of the grounders outlines things ({', '.join(session.settings.grounders) or 'none is chosen'})",
            Remedy("add_segmenter", "add one that does, e.g. {grounders}", grounders=chain),
        )
    answer = session.ask_grounder(name, GroundJob(read_only(image), regions, None, watch))
    return answers.regions(answer, [0], (image.shape[1], image.shape[0]), session.fault(GROUNDERS, name))


def _refuse_unfindable(session: Session, plan: EditPlan, region: Region) -> None:
    subtask = plan.subtasks[region.subtask or 0]
    phrase = region.phrase or subtask.target
    given = Given(phrase)
    if not session.settings.grounders:
        raise UsageError(
            f"no region is given for {phrase!r}, and no grounder is chosen",
            Remedy("give_region", "give {region}", region=given),
        )
    if not region.phrase:
        raise UsageError(
            f"the plan does not say where to add {phrase!r}",
            Remedy("give_region_or_anchor", "give {region}, or name an anchor in the plan", region=given),
        )


def _refuse_foreign(session: Session, image: Image) -> None:
    """InputRefused (exit 3) where the editor would refuse the picture."""
    editor: Editor = session.backend(EDITORS.plural, session.settings.editor)
    if editor.remote:  # whether it may be asked is no question of what was not found
        return
    with session.registry.calling(EDITORS.plural, session.settings.editor):
        editor.check(image)


def _filled(session: Session, plan: EditPlan, region: Region, image: Image) -> Region:
    from gas.masks import box_mask, with_margin, with_room

    if region.mask is None:
        if region.box is None:
            raise PluginBroken(
                f"the grounders {', '.join(session.settings.grounders)} returned no place for {region.phrase!r}",
                _detector_first(session),
            )
        region = replace(region, mask=box_mask(region.box, (image.shape[1], image.shape[0])))
    subtask = plan.subtasks[region.subtask or 0]
    if subtask.where == "outside" or session.settings.grow <= 0:
        return region
    if not _reshapes(session):
        return with_margin(region)
    return region if subtask.preserve_shape else with_room(region, session.settings.grow)


def _reshapes(session: Session) -> bool:
    """Whether the editor may give a thing another shape; assumed of one whose packages are not installed."""
    name = session.settings.editor
    return bool(session.registry.find(EDITORS.plural, name).missing) or session.backend(EDITORS.plural, name).reshapes


def _warn_of_boxes(session: Session, image: Image, regions: Sequence[Region]) -> None:
    """Warns of found regions that are a whole box, where no grounder was chosen that could outline the thing."""
    from gas.masks import box_mask

    if any(session.backend(GROUNDERS.plural, name).segments for name in session.settings.grounders):
        return
    for region in regions:
        if region.mask is None or region.box is None:
            continue
        if bool((region.mask == box_mask(region.box, (image.shape[1], image.shape[0]))).all()):
            notes.warn(
                f"the mask of {region.phrase!r} is its whole box: {', '.join(session.settings.grounders)} outlines "
                "nothing; a segmenter after it would",
                stacklevel=3,
            )


def _detector_first(session: Session) -> Remedy:
    detector = session.first(GROUNDERS, lambda kind: kind.detects)
    chain = Setting("grounders", (detector or "NAME", *session.settings.grounders))
    return Remedy("detector_first", "put a detector first, e.g. {grounders}", grounders=chain)


def _segments(session: Session, name: str) -> bool:
    return bool(session.backend(GROUNDERS.plural, name).segments)


def _refines(session: Session, name: str) -> bool:
    return not session.backend(GROUNDERS.plural, name).detects
