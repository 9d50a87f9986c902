"""Several working pictures of one photograph: places that lie far apart each get one, as fine as the model allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from gas.masks import Size, mask_box
from gas.picture.frame import WORTH_A_CROP, Frame, work_frame
from gas.types import Region, WorkMode

MOST_FRAMES = 8
"""Each costs as much as an edit of its own."""


@dataclass(frozen=True)
class Placed:
    """A working picture, and the indices of the regions that are worked on in it."""

    frame: Frame
    regions: tuple[int, ...]


def work_frames(
    size: Size, regions: Sequence[Region], mode: WorkMode, resolution: int | None, multiple: int = 1
) -> tuple[Placed, ...]:
    """The working pictures for a photograph of `size`, those with the largest regions first; one for all in the modes
    "full" and "crop" (`gas.picture.frame.work_frame`).

    * frames: regions are put together while none is thereby shown 1.5 times coarser than alone, and until there are at
      most eight pictures;
    * auto: that, where it shows a region at least 1.5 times finer than the one picture that would be taken else.

    An editor that works on the photograph's own pixels has one. InputRefused as `work_frame`.
    """
    everything = tuple(range(len(regions)))
    if mode not in {"frames", "auto"} or resolution is None or len(regions) < 2:
        return (one_frame(size, regions, mode, resolution, multiple),)
    # Once for each: it takes a look at every pixel.
    boxes = [replace(one, box=one.box if one.mask is None else mask_box(one.mask), mask=None) for one in regions]

    def frame_of(group: tuple[int, ...]) -> Frame:
        return work_frame(size, [boxes[index] for index in group], "auto", resolution, multiple)

    found = _grouped(len(regions), frame_of)
    if mode == "auto":
        whole = frame_of(everything)
        if max(_fine(one.frame) for one in found) < WORTH_A_CROP * _fine(whole):
            return (Placed(whole, everything),)
    return tuple(sorted(found, key=lambda one: (-sum(_area(boxes[index]) for index in one.regions), one.regions)))


def one_frame(
    size: Size, regions: Sequence[Region], mode: WorkMode, resolution: int | None, multiple: int = 1
) -> Placed:
    """One working picture for all regions, as `work_frame`; "frames" is "auto"."""
    frame = work_frame(size, regions, "auto" if mode == "frames" else mode, resolution, multiple)
    return Placed(frame, tuple(range(len(regions))))


def _grouped(count: int, make: Callable[[tuple[int, ...]], Frame]) -> list[Placed]:
    groups: dict[tuple[int, ...], Frame] = {(index,): make((index,)) for index in range(count)}
    alone = [_fine(groups[index,]) for index in range(count)]
    while len(groups) > 1:
        pairs = [tuple(sorted(a + b)) for a, b in combinations(sorted(groups), 2)]
        frames = [make(pair) for pair in pairs]
        # How much coarser the worst of its regions is shown than alone.
        losses = [max(alone[i] for i in pair) / _fine(frame) for pair, frame in zip(pairs, frames, strict=True)]
        best = min(range(len(pairs)), key=lambda at: (losses[at], pairs[at]))
        if losses[best] >= WORTH_A_CROP and len(groups) <= MOST_FRAMES:
            break
        groups = {group: frame for group, frame in groups.items() if not set(group) <= set(pairs[best])}
        groups[pairs[best]] = frames[best]
    return [Placed(frame, group) for group, frame in groups.items()]


def _fine(frame: Frame) -> float:
    """Working pixels for each native one, at most 1: more show nothing that is there."""
    return min(*frame.scale, 1.0)


def _area(region: Region) -> float:
    x0, y0, x1, y1 = region.box or (0.0, 0.0, 0.0, 0.0)
    return (x1 - x0) * (y1 - y0)
