"""How near a finished picture is to the exact one and to what was asked: L1 and L2, and with a CLIP the scores of the
papers on editing by instruction (MagicBrush, Zhang et al. 2023; ZONE, Li et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gas.types import EditPlan

if TYPE_CHECKING:
    from transformers import CLIPModel, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

Picture = NDArray[np.uint8]

CLIP = "package:gas_diorama/weights/clip"
LEAST_CROP = 0.5
"""Least side of a region's crop as a share of the picture's: the CLIP has seen no thing that fills a picture."""


@dataclass(frozen=True)
class PictureScores:
    """Of one finished picture; what needs a CLIP is None without one.

    * l1, l2: mean absolute and mean squared difference from the exact result over the whole picture, in [0, 1].
    * clip_i: cosine of the picture with the exact result; clip_t: with the plan's sentence for the result.
    * clip_region: mean over the subtasks of the cosine of the region's crop with what is to be there.
    """

    l1: float
    l2: float
    clip_i: float | None = None
    clip_t: float | None = None
    clip_region: float | None = None


class Clip:
    """A frozen CLIPModel with what turns pictures and texts into its inputs."""

    def __init__(self, model: CLIPModel, tokenizer: CLIPTokenizer, processor: CLIPImageProcessorPil) -> None:
        self.model, self.tokenizer, self.processor = model, tokenizer, processor
        self._texts: dict[str, NDArray[np.float32]] = {}

    @classmethod
    def from_folder(cls, folder: Path) -> Clip:
        """The CLIP in `folder`, as transformers keeps one; float32, on the CPU."""
        import torch
        from transformers import CLIPModel, CLIPTokenizer
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        model = CLIPModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        return cls(model.eval().requires_grad_(False), tokenizer, processor)

    @classmethod
    def find(cls, name: str = CLIP) -> Clip | None:
        """The CLIP that `gas.profiles.resolve_model` finds under `name`; None where there is none."""
        from gas.errors import ModelUnavailable
        from gas.profiles import resolve_model

        try:
            folder = Path(resolve_model(name).location)
        except ModelUnavailable:
            return None
        return cls.from_folder(folder)

    def pictures(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """Unit vectors (n, d) of uint8 pictures (h, w, 3), each of any size."""
        import torch

        pixels = self.processor(images=list(pictures), input_data_format="channels_last", return_tensors="pt")
        with torch.no_grad():
            seen = self.model.vision_model(pixel_values=pixels["pixel_values"]).pooler_output
            return _unit(self.model.visual_projection(seen).numpy())

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, d) of texts; each is read once."""
        import torch

        for text in texts:
            if text not in self._texts:
                most = self.model.config.text_config.max_position_embeddings
                words = self.tokenizer([text], truncation=True, max_length=most, return_tensors="pt")
                with torch.no_grad():
                    read = self.model.text_model(words["input_ids"], words["attention_mask"]).pooler_output
                    self._texts[text] = _unit(self.model.text_projection(read).numpy())[0]
        return np.stack([self._texts[text] for text in texts])


def picture_scores(
    picture: Picture, exact: Picture, plan: EditPlan, regions: Sequence[NDArray[np.bool_]], clip: Clip | None
) -> PictureScores:
    """The scores of `picture` where `exact` was wanted, both uint8 (h, w, 3); `regions` are the exact ones of the
    plan's subtasks, in their order. Pictures of two shapes are refused with a ValueError."""
    if picture.shape != exact.shape:
        raise ValueError(f"a picture of {picture.shape} cannot be compared with one of {exact.shape}")
    difference = (picture.astype(np.float64) - exact) / 255
    l1, l2 = float(np.abs(difference).mean()), float(np.square(difference).mean())
    if clip is None:
        return PictureScores(l1, l2)
    crops = [square_crop(picture, region) for region in regions]
    seen = clip.pictures([picture, exact, *crops])
    said = clip.texts([plan.target_prompt, *(subtask.target or subtask.anchor or "" for subtask in plan.subtasks)])
    return PictureScores(
        l1,
        l2,
        clip_i=float(seen[0] @ seen[1]),
        clip_t=float(seen[0] @ said[0]),
        clip_region=float((seen[2:] * said[1:]).sum(1).mean()),
    )


def square_crop(picture: Picture, region: NDArray[np.bool_]) -> Picture:
    """The smallest square of `picture` that holds the box of `region`, of at least LEAST_CROP of the shorter side and
    wholly inside; of a region that no square inside holds, the largest square around its middle."""
    height, width = region.shape
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    if not len(rows):
        return picture
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = min(max(y1 - y0, x1 - x0, round(LEAST_CROP * min(height, width))), height, width)
    top = int(np.clip((y0 + y1 - side) // 2, 0, height - side))
    left = int(np.clip((x0 + x1 - side) // 2, 0, width - side))
    return picture[top : top + side, left : left + side]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
