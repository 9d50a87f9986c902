"""The detector `yolo-world`: boxes for phrases, fast (Cheng et al. 2024, arXiv 2401.17270), with ultralytics' network.

ultralytics is AGPL-3.0. Of it only the network and its preparation of pictures are used. Text features come from
transformers' CLIP (ViT-B/32, what YOLO-World was trained with), which gives the same numbers as the `clip` package that
ultralytics would install.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from gas.errors import UsageError
from gas.models.account import load_tokenizer
from gas.models.pretrained import load_network, loading, model_folder
from gas.remedies import Option, Remedy
from gas_grounders.clip_text import encode
from gas_grounders.detector import Candidates, Detector, DetectorOptions, Query, pad_thin

if TYPE_CHECKING:
    import torch

    from gas.interfaces import Watch
    from gas.runtime import Runtime
    from gas.types import Image

BEST = 300
"""How many boxes are looked at for a phrase, the best first: as many as ultralytics itself keeps (`max_det`)."""

# A whole CLIP may stand for its half that reads words.
_OTHER_HALF = ("vision_model.", "visual_projection.", "logit_scale")


class YoloWorldOptions(DetectorOptions):
    """Defaults are ultralytics' own (`conf=0.25`, `iou=0.7`, `imgsz=640`)."""

    model: str = Field("", description="path of a YOLO-World .pt file of ultralytics, such as yolov8s-worldv2.pt")
    clip_model: str = Field(
        "openai/clip-vit-base-patch32", description="CLIP ViT-B/32 for the phrases: hub id or folder of transformers"
    )
    score_threshold: float = Field(0.25, ge=0, le=1, description="lowest score of a box that counts as found")
    size: int = Field(640, ge=32, le=4096, description="longest side that the network sees, in pixels")


class YoloWorld(Detector[YoloWorldOptions]):
    """Finds boxes for phrases, each phrase being one class."""

    options_type = YoloWorldOptions
    name = "yolo-world"

    def look(self, image: Image, queries: Sequence[Query], watch: Watch) -> list[Candidates]:
        network = self._network()
        watch.check_stop()
        scores, boxes = network.detect(pad_thin(image), [query.text for query in queries], self.options.size)
        found = []
        for of_phrase in scores.T:
            best = np.argsort(-of_phrase, kind="stable")[:BEST]
            found.append(Candidates(boxes[best], of_phrase[best]))
        return found

    def _network(self) -> YoloWorldNetwork:
        options = self.options
        if not options.model:
            raise UsageError(
                "yolo-world has no weights of its own",
                Remedy(
                    "get_yolo_world",
                    "download yolov8s-worldv2.pt from ultralytics (AGPL-3.0), then set {model}",
                    model=Option({"model": "FILE"}, "yolo-world"),
                ),
            )
        key = (self.name, options.model, options.clip_model, str(self.runtime.torch_device()))
        return self.runtime.shared(key, lambda: YoloWorldNetwork.load(options.model, options.clip_model, self.runtime))


@dataclass(frozen=True)
class YoloWorldNetwork:
    """A frozen YOLO-World with the text encoder that belongs to it."""

    network: Any  # ultralytics' WorldModel
    text_encoder: Any  # transformers.CLIPTextModelWithProjection
    tokenizer: Any
    device: torch.device

    @classmethod
    def load(cls, model: str, clip_model: str, runtime: Runtime) -> YoloWorldNetwork:
        """The checkpoint file `model` with the CLIP `clip_model`. ModelUnavailable (exit 6) when either is not to be
        had."""
        from transformers import AutoTokenizer, CLIPTextModelWithProjection

        from gas_grounders.yolo_checkpoint import load_yolo_world

        device = runtime.torch_device()
        network = load_yolo_world(model, device)
        # The published CLIP ViT-B/32 has its weights as .bin; transformers reads tensors only from it.
        folder = model_folder(clip_model, config=("clip", "clip_text_model"), allow_pickle=True)
        with loading(clip_model):
            tokenizer = load_tokenizer(AutoTokenizer, folder, clip_model)
        text_encoder = load_network(CLIPTextModelWithProjection, folder, clip_model, device, unused=_OTHER_HALF)
        return cls(network, text_encoder, tokenizer, device)

    def features(self, phrases: Sequence[str]) -> torch.Tensor:
        """`(1, n, 512)`: CLIP's text features of the phrases, of length 1. InputRefused for one of over 77 tokens."""
        import torch

        tokens = encode(self.tokenizer, phrases, self.text_encoder.config.max_position_embeddings)
        with torch.no_grad():
            output = self.text_encoder(**tokens.to(self.device))
        return torch.nn.functional.normalize(output.text_embeds, dim=-1)[None]

    def detect(self, image: Image, phrases: Sequence[str], size: int) -> tuple[np.ndarray, np.ndarray]:
        """The score of each phrase at each box `(n, phrases)`, in [0, 1], and the boxes `(n, 4)` in pixels of
        `image`."""
        import torch

        # Imported restricted already, when the network was loaded: this changes nothing of the process any more.
        from ultralytics.data.augment import LetterBox
        from ultralytics.utils.ops import scale_boxes, xywh2xyxy

        features = self.features(phrases)
        framed = np.ascontiguousarray(LetterBox((size, size), auto=True, stride=32)(image=image))
        pixels = torch.from_numpy(framed).permute(2, 0, 1)[None].to(self.device).float() / 255
        head = self.network.model[-1]
        before, head.nc = head.nc, len(phrases)
        try:
            with torch.no_grad():
                found = self.network(pixels, txt_feats=features)[0][0].T
        finally:
            head.nc = before
        boxes = scale_boxes(framed.shape[:2], xywh2xyxy(found[:, :4]), image.shape[:2])
        return found[:, 4:].cpu().double().numpy(), boxes.cpu().double().numpy()
