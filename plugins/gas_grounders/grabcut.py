"""The grounder `grabcut`: the thing in a box, cut out by its colours (GrabCut, Rother and others, 2004); no model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures
from pydantic import Field

from gas.errors import ObjectNotFound
from gas.interfaces import Grounder, GroundJob, Options
from gas.masks import box_mask, grow_box
from gas.picture.grabcut import ROUNDS, SMOOTHNESS, cut
from gas.picture.guided import fit
from gas.picture.selection.select import softened
from gas.regions.check import check_box
from gas.remedies import Remedy, Setting
from gas.types import Region

if TYPE_CHECKING:
    from gas.types import Box, Image, Mask

AROUND = 0.35
"""Share of a box's sides that is looked at on every side of it, to learn what is not the thing."""


class GrabCutOptions(Options):
    """The options of `grabcut`."""

    side: int = Field(320, ge=32, le=640, description="longest side in pixels of the picture that is cut")
    rounds: int = Field(ROUNDS, ge=1, le=20, description="times that the colours are learnt anew")
    smoothness: float = Field(SMOOTHNESS, ge=0, le=500, description="how much a long, ragged outline costs")
    least: float = Field(0.15, ge=0, le=1, description="share of the box below which the cut is not believed")
    most: float = Field(0.95, ge=0, le=1, description="share of the box above which the cut is not believed")


class GrabCutGrounder(Grounder[GrabCutOptions]):
    """Turns boxes into masks. What is drawn by hand, or has a mask already, stays as it is."""

    options_type = GrabCutOptions
    detects = False
    reads_plan = False

    def ground(self, job: GroundJob) -> list[Region]:
        """The job's regions, each with a mask; a `note` says where the box itself was kept, the cut not being stable.

        ObjectNotFound (exit 5) for a region without a place.
        """
        answer = []
        for region in job.regions:
            job.watch.check_stop()
            answer.append(self._refined(job.image, region))
        return answer

    def _refined(self, image: Image, region: Region) -> Region:
        if region.given or region.mask is not None:
            return region
        if region.box is None:
            raise ObjectNotFound(
                f"there is no box for {region.phrase!r}, and grabcut does not look for words",
                Remedy(
                    "detector_first",
                    "put a detector before it: {grounders}",
                    grounders=Setting("grounders", ("colour", "grabcut")),
                ),
            )
        size = image.shape[1], image.shape[0]
        box = check_box(region.box, size, name=f"region {region.phrase!r}", sure=True)
        mask = self._mask(image, box)
        whole = box_mask(box, size)
        share = float((mask * whole).sum() / whole.sum())
        if not self.options.least <= share <= self.options.most:
            note = f"the cut of {region.phrase!r} took {100 * share:.0f} % of its box, so the box itself is taken"
            return replace(region, mask=whole, note=note)
        return replace(region, mask=mask)

    def _mask(self, image: Image, box: Box) -> Mask:
        """The mask `(H, W)` of the thing in the box, its edge taken from the picture at full size."""
        height, width = image.shape[:2]
        x0, y0, x1, y1 = (round(side) for side in grow_box(box, (width, height), AROUND))
        window = np.s_[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
        part = np.ascontiguousarray(image[window])
        scale = min(self.options.side / max(part.shape[:2]), 1.0)
        size = max(round(part.shape[1] * scale), 1), max(round(part.shape[0] * scale), 1)
        small = np.asarray(Pictures.fromarray(part).resize(size, Pictures.Resampling.BOX))
        inside = Pictures.fromarray(box_mask(box, (width, height))[window]).resize(size, Pictures.Resampling.BOX)
        allowed = np.asarray(inside) > 0.5
        thing = cut(small, allowed, allowed, rounds=self.options.rounds, smoothness=self.options.smoothness)
        fitted = fit(small, thing.astype(np.float32), max(round(max(size) / 160), 1))
        out = np.zeros((height, width), np.float32)
        out[window] = softened(fitted, part)
        return out * box_mask(box, (width, height))
