"""The grounder `clipseg`: a rough mask for a phrase (Lüddecke and Ecker 2022, arXiv 2112.10003), through transformers.

It also finds what has no box-like shape, such as a sky or a meadow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from gas.masks import mask_box
from gas.models.account import load_tokenizer
from gas.models.pretrained import load_network, loading, model_folder
from gas_grounders.clip_text import encode
from gas_grounders.detector import Candidates, Detector, DetectorOptions, Query

if TYPE_CHECKING:
    import torch

    from gas.interfaces import Watch
    from gas.runtime import Runtime
    from gas.types import Image


class ClipSegOptions(DetectorOptions):
    """The threshold is on the sigmoid of the logits: 0.5 is where a pixel belongs to the phrase more than not."""

    model: str = Field("CIDAS/clipseg-rd64-refined", description="hub id, local folder or package:PACKAGE/FOLDER")
    score_threshold: float = Field(0.5, ge=0, le=1, description="lowest score of a pixel that belongs to the phrase")


class ClipSeg(Detector[ClipSegOptions]):
    """Fills mask, box and score; the score is that of the mask's best pixel.

    A phrase's mask is all that reaches the threshold. Where one of several is meant, its connected parts are told
    apart.
    """

    options_type = ClipSegOptions
    name = "clipseg"

    def look(self, image: Image, queries: Sequence[Query], watch: Watch) -> list[Candidates]:
        network = self._network()
        watch.check_stop()
        shares = network.shares(image, [query.text for query in queries])
        return [self._candidates(share, query.several) for share, query in zip(shares, queries, strict=True)]

    def _candidates(self, share: np.ndarray, several: bool) -> Candidates:
        from scipy import ndimage

        peak = float(share.max())
        # Below the threshold there is still a best place: for the error's text, and for always_best.
        found = share >= (self.options.score_threshold if peak >= self.options.score_threshold else peak / 2)
        if not several:
            return Candidates(np.array([mask_box(found)]), np.array([peak]), mask_of=lambda _: found.astype(np.float32))
        labels, count = ndimage.label(found, structure=np.ones((3, 3)))
        numbers = np.arange(1, count + 1)
        scores = np.asarray(ndimage.maximum(share, labels, numbers), np.float64)
        boxes = [(xs.start, ys.start, xs.stop, ys.stop) for ys, xs in ndimage.find_objects(labels)]
        best = np.argsort(-scores, kind="stable")[:100]
        return Candidates(
            np.array(boxes, np.float64)[best],
            scores[best],
            mask_of=lambda index: (labels == numbers[best[index]]).astype(np.float32),
        )

    def _network(self) -> ClipSegNetwork:
        model = self.options.model
        key = (self.name, model, str(self.runtime.torch_device()))
        return self.runtime.shared(key, lambda: ClipSegNetwork.load(model, self.runtime))


@dataclass(frozen=True)
class ClipSegNetwork:
    """A frozen network with its tokenizer and the processor of pictures that belongs to it."""

    network: Any  # transformers.CLIPSegForImageSegmentation
    tokenizer: Any
    processor: Any
    device: torch.device

    @classmethod
    def load(cls, model: str, runtime: Runtime) -> ClipSegNetwork:
        """The model that `resolve_model` understands. ModelUnavailable (exit 6) as `model_folder`."""
        from transformers import AutoTokenizer, CLIPSegForImageSegmentation, ViTImageProcessorPil

        device = runtime.torch_device()
        folder = model_folder(model, config="clipseg")
        with loading(model):
            tokenizer = load_tokenizer(AutoTokenizer, folder, model)
            processor = ViTImageProcessorPil.from_pretrained(str(folder), local_files_only=True)
        return cls(load_network(CLIPSegForImageSegmentation, folder, model, device), tokenizer, processor, device)

    def shares(self, image: Image, phrases: Sequence[str]) -> list[np.ndarray]:
        """For each phrase `(H, W)` float32 in [0, 1]: how much each pixel of `image` belongs to it."""
        import torch

        limit = self.network.config.text_config.max_position_embeddings
        with torch.no_grad():
            pixels = self.processor(images=image, input_data_format="channels_last", return_tensors="pt").pixel_values
            pixels = pixels.to(self.device)
            found = []
            for phrase in phrases:  # one by one, so that a plan of many phrases needs no more memory than one
                tokens = encode(self.tokenizer, [phrase], limit).to(self.device)
                logits = self.network(
                    input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, pixel_values=pixels
                ).logits
                share = logits.reshape(1, 1, *logits.shape[-2:]).float().sigmoid()
                share = torch.nn.functional.interpolate(share, image.shape[:2], mode="bilinear", align_corners=False)
                found.append(share[0, 0].cpu().numpy())
        return found
