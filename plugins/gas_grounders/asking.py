"""What is asked of a detector for each region, in which order regions choose, and which boxes are taken by then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gas.plan.phrases import main_noun, normalise_phrase
from gas_grounders.boxes import iou
from gas_grounders.choosing import Position, one_of_them, split_other, split_position

if TYPE_CHECKING:
    import numpy as np

    from gas.types import Region
    from gas_grounders.detector import Candidates


@dataclass(frozen=True)
class Wanted:
    """A region to be found: `text` is what the network is asked for, `position`, `other` and `count` say which of the
    things of that name are meant."""

    index: int
    phrase: str
    text: str
    position: Position | None = None
    other: bool = False
    count: int | Literal["all"] | None = None

    @classmethod
    def of(cls, index: int, region: Region) -> Wanted:
        """What the region at `index` asks for."""
        text, other = split_other(region.phrase)
        text, position = split_position(text)
        text = text if region.count is None else one_of_them(text)
        return cls(index, region.phrase, text, position, other, region.count)

    @property
    def key(self) -> str:
        """The text as it is compared: regions of one key are looked for together."""
        return normalise_phrase(self.text)

    @property
    def noun(self) -> str:
        """The main noun: "the red car" and "the other car" are both cars."""
        return main_noun(self.text) or self.key

    @property
    def plain(self) -> bool:
        """Whether any thing of that name will do."""
        return self.position is None and not self.other and self.count is None

    @property
    def tells_apart(self) -> bool:
        """Whether things of that name must be told apart."""
        return not self.plain


def in_order(wanted: Sequence[Wanted]) -> list[Wanted]:
    """The regions in the order in which they choose: what is named by itself, what is named by its place, what is named
    beside such a one, several things, "the other ones"."""
    placed = {one.key for one in wanted if one.position is not None and not one.other}

    def rank(one: Wanted) -> int:
        if one.other:
            return 4
        if one.position is not None:
            return 1
        return 3 if one.count is not None else 2 if one.key in placed else 0

    return sorted(wanted, key=rank)


@dataclass(frozen=True)
class Pool:
    """The candidates for one text: `distinct` are those that pass and are different things, best first; `order` those
    that may be chosen. `needed` is how many regions ask for it plainly."""

    candidates: Candidates
    distinct: Sequence[int]
    choice: Sequence[int]
    needed: int

    def order(self, position: Position | None, size: tuple[int, int]) -> list[int]:
        """The candidates in the order in which they are chosen; `size` is the picture's `(width, height)`."""
        if position is None:
            return list(self.choice)
        # Where nothing passes there is nothing to choose among by geometry: then the best scores stand.
        boxes = self.candidates.boxes[list(self.distinct)]
        return [self.distinct[i] for i in position.order(boxes, size)] or list(self.choice)


@dataclass
class Taken:
    """The boxes that were chosen, each with the region that has it. Boxes that overlap more than `limit` (IoU) are one
    thing."""

    limit: float
    _boxes: list[tuple[Wanted, np.ndarray]] = field(default_factory=list)

    def add(self, one: Wanted, boxes: Sequence[np.ndarray]) -> None:
        """Notes that `one` has the boxes."""
        self._boxes += [(one, box) for box in boxes]

    def holds(self, one: Wanted, box: np.ndarray, *, plainly: bool = False) -> bool:
        """Whether a box is taken for `one`: by a region of the same text, or, where words say that another thing is
        meant, by any of the same noun. `plainly`: by one that took just any."""
        return any(
            iou(box, other[None])[0] > self.limit
            for by, other in self._boxes
            if (by.key == one.key or (one.tells_apart and by.noun == one.noun)) and (by.plain or not plainly)
        )
