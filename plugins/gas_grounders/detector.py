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
from gas.remedies import Given, Option, Remedy
from gas.types import Box, Region
from gas_grounders.asking import Pool, Taken, Wanted, in_order
from gas_grounders.boxes import suppress

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


MOST = 30
"""How many boxes `Detector.candidates` gives for a phrase at most."""
OptionsT = TypeVar("OptionsT", bound=DetectorOptions)


class Detector(Grounder[OptionsT]):
    """A grounder that fills `box` and `score`.

    Regions that are given, or that already have a box or a mask, pass through: a second detector in a chain fills only
    what is open. A phrase that n subtasks share gets the n best distinct boxes.
    """

    options_type = DetectorOptions
    reads_plan = False
    name: ClassVar[str]
    """The backend's name, for the remedies of errors."""
    noun_threshold: float = 0.0
    """What the phrase's main noun must score by itself, for networks that score words."""

    @abstractmethod
    def look(self, image: Image, queries: Sequence[Query], watch: Watch) -> list[Candidates]:
        """The candidates for each query, in any order, not yet thinned out. Interrupted (exit 130) by `watch`."""

    def ground(self, job: GroundJob) -> list[Region]:
        """The regions, each with a box and a score. ObjectNotFound (exit 5) names phrase, best score and threshold.

        A region that asks for several things (`Region.count`) comes back once for each that is found, up to its number.
        """
        image, regions = job.image, job.regions
        wanted = [Wanted.of(i, r) for i, r in enumerate(regions) if not r.given and r.box is None and r.mask is None]
        groups: dict[str, list[Wanted]] = {}
        for one in wanted:
            groups.setdefault(one.key, []).append(one)
        queries = [
            Query(group[0].text, len(group) > 1 or any(o.tells_apart for o in group)) for group in groups.values()
        ]
        size = (image.shape[1], image.shape[0])
        found = self.look(image, queries, job.watch) if queries else []
        pools = {
            key: self._pool(_inside(candidates, size, self.name), sum(one.plain for one in group))
            for (key, group), candidates in zip(groups.items(), found, strict=True)
        }
        taken = Taken(self.options.nms)
        chosen = {one.index: self._choose(one, pools[one.key], taken, size) for one in in_order(wanted)}
        return [
            each
            for i, region in enumerate(regions)
            for each in (self._placed(region, *chosen[i]) if i in chosen else [region])
        ]

    def candidates(self, job: GroundJob) -> list[list[Region] | None]:
        """For each region's phrase the distinct boxes that the network proposes, also below the threshold, the best
        first, at most `MOST` of them. A box scores no more than its main noun does; None for a phrase that
        the vocabulary does not have."""
        image, size = job.image, (job.image.shape[1], job.image.shape[0])
        queries = [Query(Wanted.of(i, region).text, True) for i, region in enumerate(job.regions)]
        return [
            None if candidates is None else self._proposed(region, _inside(candidates, size, self.name))
            for region, candidates in zip(job.regions, self._all(image, queries, job.watch), strict=True)
        ]

    def _all(self, image: Image, queries: Sequence[Query], watch: Watch) -> Sequence[Candidates | None]:
        """What `look` says of all queries at once; where it refuses one, of each alone, and None of that one."""
        if not queries:
            return []
        try:
            return self.look(image, queries, watch)
        except ObjectNotFound:
            if len(queries) == 1:
                return [None]
        return [self._all(image, [query], watch)[0] for query in queries]

    def _proposed(self, region: Region, candidates: Candidates) -> list[Region] | None:
        scores, nouns = candidates.scores, candidates.noun_scores
        if candidates.unread:
            return None
        if not len(scores):
            return []
        least = scores if nouns is None else np.minimum(scores, nouns)
        ranked = np.argsort(-least, kind="stable").tolist()[: 4 * MOST]
        kept = suppress(candidates.boxes, ranked, self.options.nms)[:MOST]
        return self._placed(replace(region, given=False), replace(candidates, scores=least, mask_of=None), kept)

    def _pool(self, candidates: Candidates, needed: int) -> Pool:
        ranked = np.argsort(-candidates.scores, kind="stable").tolist()
        passed = [i for i in ranked if self._passes(candidates, i)]
        distinct = suppress(candidates.boxes, passed, self.options.nms)
        if not self.options.always_best:
            return Pool(candidates, distinct, distinct, needed)
        # The paper's way: the phrase's score alone ranks. Repetitions of the same box come last: better than none.
        best = suppress(candidates.boxes, ranked, self.options.nms)
        return Pool(candidates, distinct, [*best, *(i for i in ranked if i not in set(best))], needed)

    def _choose(self, one: Wanted, pool: Pool, taken: Taken, size: tuple[int, int]) -> tuple[Candidates, list[int]]:
        """The candidates and the indices of those that `one` gets; they are `taken` then."""
        boxes, always = pool.candidates.boxes, self.options.always_best
        order = pool.order(one.position, size)
        if one.position is not None and one.position.rank >= len(order):
            order = order[-1:] if always else []
        free = [i for i in order if not taken.holds(one, boxes[i])]
        if not free and one.plain:
            # "the cat" beside "the cat on the left" where there is one cat: then both mean that one.
            free = [i for i in order if not taken.holds(one, boxes[i], plainly=True)]
        free = free or (order[-1:] if always else [])
        if not free:
            there = len(pool.distinct)
            raise self._not_found(one.phrase, pool.candidates, there, max(there + 1, pool.needed))
        number = len(pool.distinct) or 1 if one.count == "all" else one.count or 1
        mine = free[:number]
        taken.add(one, [boxes[i] for i in mine])
        return pool.candidates, mine

    def _placed(self, region: Region, candidates: Candidates, chosen: Sequence[int]) -> list[Region]:
        out = []
        for index in chosen:
            x0, y0, x1, y1 = (float(v) for v in candidates.boxes[index])
            box: Box = (x0, y0, x1, y1)
            mask = None if candidates.mask_of is None else candidates.mask_of(index)
            out.append(replace(region, box=box, mask=mask, score=float(candidates.scores[index])))
        return out

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
