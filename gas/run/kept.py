"""What an editor has made, as a part of a run's state: what is done need not be made again when the run is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gas.checkpoint import prefixed, under
from gas.interfaces import Edited
from gas.types import Region

if TYPE_CHECKING:
    from gas.types import Image


def kept(edited: Edited) -> dict[str, Any]:
    """`edited` as arrays and plain JSON values, for `restored`. That it was made of nothing (`unedited`) is left out:
    it was not."""
    state: dict[str, Any] = {"image": edited.image, "log": dict(edited.log)}
    state |= {} if edited.mask is None else {"mask": edited.mask}
    state["places"] = [{"phrase": one.phrase, "score": one.score, "subtask": one.subtask} for one in edited.places]
    for number, place in enumerate(edited.places):
        state |= prefixed(f"place.{number}.", {} if place.mask is None else {"mask": place.mask})
    return state


def restored(state: Mapping[str, Any], like: Image) -> Edited:
    """What `kept` was given. ValueError, KeyError or TypeError for a state that does not fit a working picture
    `like`."""
    image = np.asarray(state["image"])
    if image.shape != like.shape:
        raise ValueError("its working pictures differ")
    places = [
        Region(
            str(one["phrase"]),
            mask=np.asarray(under(state, f"place.{number}.")["mask"]),
            score=one["score"],
            subtask=int(one["subtask"]),
        )
        for number, one in enumerate(state["places"])
    ]
    return Edited(image, np.asarray(state["mask"]) if "mask" in state else None, log=state["log"], places=tuple(places))
