"""What became of one subtask, and of one that is not done, why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from gas_diorama.world.world import Edit, Thing, name

HALF_WAY = 0.5
ABSENT = "nothing"

Miss = Literal["unchanged", "erased", "wrong kind", "wrong colour", "displaced", "blurred", "refused"]
"""Why a subtask is not done, the first of these that holds:

* unchanged: the source is nearer to the output than every rendering, or is the nearest rendering;
* erased: a thing was to change, and the place without it is nearer than every rendering;
* wrong kind: the nearest rendering is another kind, another ground or another sky;
* wrong colour: it is the right kind in another colour;
* displaced: it is the target, and the output comes nearer to it than half the way at another shift or scale;
* blurred: it is the target, too blurred, faint or noisy at every shift and scale;
* refused: the editor gave the edit up.
"""
MISSES: tuple[Miss, ...] = get_args(Miss)


@dataclass(frozen=True)
class Verdict:
    """What became of one subtask.

    * nearest: the nearest rendering by its name ("blue house", "snow", "night sky", "nothing").
    * ratio: |out - exact| over |source - exact| inside the region: 0 = exact, 1 = as far as the source.
    * right: condition (a) alone, the nearest rendering is the target; done: (a), and (b) a ratio of one half at most.
    * miss: why it is not done; None where it is.
    """

    nearest: str
    ratio: float
    right: bool
    miss: Miss | None

    @property
    def done(self) -> bool:
        return self.miss is None


def verdict(
    edit: Edit, distances: Mapping[str, float], nothing: float | None, still: float, ratio: float, way: float
) -> Verdict:
    """The verdict on `edit`, from the squared `distances` of the output to the renderings by their names.

    `nothing` is the squared distance to the place without any thing (None for ground and sky), `still` that to the
    source, `way` that from the source to the exact result.
    """
    nearest = min(distances, key=distances.__getitem__)
    target = ABSENT if edit.target is None else name(edit.target)
    source = ABSENT if edit.source is None else name(edit.source)
    right, best = nearest == target, distances[nearest]
    miss: Miss | None
    if right and ratio <= HALF_WAY:
        miss = None
    elif still < (best if nothing is None else min(best, nothing)):
        miss = "unchanged"
    elif edit.action == "change" and nothing is not None and nothing < best:
        miss = "erased"
    elif nearest == source:
        miss = "unchanged"
    elif not right:
        miss = "wrong colour" if _same_kind(edit, nearest) else "wrong kind"
    else:
        miss = "displaced" if distances[target] <= HALF_WAY**2 * way else "blurred"
    return Verdict(nearest, ratio, right, miss)


def _same_kind(edit: Edit, nearest: str) -> bool:
    return isinstance(edit.target, Thing) and nearest.split()[-1] == edit.target.kind
