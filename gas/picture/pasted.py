"""One picture that is edited in turns: what each turn pastes into what the turns before have left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gas.picture.blend import blend, unblend

if TYPE_CHECKING:
    from gas.types import Image, Mask


@dataclass
class Pasted:
    """What the turns so far have left.

    * first: the picture that they began with, `(H, W, 3)` uint8;
    * picture: what they have made of it, and what the next turn works on;
    * raw: the last turn's own output, before it was pasted;
    * kept: how much of `first` still shows in `picture`, `(H, W)` in [0, 1]; None: nothing, a turn has replaced it;
    * done: how many turns have come to their end;
    * logs: what each turn measured, also the one that was interrupted, as plain JSON values.
    """

    first: Image
    picture: Image
    raw: Image
    kept: Mask | None
    done: int = 0
    logs: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def begun(cls, image: Image) -> Pasted:
        """No turn has been made on `image`."""
        return cls(image, image, image, np.ones(image.shape[:2], np.float32))

    def paste(self, image: Image, alpha: Mask | None, log: Mapping[str, Any], *, done: bool = True) -> None:
        """What a turn made: `image`, pasted with the strength `alpha` `(H, W)` in [0, 1] (None: it replaces the whole
        picture). What it does not paste stays as it was, bit for bit. `done` says whether the turn came to its end."""
        self.raw = image
        self.done += done
        self.logs.append(dict(log))
        if alpha is None:
            self.picture, self.kept = image, None
            return
        self.picture = blend(self.picture, image, alpha)
        self.kept = None if self.kept is None else self.kept * (1 - alpha)

    def once(self) -> tuple[Image, Mask | None]:
        """The image and the mask `(H, W)` that, pasted once into `first`, leave what the turns left one by one; no mask
        where a turn has replaced the whole picture. Outside the mask the image is `first`, bit for bit."""
        return (self.picture, None) if self.kept is None else unblend(self.first, self.picture, self.kept, self.first)

    def once_raw(self) -> tuple[Image, Mask | None]:
        """As `once`, but outside the mask the image is the last turn's own output."""
        if self.kept is None:
            return self.picture, None
        if len(self.logs) == 1:
            return self.raw, (1 - self.kept).astype(np.float32)
        return unblend(self.first, self.picture, self.kept, self.raw)

    def state(self) -> dict[str, Any]:
        """All that `restored` needs: arrays and plain JSON values by name."""
        state = {"done": self.done, "logs": list(self.logs), "replaced": self.kept is None}
        pictures = {"picture": self.picture, "raw": self.raw, **({} if self.kept is None else {"kept": self.kept})}
        return {**state, **{name: one.copy() for name, one in pictures.items()}}

    @classmethod
    def restored(cls, state: Mapping[str, Any], image: Image, turns: int) -> Pasted:
        """What a `state` tells, of an edit of `image` in so many `turns`. KeyError, TypeError or ValueError for the
        state of another."""
        kept = None if state["replaced"] else np.asarray(state["kept"])
        picture, raw = np.asarray(state["picture"]), np.asarray(state["raw"])
        found = cls(image, picture, raw, kept, int(state["done"]), [dict(log) for log in state["logs"]])
        sizes = {picture.shape[:2], raw.shape[:2], image.shape[:2], *(() if kept is None else (kept.shape,))}
        if len(sizes) != 1 or picture.ndim != 3 or not 0 <= found.done < turns:
            raise ValueError("its size or number of turns differs")
        return found
