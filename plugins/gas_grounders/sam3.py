"""The detector `sam3`: masks and boxes for phrases in one step (Segment Anything 3, Carion et al. 2025, arXiv
2511.16719), through transformers.

It tells apart all things that a phrase names, so "all the cars" needs neither a detector before it nor a segmenter
after it. Its weights are published behind a licence that must be accepted first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from gas import notes
from gas.masks import box_mask
from gas.models.account import load_tokenizer
from gas.models.pretrained import load_network, loading, model_folder
from gas_grounders.clip_text import encode
from gas_grounders.detector import Candidates, Detector, DetectorOptions, Query

if TYPE_CHECKING:
    import torch

    from gas.interfaces import Watch
    from gas.runtime import Runtime
    from gas.types import Image

KINDS = ("sam3", "sam3_video")
PUBLISHED = "facebook/sam3@3c879f39826c281e95690f02c7821c4de09afae7"
# Of a whole checkpoint: what follows things through a video, which a picture does without.
_TRACKER = ("tracker_model.", "tracker_neck.")


class Sam3Options(DetectorOptions):
    """The thresholds are those of transformers' examples for its post-processing: 0.5 for a thing and for a pixel."""

    model: str = Field(PUBLISHED, description="hub id, local folder or package:PACKAGE/FOLDER")
    score_threshold: float = Field(0.5, ge=0, le=1, description="lowest score of a thing that counts as found")
    mask_threshold: float = Field(0.5, gt=0, lt=1, description="lowest probability of a pixel that belongs to it")


class Sam3(Detector[Sam3Options]):
    """Fills mask, box and score: the score is how sure it is that this thing is one, times that there is any."""

    options_type = Sam3Options
    name = "sam3"

    def look(self, image: Image, queries: Sequence[Query], watch: Watch) -> list[Candidates]:
        network = self._network()
        watch.check_stop()
        seen = network.encode(image)
        found = []
        for query in queries:
            watch.check_stop()
            scores, boxes, logits = network.detect(seen, query.text, image)
            found.append(Candidates(boxes, scores, mask_of=partial(self._mask, network, image, logits, boxes)))
        return found

    def _mask(
        self, network: Sam3Network, image: Image, logits: torch.Tensor, boxes: np.ndarray, index: int
    ) -> np.ndarray:
        """The mask of one thing; its box, with a warning, where no pixel reaches the threshold."""
        mask = network.mask(logits[index], image, self.options.mask_threshold)
        if mask.any():
            return mask
        notes.warn("sam3 outlines nothing in a box that it found; its mask is the whole box")
        height, width = image.shape[:2]
        x0, y0, x1, y1 = (float(one) for one in np.clip(boxes[index], 0, [width, height, width, height]))
        return box_mask((x0, y0, x1, y1), (width, height))

    def _network(self) -> Sam3Network:
        model = self.options.model
        key = (self.name, model, str(self.runtime.torch_device()))
        return self.runtime.shared(key, lambda: Sam3Network.load(model, self.runtime))


@dataclass(frozen=True)
class Sam3Network:
    """A frozen network with its tokenizer and the processor of pictures that belongs to it."""

    network: Any  # transformers.Sam3Model
    tokenizer: Any
    processor: Any
    device: torch.device

    @classmethod
    def load(cls, model: str, runtime: Runtime) -> Sam3Network:
        """The model that `resolve_model` understands. ModelUnavailable (exit 6) as `model_folder`, and without
        torchvision."""
        from transformers import AutoImageProcessor, AutoTokenizer, Sam3Model

        from gas_grounders.sam.transformers import need_torchvision

        device = runtime.torch_device()
        folder = model_folder(model, config=KINDS)
        need_torchvision(model, "sam3")
        with loading(model):
            tokenizer = load_tokenizer(AutoTokenizer, folder, model)
            processor = AutoImageProcessor.from_pretrained(str(folder), local_files_only=True)
        network = load_network(Sam3Model, folder, model, device, unused=_TRACKER)
        return cls(network, tokenizer, processor, device)

    def encode(self, image: Image) -> Any:
        """What the image encoder makes of a picture: the slow part, the same for all phrases."""
        import torch

        with torch.no_grad():
            pixels = self.processor(images=image, return_tensors="pt").pixel_values.to(self.device, torch.float32)
            return self.network.get_vision_features(pixels)

    def detect(self, seen: Any, phrase: str, image: Image) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
        """For each of the network's things the score `(n,)` in [0, 1], the box `(n, 4)` in pixels of `image`, and the
        mask's logits `(n, h, w)`, as small as the network makes them."""
        import torch

        limit = self.network.config.text_config.max_position_embeddings
        with torch.no_grad():
            tokens = encode(self.tokenizer, [phrase], limit, whole=True).to(self.device)
            output = self.network(vision_embeds=seen, input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        scores = output.pred_logits[0].sigmoid()
        if output.presence_logits is not None:
            scores = scores * output.presence_logits[0].sigmoid()
        height, width = image.shape[:2]
        boxes = output.pred_boxes[0].cpu().double().numpy() * np.array([width, height, width, height], np.float64)
        return scores.cpu().double().numpy(), boxes, output.pred_masks[0].float()

    def mask(self, logits: torch.Tensor, image: Image, threshold: float) -> np.ndarray:
        """The mask `(H, W)` of zeros and ones, of the size of `image`, of one thing's `logits` `(h, w)`."""
        import torch

        share = torch.nn.functional.interpolate(
            logits[None, None].sigmoid(), image.shape[:2], mode="bilinear", align_corners=False
        )
        return (share[0, 0] > threshold).float().cpu().numpy()
