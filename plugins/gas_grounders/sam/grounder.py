"""The segmenters `sam` and `sam2`: masks for boxes, or all segments of a picture (Segment Anything, Kirillov et al.
2023, arXiv 2304.02643).

Two loaders, one behaviour: a folder or hub id goes through transformers (Sam; Sam 2 and 3 where torchvision is there),
a `.pth` file of the original authors through their own code.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gas import notes
from gas.errors import ObjectNotFound, ResultRefused
from gas.interfaces import Grounder, GroundJob, Step, Watch
from gas.masks import box_mask, mask_box
from gas.regions.check import check_box
from gas.remedies import USE_FP32, Given, Remedy, Setting
from gas.types import Region
from gas_grounders.detector import pad_thin
from gas_grounders.sam.network import LOGITS_AT_ONCE, Embedding, Network, Sam2Options, SamOptions

if TYPE_CHECKING:
    import torch

    from gas.types import Box, Image, Mask

KEPT_PICTURES = 4


class EmbeddingCache:
    """The last pictures' embeddings, by network and content."""

    def __init__(self, limit: int = KEPT_PICTURES) -> None:
        self.limit = limit
        self._kept: OrderedDict[Hashable, Embedding] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Embedding]) -> Embedding:
        """The embedding under `key`, made when it is not there; the one that was used longest ago makes room."""
        if key not in self._kept:
            self._kept[key] = make()
        self._kept.move_to_end(key)
        while len(self._kept) > self.limit:
            self._kept.popitem(last=False)
        return self._kept[key]


class Sam(Grounder[SamOptions]):
    """Turns boxes into masks, and a picture into segments.

    A region's box stays as it was found, and so does its score if it has one (else it gets the IoU that the network
    expects). A region with a mask but no box is asked with the mask's box, one with a point alone with the point.
    """

    options_type = SamOptions
    name: ClassVar[str] = "sam"
    """The backend's name, for errors."""
    segments = True
    points = True
    detects = False
    reads_plan = False

    def ground(self, job: GroundJob) -> list[Region]:
        """The regions, each with a mask of zeros and ones; for no regions all segments, the largest first.

        ObjectNotFound (exit 5) for a region without a place. A mask that is empty, or wholly outside its box, is
        replaced by the box with a warning: the detector did find the thing there, the papers' own masks are boxes, and
        an error would lose the other regions too.
        """
        image, regions, watch = job.image, job.regions, job.watch
        if not regions:
            return self._segments(image, watch)
        answer = list(regions)
        size = image.shape[1], image.shape[0]
        boxes: dict[int, Box] = {}
        for index, region in enumerate(regions):
            if region.given:
                continue
            if region.point is not None and region.box is None and region.mask is None:
                answer[index] = self._at_point(image, region, region.point, watch)
                continue
            if region.box is None and (region.mask is None or not region.mask.any()):
                raise ObjectNotFound(
                    f"there is no box for {region.phrase!r}, and {self.name} does not look for words",
                    Remedy(
                        "detector_first",
                        "put a detector before it: {grounders}",
                        grounders=Setting("grounders", ("grounding-dino", self.name)),
                    ),
                )
            box = mask_box(region.mask) if region.box is None else region.box  # type: ignore[arg-type]
            boxes[index] = check_box(box, size, name=f"region {region.phrase!r}", sure=True)
        if not boxes:
            return answer
        masks = self._masks(image, np.array(list(boxes.values())), watch)
        for (index, box), (mask, score) in zip(boxes.items(), masks, strict=True):
            region = regions[index]
            whole = box_mask(box, size)
            if not (mask * whole).any():
                notes.warn(
                    f"{self.name} found nothing in the box of {region.phrase!r}; its mask is the whole box",
                    stacklevel=2,
                )
                mask, score = whole, 0.0
            answer[index] = replace(
                region,
                box=box if region.box is None else region.box,
                mask=mask,
                score=score if region.score is None else region.score,
            )
        return answer

    def _masks(self, image: Image, boxes: np.ndarray, watch: Watch) -> list[tuple[Mask, float]]:
        """For each box `(n, 4)` the chosen mask and the IoU expected of it, from 0 to 1."""
        network, options = self._network(), self.options
        watch.check_stop()
        embedding = self._embedding(network, image)
        several = options.choose != "single"
        points = (boxes[:, :2] + boxes[:, 2:]) / 2
        height, width = image.shape[:2]
        at_once = max(LOGITS_AT_ONCE // (embedding.size[0] * embedding.size[1] * (3 if several else 1)), 1)
        found: list[tuple[Mask, float]] = []
        for start in range(0, len(boxes), at_once):
            watch.check_stop()
            part = slice(start, start + at_once)
            logits, quality = network.predict(
                embedding,
                boxes[part] if options.prompt != "point" else None,
                points[part] if options.prompt != "box" else None,
                several,
            )
            _check_finite(logits, quality, options.model)
            masks = (logits[..., :height, :width] > options.mask_threshold).cpu().numpy()
            for box, candidates, scores in zip(boxes[part], masks, quality.cpu().numpy(), strict=True):
                best = choose(candidates, scores, box, options.choose)
                found.append((candidates[best].astype(np.float32), float(np.clip(scores[best], 0, 1))))
            if watch.on_step is not None:
                watch.on_step(Step(len(found), len(boxes)))
        return found

    def _at_point(self, image: Image, region: Region, point: tuple[float, float], watch: Watch) -> Region:
        """The region with the mask of what is at a point, chosen as for a box among those that hold the point; "fit"
        takes the best expected one, since there is no box to fit."""
        network, options = self._network(), self.options
        watch.check_stop()
        embedding = self._embedding(network, image)
        watch.check_stop()
        logits, quality = network.predict(embedding, None, np.array([point]), options.choose != "single")
        _check_finite(logits, quality, options.model)
        height, width = image.shape[:2]
        masks = (logits[0, :, :height, :width] > options.mask_threshold).cpu().numpy()
        holds = masks[:, int(point[1]), int(point[0])]
        if not holds.any():
            raise ObjectNotFound(
                f"{self.name} found nothing at {point[0]:g},{point[1]:g} for {region.phrase!r}",
                Remedy("other_place", "point at its middle, or draw it: {given}", given=Given(region.phrase)),
            )
        masks, scores = masks[holds], quality[0].cpu().numpy()[holds]
        best = choose(masks, scores, np.zeros(4), "iou" if options.choose == "fit" else options.choose)
        mask = masks[best].astype(np.float32)
        return replace(region, box=mask_box(mask), mask=mask, score=float(np.clip(scores[best], 0, 1)))

    def _segments(self, image: Image, watch: Watch) -> list[Region]:
        network = self._network()
        height, width = image.shape[:2]
        watch.check_stop()
        embedding = self._embedding(network, image)
        watch.check_stop()
        found = network.segments(pad_thin(image), embedding, self.options, watch)
        cut = [(mask[:height, :width], score) for mask, score in found]
        kept = sorted(((m, s) for m, s in cut if m.any()), key=lambda one: -int(one[0].sum()))
        return [
            Region(
                f"segment {number}",
                mask_box(mask.astype(np.float32)),
                mask.astype(np.float32),
                float(np.clip(score, 0, 1)),
            )
            for number, (mask, score) in enumerate(kept, 1)
        ]

    def _embedding(self, network: Network, image: Image) -> Embedding:
        content = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=20).digest()
        cache = self.runtime.shared(("sam-embeddings",), EmbeddingCache)
        key = (*self._key(), self.runtime.torch_dtype(), image.shape, content)
        return cache.get(key, lambda: network.encode(pad_thin(image)))

    def _key(self) -> tuple[Any, ...]:
        return ("sam", self.options.model, self.options.decoder_heads, str(self.runtime.torch_device()))

    def _network(self) -> Network:
        model = self.options.model

        def load() -> Network:
            if Path(model).suffix in {".pth", ".pt"}:
                from gas_grounders.sam.original import OriginalSam

                return OriginalSam.load(model, self.options.decoder_heads, self.runtime)
            from gas_grounders.sam.transformers import TransformersSam

            return TransformersSam.load(model, self.runtime)

        return self.runtime.shared((*self._key(), self.runtime.torch_dtype()), load)


class Sam2(Sam):
    """The same with Segment Anything 2 (Ravi et al. 2024, arXiv 2408.00714). What `sam` loads it loads too, and the
    other way about: they differ in the model that they take by themselves."""

    options_type = Sam2Options
    name = "sam2"


def choose(masks: np.ndarray, scores: np.ndarray, box: np.ndarray, how: str) -> int:
    """The index of one of `masks` (bool `(k, H, W)`) with the expected IoUs `scores` `(k,)`; an empty one only when all
    are.

    "single" and "iou" take the best score, "fit" the mask whose own box has the greatest IoU with `box`, "smallest" and
    "largest" go by area.
    """
    areas = masks.sum(axis=(1, 2))
    full = np.flatnonzero(areas) if areas.any() else np.arange(len(masks))
    if how == "smallest":
        return int(full[np.argmin(areas[full])])
    if how == "largest":
        return int(full[np.argmax(areas[full])])
    if how == "fit" and areas.any():
        from gas_grounders.boxes import iou

        own = np.array([mask_box(masks[i].astype(np.float32)) for i in full])
        return int(full[np.argmax(iou(np.asarray(box, np.float64), own))])
    return int(full[np.argmax(scores[full])])


def _check_finite(logits: torch.Tensor, quality: torch.Tensor, model: str) -> None:
    if not (bool(logits.isfinite().all()) and bool(quality.isfinite().all())):
        raise ResultRefused(f"the masks of {model} are not finite numbers", USE_FP32)
