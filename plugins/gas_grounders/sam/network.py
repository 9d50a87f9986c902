"""What the two loaders of Segment Anything share: the interface of a network, and the options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from pydantic import Field

from gas.interfaces import Options

if TYPE_CHECKING:
    import torch

    from gas.interfaces import Watch
    from gas.types import Image


PUBLISHED = "facebook/sam-vit-base@70c1a07f894ebb5b307fd9eaaee97b9dfc16068f"


LOGITS_AT_ONCE = 2**27
"""How many numbers of logits at native size are held at once: half a gigabyte."""


@dataclass(frozen=True)
class Embedding:
    """What the image encoder made of a picture of `size` (height, width): float32 tensors for its own network."""

    features: Any
    size: tuple[int, int]


class Network(Protocol):
    """What a loader gives. Boxes `(n, 4)` and points `(n, 2)` are in pixels of the picture."""

    def encode(self, image: Image) -> Embedding:
        """The picture's embedding: the slow part, done once for a picture."""

    def predict(
        self, embedding: Embedding, boxes: np.ndarray | None, points: np.ndarray | None, several: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits `(n, 1 or 3, H, W)` at the picture's size, and the IoU expected of each, `(n, 1 or 3)`.

        With both boxes and points, prompt n is box n and point n together. `several` asks for the three masks of an
        ambiguous prompt."""

    def segments(
        self, image: Image, embedding: Embedding, options: SamOptions, watch: Watch
    ) -> list[tuple[np.ndarray, float]]:
        """All segments of the picture, in any order: masks, bool `(H, W)`, with the IoU expected of each."""


class SamOptions(Options):
    """Defaults for whole pictures are those of the authors' SamAutomaticMaskGenerator."""

    model: str = Field(
        PUBLISHED,
        description="hub id, local folder or package:PACKAGE/FOLDER in transformers' layout, or an original .pth file",
    )
    decoder_heads: int = Field(
        8, ge=1, description="of a .pth file: attention heads of its mask decoder, which the file does not say"
    )
    prompt: Literal["box", "point", "both"] = Field("box", description="what is asked: a box, its middle, or both")
    choose: Literal["single", "iou", "fit", "smallest", "largest"] = Field(
        "single",
        description="which mask: the network's one for clear prompts, or of its three the one with the best expected "
        "IoU, the one whose outline fits the box best, the smallest, the largest",
    )
    mask_threshold: float = Field(0.0, ge=-20, le=20, description="logit above which a pixel belongs to the mask")
    points_per_side: int = Field(32, ge=1, le=128, description="whole picture: points asked along each side")
    iou_threshold: float = Field(0.88, ge=0, le=1, description="whole picture: lowest expected IoU of a segment")
    stability_threshold: float = Field(
        0.95,
        ge=0,
        le=1,
        description="whole picture: lowest IoU between a segment's masks at a higher and a lower logit",
    )
    stability_offset: float = Field(1.0, ge=0, le=10, description="whole picture: how much higher and lower")
    nms: float = Field(0.7, gt=0, le=1, description="whole picture: segments whose boxes overlap more are the same")
    smallest_area: int = Field(0, ge=0, description="whole picture: smaller islands and holes are removed, in pixels")


class Sam2Options(SamOptions):
    """Those of `sam`, with another model."""

    model: str = Field("facebook/sam2.1-hiera-small", description="hub id, local folder or package:PACKAGE/FOLDER")
