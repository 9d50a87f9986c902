"""GroundingDINO and MM Grounding DINO through transformers, without torchvision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gas.models.account import load_tokenizer
from gas.models.pretrained import load_network, loading, model_folder

if TYPE_CHECKING:
    import torch

    from gas.runtime import Runtime
    from gas.types import Image


KINDS = {
    "grounding-dino": "GroundingDinoForObjectDetection",
    "mm-grounding-dino": "MMGroundingDinoForObjectDetection",
}
"""The networks' classes in transformers, by the `model_type` of their settings: both read and answer alike."""


@dataclass(frozen=True)
class TransformersDino:
    """A frozen network with its tokenizer and the processor of pictures that belongs to it."""

    network: Any  # of one of `KINDS`
    tokenizer: Any
    processor: Any
    device: torch.device

    @classmethod
    def load(cls, model: str, runtime: Runtime, kind: str = "grounding-dino") -> TransformersDino:
        """The model of this `kind` that `resolve_model` understands. ModelUnavailable (exit 6) as `model_folder`."""
        import transformers
        from transformers import AutoTokenizer, GroundingDinoImageProcessorPil

        device = runtime.torch_device()
        folder = model_folder(model, config=kind)
        with loading(model):
            tokenizer = load_tokenizer(AutoTokenizer, folder, model)
            processor = GroundingDinoImageProcessorPil.from_pretrained(str(folder), local_files_only=True)
        network = load_network(getattr(transformers, KINDS[kind]), folder, model, device)
        return cls(network, tokenizer, processor, device)

    @property
    def limit(self) -> int:
        """How many tokens a caption may have, its two marks included."""
        config = self.network.config
        return min(config.max_text_len, config.text_config.max_position_embeddings)

    def detect(self, image: Image, caption: str, size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The score of each token at each box `(n, tokens)`, in [0, 1], and the boxes `(n, 4)` in pixels of `image`.

        `size` is the shortest side in pixels that the network sees; None: as its processor says.
        """
        import torch

        tokens = self.tokenizer(caption, return_tensors="pt").to(self.device)
        with torch.no_grad():
            pixels = prepare(self.processor, image, size).to(self.device)
            output = self.network(**pixels, **tokens)
        return decode(output.logits[0], output.pred_boxes[0], tokens.input_ids.shape[1], image)


def prepare(processor: Any, image: Image, size: int | None) -> Any:
    """`pixel_values` `(1, 3, h, w)` and `pixel_mask` of a picture, its shortest side `size` pixels long.

    The longest side is limited in the proportion of the processor's own limits (800 to 1333 in the published models).
    """
    changed: dict[str, Any] = {}
    own = dict(processor.size)
    if size is not None:
        shortest, longest = own.get("shortest_edge") or 800, own.get("longest_edge") or 1333
        changed["size"] = {"shortest_edge": size, "longest_edge": max(round(size * longest / shortest), size)}
    return processor(images=image, input_data_format="channels_last", return_tensors="pt", **changed)


def decode(logits: torch.Tensor, boxes: torch.Tensor, tokens: int, image: Image) -> tuple[np.ndarray, np.ndarray]:
    """Scores `(n, tokens)` and boxes `(n, 4)` in pixels of the network's logits and its boxes (middle and sides in
    [0, 1])."""
    scores = logits[:, :tokens].float().sigmoid().cpu().double().numpy()
    middle, sides = np.split(boxes.float().cpu().double().numpy(), 2, axis=1)
    height, width = image.shape[:2]
    corners = np.concatenate([middle - sides / 2, middle + sides / 2], axis=1)
    return scores, corners * np.array([width, height, width, height], np.float64)
