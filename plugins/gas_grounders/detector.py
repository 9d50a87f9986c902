"""What all detectors share: from the candidates for each phrase to one region for each subtask."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np
from pydantic import Field

from gas.errors import ObjectNotFound, ResultRefused
from gas.interfaces import Grounder, GroundJob, Options, Watch
from gas.plan.phrases import normalise_phrase
from gas.remedies import Given, Option, Remedy
from gas.types import Box, Region
from gas_grounders.choosing import Position, split_position

if TYPE_CHECKING:
    from gas.types import Image


@dataclass(frozen=True)
class Candidates:
    """What a network proposes for one phrase: boxes `(n, 4)` in pixels of the picture, and for each a score in [0, 1].

    `noun_scores` `(n,)` has the scores of the phrase's main noun alone, `mask_of` gives the mask `(H, W)` that belongs
    to a box, for networks that have such. `unread` are words of the phrase that the network's vocabulary does not have.
    """

    boxes: np.ndarray
    scores: np.ndarray
    noun_scores: np.ndarray | None = None
    mask_of: Callable[[int], np.ndarray] | None = None
    unread: str = ""


@dataclass(frozen=True)
class Query:
    """A phrase to look for, without words of position; `several` when more than one thing must be told apart."""

    text: str
    several: bool


class DetectorOptions(Options):
    """The options of every detector; `score_threshold` and `model` have defaults of each detector's own."""

    score_threshold: float = Field(0.35, ge=0, le=1, description="lowest score of a box that counts as found")
    nms: float = Field(0.7, gt=0, le=1, description="boxes that overlap more (IoU) are the same thing")
    always_best: bool = Field(False, description="always take the best boxes, whatever their score")


OptionsT = TypeVar("OptionsT", bound=DetectorOptions)


class Detector(Grounder[OptionsT]):
    """A grounder that fills `box` and `score`.

    Regions that are given, or that already have a box or a mask, pass through: a second detector in a chain fills only
    what is open. A phrase that n subtasks share gets the n best distinct boxes.
    """

    options_type = DetectorOptions
    name: ClassVar[str]
    """The backend's name, for the remedies of errors."""
    noun_threshold: float = 0.0
    """What the phrase's main noun must score by itself, for networks that score words."""

    @abstractmethod
    def look(self, image: Image, queries: Sequence[Query], watch: Watch) -> list[Candidates]:
        """The candidates for each query, in any order, not yet thinned out. Interrupted (exit 130) by `watch`."""

    def ground(self, job: GroundJob) -> list[Region]:
        """The regions, each with a box and a score. ObjectNotFound (exit 5) names phrase, best score and threshold."""
        image, regions = job.image, job.regions
        answer = list(regions)
        asked = [i for i, r in enumerate(regions) if not r.given and r.box is None and r.mask is None]
        wanted: dict[str, list[tuple[int, Position | None]]] = {}
        texts: dict[str, str] = {}
        for index in asked:
            text, position = split_position(regions[index].phrase)
            key = normalise_phrase(text)
            texts.setdefault(key, text)
            wanted.setdefault(key, []).append((index, position))
        queries = [
            Query(texts[key], len(group) > 1 or any(position is not None for _, position in group))
            for key, group in wanted.items()
        ]
        size = (image.shape[1], image.shape[0])
        found = self.look(image, queries, job.watch) if queries else []
        for group, candidates in zip(wanted.values(), found, strict=True):
            candidates = _inside(candidates, size, self.name)
            for index, chosen in self._assign(regions, group, candidates, size):
                x0, y0, x1, y1 = (float(v) for v in candidates.boxes[chosen])
                box: Box = (x0, y0, x1, y1)
                mask = None if candidates.mask_of is None else candidates.mask_of(chosen)
                answer[index] = replace(regions[index], box=box, mask=mask, score=float(candidates.scores[chosen]))
        return answer

    def _assign(
        self,
        regions: Sequence[Region],
        group: Sequence[tuple[int, Position | None]],
        candidates: Candidates,
        size: tuple[int, int],
    ) -> list[tuple[int, int]]:
        """(index of region, index of candidate) for all regions of one query."""
        ranked = np.argsort(-candidates.scores, kind="stable").tolist()
        passed = [i for i in ranked if self._passes(candidates, i)]
        distinct = suppress(candidates.boxes, passed, self.options.nms)
        if self.options.always_best:
            # The paper's way. Repetitions of the same box come last: they are better than none.
            rest = suppress(
                candidates.boxes, [*distinct, *(i for i in ranked if i not in set(passed))], self.options.nms
            )
            pool = [*rest, *(i for i in ranked if i not in set(rest))]
        else:
            pool = distinct
        out: list[tuple[int, int]] = []
        used: set[int] = set()
        taken: dict[Position, int] = {}
        for index, position in group:
            if position is None:
                continue
            # Where nothing passes there is nothing to choose among by geometry: then the best scores stand.
            order = [distinct[i] for i in position.order(candidates.boxes[distinct], size)] or pool
            turn = taken.get(position, 0)
            taken[position] = turn + 1
            if turn + position.rank >= len(order):
                if not (self.options.always_best and pool):
                    raise self._not_found(regions[index].phrase, candidates, len(distinct), turn + position.rank + 1)
                turn = len(order) - 1
            used.add(order[turn])
            out.append((index, order[turn]))
        plain = [index for index, position in group if position is None]
        free = [i for i in pool if i not in used]
        if len(free) < len(plain):
            # "the cat" beside "the cat on the left" where there is one cat: then both mean that one.
            free = [*free, *(i for i in pool if i in used)]
        if len(free) < len(plain):
            raise self._not_found(regions[plain[len(free)]].phrase, candidates, len(free), len(plain))
        return out + list(zip(plain, free, strict=False))

    def _passes(self, candidates: Candidates, index: int) -> bool:
        if candidates.unread or candidates.scores[index] < self.options.score_threshold:
            return False
        return candidates.noun_scores is None or bool(candidates.noun_scores[index] >= self.noun_threshold)

    def _not_found(self, phrase: str, candidates: Candidates, there: int, needed: int) -> ObjectNotFound:
        shown = " ".join(phrase.split())[:100]
        region = Given(shown, ("box",))
        draw = Remedy("draw_it", "name it differently, or draw it: {region}", region=region)
        if candidates.unread:
            return ObjectNotFound(
                f"{shown!r} was not found: the model of {self.name} does not know {candidates.unread!r}", draw
            )
        lead, which = f"{shown!r} was not found", "the best score"
        if there:
            lead = f"only {there} of {needed} {shown!r} {'was' if there == 1 else 'were'} found"
            which = "the best score of another"
        left = [i for i in range(len(candidates.scores)) if not self._passes(candidates, i)]
        if there and not left:
            return ObjectNotFound(f"{lead}: all other boxes overlap {'it' if there == 1 else 'them'}", draw)
        best = max(left, key=lambda i: candidates.scores[i], default=None)
        score = 0.0 if best is None else float(candidates.scores[best])
        option, value, threshold = "score_threshold", score, float(self.options.score_threshold)
        scores = f"{which} is {_shown(score)}, the threshold {threshold:g}"
        if best is not None and score >= threshold and candidates.noun_scores is not None:
            option, value, threshold = "text_threshold", float(candidates.noun_scores[best]), self.noun_threshold
            scores += f"; but its main noun scores {_shown(value)}, the text threshold is {threshold:g}"
        lower = math.floor(value * 100) / 100
        if 0 < lower < threshold:
            draw = Remedy(
                "lower_threshold",
                "lower the threshold ({option}), name it differently, or draw it: {region}",
                option=Option({option: lower}, self.name),
                region=region,
            )
        return ObjectNotFound(f"{lead}: {scores}", draw)


def _shown(score: float) -> str:
    # Rounded down, so that a score just below the threshold is never shown as equal to it.
    return f"{math.floor(score * 1000) / 1000:.3f}"


def pad_thin(image: Image, ratio: int = 16) -> Image:
    """The picture, its last row or column repeated where it is more than `ratio` times as long as wide.

    Networks that scale both sides alike would be left with a side of no pixels. Boxes keep their place.
    """
    height, width = image.shape[:2]
    least = -(-max(height, width) // ratio)
    missing = (max(least - height, 0), max(least - width, 0))
    return np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), "edge") if any(missing) else image


def suppress(boxes: np.ndarray, order: Sequence[int], limit: float) -> list[int]:
    """The indices in `order` without those whose box overlaps an earlier one by more than `limit` (IoU): greedy NMS."""
    kept: list[int] = []
    for index in order:
        if not kept or iou(boxes[index], boxes[kept]).max() <= limit:
            kept.append(index)
    return kept


def iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The intersection over union of a box `(4,)` with each of `others` `(n, 4)`."""
    corners = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    intersection = np.prod(np.clip(corners, 0, None), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return intersection / np.maximum(areas - intersection, np.finfo(np.float64).tiny)


def _inside(candidates: Candidates, size: tuple[int, int], name: str) -> Candidates:
    """The candidates with boxes clipped to the picture; those without area in it are left out."""
    boxes = np.asarray(candidates.boxes, np.float64).reshape(-1, 4)
    scores = np.asarray(candidates.scores, np.float64).reshape(-1)
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise ResultRefused(f"the boxes or scores of {name} are not finite numbers", "name another model")
    boxes = np.clip(boxes, 0, np.array(size * 2, np.float64))
    keep = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    nouns = None if candidates.noun_scores is None else np.asarray(candidates.noun_scores)[keep]
    mask_of = candidates.mask_of
    moved = None if mask_of is None else lambda index: mask_of(int(keep[index]))
    return Candidates(boxes[keep], scores[keep], nouns, moved, candidates.unread)
