"""How far a task is, and a picture of it now and then that costs next to nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gas_ui import views

if TYPE_CHECKING:
    from gas.interfaces import Step

SHARE = 0.03
"""The share of a run's time that previews may take."""
STAGES = {
    "plan": "Reading the request",
    "ground": "Looking for the things",
    "edit": "Editing",
    "retry": "Trying again",
}
CHECKING = "Checking each change"


class Progress:
    """Stage, step and the latest preview of a task. Steps come from its thread, looks from the server's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self.stage, self.names, self._then = "", "", ""
        self.index, self.total = 0, 0
        self.values: dict[str, float] = {}
        self.preview: bytes | None = None
        self.previews = 0
        self._began = clock()
        self._spent = 0.0
        self._longest = 0.0
        self._watched = float("-inf")

    def begin(self, stage: str, names: str, then: str = "") -> None:
        """A stage begins: "plan", "ground", "edit" or "retry", with the names of the backends that are asked; `then` is
        what follows its last step."""
        with self._lock:
            self.stage, self.names, self._then = STAGES.get(stage, stage), names, then
            self.index = self.total = 0
            self.values = {}
            self._began, self._spent = self._clock(), 0.0

    def step(self, step: Step) -> None:
        """For `Watch.on_step`. A preview is made only while somebody looks, and while all previews together take no
        more than `SHARE` of the time."""
        with self._lock:
            self.index, self.total = step.index, step.total
            self.values = dict(list(step.values.items())[:3])
            began = self._clock()
            looked_at = began - self._watched < 3
            spent = self._spent + self._longest
            due = looked_at and spent <= SHARE * (began - self._began + self._longest)
        if step.preview is None or not due or step.index >= step.total:
            return
        picture = views.encoded(step.preview())
        took = self._clock() - began
        with self._lock:
            self.preview, self.previews = picture, self.previews + 1
            self._spent += took
            self._longest = max(self._longest, took)

    def look(self) -> dict[str, Any]:
        """What the page shows of it; whoever calls this is looking."""
        with self._lock:
            self._watched = now = self._clock()
            left = None
            over = bool(self._then) and 0 < self.total <= self.index
            if self.total and self.index and not over:
                left = (now - self._began) / self.index * (self.total - self.index)
            return {
                "stage": self._then if over else self.stage,
                "names": "" if over else self.names,
                "index": 0 if over else self.index,
                "total": 0 if over else self.total,
                "values": self.values,
                "left": left,
                "previews": self.previews,
            }
