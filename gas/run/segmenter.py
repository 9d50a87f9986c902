"""The segmenter that an editor is handed: the user's own, its answers looked at as those of any grounder."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from gas.interfaces import Grounder, GroundJob
from gas.run import answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from gas.preview import Preview
    from gas.types import Region


class CheckedSegmenter(Grounder):
    """The segmenter `inner`, called within `calling()`; what it returns that cannot be used is the error that `fault`
    makes of the reason."""

    segments = True

    def __init__(
        self, inner: Grounder, calling: Callable[[], AbstractContextManager[None]], fault: answers.Fault
    ) -> None:
        super().__init__(inner.options, inner.runtime)
        self.inner, self._calling, self._fault = inner, calling, fault

    @property
    def detects(self) -> bool:  # type: ignore[override]
        return self.inner.detects

    @property
    def remote(self) -> bool:
        return self.inner.remote

    def preview(self, job: GroundJob) -> Preview:
        return self.inner.preview(job)

    def ground(self, job: GroundJob) -> list[Region]:
        with self._calling():
            answer = self.inner.ground(job)
        size = job.image.shape[1], job.image.shape[0]
        if not job.regions:
            return answers.segments(answer, size, self._fault)
        asked = [region.subtask for region in job.regions]
        if None in asked:
            return answers.segments(answer, size, self._fault)
        return answers.regions(answer, [index for index in asked if index is not None], size, self._fault)
