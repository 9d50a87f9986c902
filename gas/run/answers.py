"""What backends return is looked at here, before anything is done with it: types, shapes, ranges, sizes.

Each function takes the answer and `fault`, which makes the error that names the backend (`Registry.fault`); it returns
the answer, or raises that error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from pydantic import ValidationError

from gas.errors import GasError
from gas.interfaces import Edited, EditJob
from gas.masks import Size
from gas.types import EditPlan, Finding, Region, Suggestions
from gas.validation import explain

Fault = Callable[[str], GasError]
ROUNDING = 1e-4  # what a sum of float32 may have too much
MAX_SIDE = 16_384
MAX_LOG_BYTES = 16 * 2**20


def plan(answer: Any, fault: Fault) -> EditPlan:
    """A planner's answer: an EditPlan of which every field is valid, however it was made."""
    return _valid(answer, EditPlan, fault)


def suggestions(answer: Any, fault: Fault) -> Suggestions:
    """A planner's answer when it is asked for suggestions."""
    return _valid(answer, Suggestions, fault)


def regions(answer: Any, subtasks: Sequence[int], size: Size, fault: Fault) -> list[Region]:
    """A grounder's answer: regions of the `subtasks` that were asked for and of no other, in a picture of `size`
    (width, height), each with box and mask."""
    found = [region.subtask for region in _regions(answer, fault)]
    if not all(type(index) is int for index in found) or set(found) != set(subtasks):
        raise fault(f"returned regions for subtasks {found[:32]}, asked for {list(subtasks)}")
    return _checked(answer, size, fault)


def segments(answer: Any, size: Size, fault: Fault) -> list[Region]:
    """A segmenter's answer where it was asked for no subtask's regions: each with box and mask, in a picture of `size`
    (width, height)."""
    for region in _regions(answer, fault):
        if region.mask is None and region.box is None:
            raise fault("returned a segment that has neither mask nor box")
    return _checked(answer, size, fault)


def _regions(answer: Any, fault: Fault) -> Sequence[Region]:
    if not isinstance(answer, list | tuple) or not all(isinstance(region, Region) for region in answer):
        raise fault(f"returned {_kind(answer)}, not a list of gas.Region")
    return answer


def _checked(answer: Sequence[Region], size: Size, fault: Fault) -> list[Region]:
    from gas.regions.check import check_region

    out = []
    for region in answer:
        if not isinstance(region.phrase, str):
            raise fault(f"returned a region whose phrase is {_kind(region.phrase)}")
        score = region.score
        if score is not None and not (isinstance(score, Real) and math.isfinite(score)):
            raise fault(f"returned the score {str(score)[:40]} for {region.phrase!r}, not a finite number")
        if region.mask is not None and not isinstance(region.mask, np.ndarray):
            raise fault(f"returned a mask for {region.phrase!r} that is {_kind(region.mask)}, not an array")
        if region.mask is None and region.box is None:
            out.append(region)
            continue
        try:
            checked = check_region(region, size)
        except Exception as error:  # whatever is wrong with it, it is the grounder's
            words = error.message if isinstance(error, GasError) else f"{type(error).__name__}: {error}"
            raise fault(f"returned a place that cannot be used: {words[:300]}") from error
        out.append(replace(checked, score=None if score is None else float(score)))
    return out


def candidates(answer: Any, count: int, size: Size, fault: Fault) -> list[list[Region] | None]:
    """A grounder's answer when it is asked for all places of each of `count` phrases in a picture of `size`: lists of
    regions, each with a place, a box and a score, or None for a phrase that it cannot look for."""
    if not isinstance(answer, list | tuple) or len(answer) != count:
        raise fault(f"returned {_kind(answer)}, not a list of {count} lists of gas.Region")
    out: list[list[Region] | None] = []
    for places in answer:
        if places is None:
            out.append(None)
            continue
        if not isinstance(places, list | tuple) or not all(isinstance(place, Region) for place in places):
            raise fault(f"returned {_kind(places)} for a phrase, not a list of gas.Region")
        numbered = [replace(place, subtask=0) for place in places]
        out.append([place for place in regions(numbered, [0], size, fault) if place.box] if numbered else [])
    return out


def findings(answer: Any, subtasks: Sequence[int], fault: Fault) -> tuple[Finding, ...]:
    """A verifier's answer: a valid finding for each of the `subtasks` that were asked for, in their order."""
    if not isinstance(answer, list | tuple):
        raise fault(f"returned {_kind(answer)}, not a list of gas.Finding")
    found = tuple(_valid(finding, Finding, fault) for finding in answer)
    if [finding.subtask for finding in found] != list(subtasks):
        raise fault(f"returned findings for {[one.subtask for one in found][:32]}, asked for {list(subtasks)}")
    return found


def edited(answer: Any, job: EditJob, fault: Fault) -> Edited:
    """An editor's answer: pictures of the job's size, a finite mask in [0, 1], and a log of plain JSON values."""
    if not isinstance(answer, Edited):
        raise fault(f"returned {_kind(answer)}, not a gas.Edited")
    _picture(answer.image, "a picture", job, fault)
    if answer.unedited is not None:
        _picture(answer.unedited, "an unedited picture", job, fault)
    mask, shape = answer.mask, job.image.shape[:2]
    if mask is not None:
        if not isinstance(mask, np.ndarray) or mask.shape != shape or mask.dtype.kind not in "fbiu":
            raise fault(f"returned a mask that is {_kind(mask)}, not numbers of shape {shape}")
        if not np.isfinite(mask).all() or mask.min() < 0 or mask.max() > 1 + ROUNDING:
            raise fault("returned a mask that is not finite, or not between 0 and 1")
    if not isinstance(answer.places, list | tuple):
        raise fault(f"returned places that are {_kind(answer.places)}, not regions")
    for place in answer.places:
        _place(place, job, fault)
    if not isinstance(answer.stopped, bool | np.bool_):
        raise fault(f"returned stopped={_kind(answer.stopped)}, not True or False")
    _log(answer.log, fault)
    return answer


def working_size(resolution: Any, multiple: Any, fault: Fault) -> tuple[int | None, int]:
    """An editor's `resolution()` (None: it works on the photograph's own pixels) and `multiple()`."""
    for name, value in (("resolution", resolution), ("multiple", multiple)):
        if name == "resolution" and value is None:
            continue
        if type(value) is not int or not 1 <= value <= MAX_SIDE:
            raise fault(f"{name}() returned {str(value)[:40]}, not a whole number from 1 to {MAX_SIDE}")
    return resolution, multiple


def _valid(answer: Any, kind: Any, fault: Fault) -> Any:
    if not isinstance(answer, kind):
        raise fault(f"returned {_kind(answer)}, not a gas.types.{kind.__name__}")
    try:
        return kind.model_validate(answer.model_dump(warnings=False))
    except ValidationError as error:
        raise fault(f"returned a value of {kind.__name__} that is not valid: {explain(error)}") from None
    except Exception as error:  # one that was made around pydantic can fail in any way
        raise fault(f"returned a value of {kind.__name__} that is not valid: {type(error).__name__}") from error


def _picture(image: Any, what: str, job: EditJob, fault: Fault) -> None:
    if not isinstance(image, np.ndarray) or image.shape != job.image.shape or image.dtype != np.uint8:
        raise fault(f"returned {what} that is {_kind(image)}, not {job.image.shape} uint8")


def _place(place: Any, job: EditJob, fault: Fault) -> None:
    if not isinstance(place, Region) or not isinstance(place.phrase, str):
        raise fault(f"returned a place that is {_kind(place)}, not a gas.Region")
    if type(place.subtask) is not int or not 0 <= place.subtask < len(job.plan.subtasks):
        raise fault(f"returned a place for subtask {str(place.subtask)[:40]} of {len(job.plan.subtasks)}")
    mask, shape = place.mask, job.image.shape[:2]
    if not isinstance(mask, np.ndarray) or mask.shape != shape or mask.dtype.kind not in "fbiu":
        raise fault(f"returned a place whose mask is {_kind(mask)}, not numbers of shape {shape}")
    if not np.isfinite(mask).all() or mask.min() < 0 or mask.max() > 1 + ROUNDING:
        raise fault("returned a place whose mask is not finite, or not between 0 and 1")


def _log(log: Any, fault: Fault) -> None:
    if not isinstance(log, Mapping):
        raise fault(f"returned a log that is {_kind(log)}, not a mapping")
    try:
        size = len(json.dumps(dict(log), allow_nan=False, default=_sequence))
    except (TypeError, ValueError, RecursionError) as error:
        raise fault(f"returned a log that is not plain JSON: {str(error)[:200]}") from None
    if size > MAX_LOG_BYTES:
        raise fault(f"returned a log of {size} bytes; {MAX_LOG_BYTES} at most can be recorded")
    said = log.get("notes", ())
    if not isinstance(said, list | tuple) or not all(isinstance(note, str) for note in said):
        raise fault("returned a log whose notes are not a list of sentences")


def _sequence(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{_kind(value)} is not a plain value")


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} {value.dtype}"
    return f"of type {type(value).__name__}"
