"""Segment Anything through transformers: Sam without torchvision; Sam 2 and 3, whose processors need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gas.errors import ModelUnavailable
from gas.models.pretrained import load_network, loading, model_folder
from gas.remedies import Install, Remedy
from gas_grounders.sam.network import Embedding
from gas_grounders.sam.segments import all_segments

if TYPE_CHECKING:
    from gas.interfaces import Watch
    from gas.runtime import Runtime
    from gas.types import Image
    from gas_grounders.sam.network import SamOptions

KINDS = ("sam", "sam2", "sam2_video", "sam3_tracker", "sam3_video")


@dataclass(frozen=True)
class TransformersSam:
    """A frozen network with the processor of pictures that belongs to it.

    The image encoder computes in `dtype`. Prompts and masks are worked out in fp32: they cost little, and rounding a
    position to bf16 would move it by pixels.
    """

    network: Any  # transformers.SamModel, Sam2Model or Sam3TrackerModel
    processor: Any
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def load(cls, model: str, runtime: Runtime) -> TransformersSam:
        """The model that `resolve_model` understands. ModelUnavailable (exit 6) as `model_folder`."""
        from transformers import AutoConfig, AutoImageProcessor, AutoModelForMaskGeneration
        from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

        device = runtime.torch_device()
        folder = model_folder(model, config=KINDS)
        with loading(model):
            kind = AutoConfig.from_pretrained(str(folder), local_files_only=True).model_type
        if kind != "sam":
            need_torchvision(model, kind)
        with loading(model):
            processing = SamImageProcessorPil if kind == "sam" else AutoImageProcessor
            processor = processing.from_pretrained(str(folder), local_files_only=True)
        network = load_network(AutoModelForMaskGeneration, folder, model, device)
        return cls(network, processor, device, runtime.torch_dtype())

    @property
    def _first(self) -> bool:
        """Whether it is Sam itself, which keeps a picture's proportions; its successors stretch it to a square."""
        return bool(self.network.config.model_type == "sam")

    @property
    def _side(self) -> int:
        """Side in pixels of the square that the encoder sees."""
        side = self.network.config.prompt_encoder_config.image_size
        return int(side if isinstance(side, int) else side[0])

    def encode(self, image: Image) -> Embedding:
        height, width = image.shape[:2]
        with torch.no_grad():
            pixels = self.processor(images=image, return_tensors="pt")["pixel_values"].to(self.device, torch.float32)
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                features = self.network.get_image_embeddings(pixels)
        parts = features if isinstance(features, (list, tuple)) else [features]
        return Embedding([part.float() for part in parts], (height, width))

    def predict(
        self, embedding: Embedding, boxes: np.ndarray | None, points: np.ndarray | None, several: bool
    ) -> tuple[Tensor, Tensor]:
        low, quality = self._low(embedding, boxes, points, several)
        return self._native(low, embedding.size), quality

    def segments(
        self, image: Image, embedding: Embedding, options: SamOptions, watch: Watch
    ) -> list[tuple[np.ndarray, float]]:
        return all_segments(
            lambda points: self._low(embedding, None, points, True),
            lambda low: self._native(low, embedding.size),
            embedding.size,
            options,
            watch,
        )

    def _low(
        self, embedding: Embedding, boxes: np.ndarray | None, points: np.ndarray | None, several: bool
    ) -> tuple[Tensor, Tensor]:
        """Logits (n, k, h, w) as small as the network makes them, and expected IoUs (n, k)."""
        high, wide = self._seen(embedding.size)
        scale = torch.tensor([wide / embedding.size[1], high / embedding.size[0]], dtype=torch.float32)
        asked: dict[str, Tensor] = {}
        if boxes is not None:
            corners = torch.from_numpy(np.asarray(boxes, np.float32)).reshape(1, -1, 2, 2) * scale
            asked["input_boxes"] = corners.reshape(1, -1, 4).to(self.device)
        if points is not None:
            middles = torch.from_numpy(np.asarray(points, np.float32)) * scale
            asked["input_points"] = middles[None, :, None].to(self.device)
            asked["input_labels"] = torch.ones((1, len(points), 1), dtype=torch.int64, device=self.device)
        features = embedding.features[0] if self._first else list(embedding.features)
        with torch.no_grad():
            output = self.network(image_embeddings=features, multimask_output=several, **asked)
        return output.pred_masks[0].float(), output.iou_scores[0].float()

    def _seen(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width in the encoder's square that the picture takes (ResizeLongestSide of the original)."""
        if not self._first:
            return self._side, self._side
        scale = self._side / max(size)
        return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)

    def _native(self, low: Tensor, size: tuple[int, int]) -> Tensor:
        """The logits at the picture's size: enlarged to the encoder's square, its padding cut off, resized
        (`Sam.postprocess_masks` of the original); Sam's successors have no padding."""
        if self._first:
            high, wide = self._seen(size)
            low = F.interpolate(low, (self._side, self._side), mode="bilinear", align_corners=False)[..., :high, :wide]
        return F.interpolate(low, size, mode="bilinear", align_corners=False)


def need_torchvision(model: str, kind: str) -> None:
    """ModelUnavailable (exit 6) when torchvision cannot be imported: a broken one is found by `find_spec` all the
    same."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        raise ModelUnavailable(
            f"{model} is of the kind {kind!r}, whose pictures are prepared by torchvision, which is not here",
            Remedy(
                "install_or_other_model",
                "{install}, or name a model of the first Sam, such as facebook/sam-vit-base",
                install=Install("gas-edit[vision]"),
            ),
        ) from None
