"""The detector `owlv2`: boxes for phrases (Minderer et al. 2023, arXiv 2306.09683), through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, field_validator

from gas.models.account import load_tokenizer
from gas.models.pretrained import load_network, loading, model_folder
from gas_grounders.clip_text import encode
from gas_grounders.detector import Candidates, Detector, DetectorOptions, Query

if TYPE_CHECKING:
    import torch

    from gas.interfaces import Watch
    from gas.runtime import Runtime
    from gas.types import Image


class Owlv2Options(DetectorOptions):
    """The default threshold is that of transformers' post-processing, the template CLIP's usual one."""

    model: str = Field(
        "google/owlv2-base-patch16-ensemble", description="hub id, local folder or package:PACKAGE/FOLDER"
    )
    score_threshold: float = Field(0.1, ge=0, le=1, description="lowest score of a box that counts as found")
    template: str = Field("a photo of {}", description="what is asked for; {} is the phrase")

    @field_validator("template")
    @classmethod
    def _has_a_place(cls, value: str) -> str:
        if value.count("{}") != 1:
            raise ValueError("needs {} once, where the phrase goes")
        return value


class Owlv2(Detector[Owlv2Options]):
    """Finds boxes for phrases."""

    options_type = Owlv2Options
    name = "owlv2"

    def look(self, image: Image, queries: Sequence[Query], watch: Watch) -> list[Candidates]:
        before, after = self.options.template.split("{}")
        network = self._network()
        watch.check_stop()
        scores, boxes = network.detect(image, [f"{before}{query.text}{after}" for query in queries])
        return [Candidates(boxes, of_phrase) for of_phrase in scores.T]

    def _network(self) -> Owlv2Network:
        model = self.options.model
        key = (self.name, model, str(self.runtime.torch_device()))
        return self.runtime.shared(key, lambda: Owlv2Network.load(model, self.runtime))


@dataclass(frozen=True)
class Owlv2Network:
    """A frozen network with its tokenizer and the processor of pictures that belongs to it."""

    network: Any  # transformers.Owlv2ForObjectDetection
    tokenizer: Any
    processor: Any
    device: torch.device

    @classmethod
    def load(cls, model: str, runtime: Runtime) -> Owlv2Network:
        """The model that `resolve_model` understands. ModelUnavailable (exit 6) as `model_folder`."""
        from transformers import AutoTokenizer, Owlv2ForObjectDetection, Owlv2ImageProcessorPil

        device = runtime.torch_device()
        folder = model_folder(model, config="owlv2")
        with loading(model):
            tokenizer = load_tokenizer(AutoTokenizer, folder, model)
            processor = Owlv2ImageProcessorPil.from_pretrained(str(folder), local_files_only=True)
        return cls(load_network(Owlv2ForObjectDetection, folder, model, device), tokenizer, processor, device)

    def detect(self, image: Image, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The score of each text at each box `(n, texts)`, in [0, 1], and the boxes `(n, 4)` in pixels of `image`."""
        import torch

        limit = self.network.config.text_config.max_position_embeddings
        with torch.no_grad():
            tokens = encode(self.tokenizer, texts, limit).to(self.device)
            pixels = self.processor(images=self._reduced(image), input_data_format="channels_last", return_tensors="pt")
            output = self.network(
                input_ids=tokens.input_ids,
                attention_mask=tokens.attention_mask,
                pixel_values=pixels.pixel_values.to(self.device),
            )
        scores = output.logits[0].sigmoid().cpu().double().numpy()
        middle, sides = np.split(output.pred_boxes[0].cpu().double().numpy(), 2, axis=1)
        # The picture is made square with grey at its right or bottom: boxes are fractions of the longer side.
        return scores, np.concatenate([middle - sides / 2, middle + sides / 2], axis=1) * max(image.shape[:2])

    def _reduced(self, image: Image) -> Image:
        """The picture, no more than about twice as large as the network sees it: the processor works in fp64."""
        from PIL import Image as Pictures

        longest = 2 * max(self.processor.size["height"], self.processor.size["width"])
        height, width = image.shape[:2]
        if max(height, width) <= longest:
            return image
        share = longest / max(height, width)
        size = max(round(width * share), 1), max(round(height * share), 1)
        return np.asarray(Pictures.fromarray(image).resize(size, Pictures.Resampling.LANCZOS))
