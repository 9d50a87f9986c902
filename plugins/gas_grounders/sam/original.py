"""Segment Anything's original checkpoints (`.pth`) through the authors' own code, the package segment-anything.

A checkpoint is read with `weights_only=True`. Its architecture is found from the shapes in it: vit_b, vit_l, vit_h, and
any other size.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from gas.errors import ModelUnavailable
from gas.interfaces import Step, Watch
from gas.process import loading_models
from gas.remedies import Install, Remedy
from gas_grounders.checkpoints import read_tensors
from gas_grounders.sam.network import LOGITS_AT_ONCE, Embedding

if TYPE_CHECKING:
    from gas.runtime import Runtime
    from gas.types import Image
    from gas_grounders.sam.network import SamOptions


@dataclass(frozen=True)
class OriginalSam:
    """A frozen `segment_anything.modeling.Sam`. Its image encoder computes in `dtype`, the rest in fp32."""

    network: Any
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def load(cls, model: str, decoder_heads: int, runtime: Runtime) -> OriginalSam:
        """The checkpoint at a path or package:PACKAGE/FILE. ModelUnavailable (exit 6): no such file, more than tensors
        in it, not of this kind, or the package missing."""
        weights = read_tensors(model)
        try:
            import segment_anything  # noqa: F401
        except (ImportError, RuntimeError, OSError):
            raise ModelUnavailable(
                f"{model} needs the packages segment-anything and torchvision",
                Remedy(
                    "install_or_other_model",
                    "{install}, or name a model in transformers' layout, such as facebook/sam-vit-base",
                    install=Install("gas-edit[sam]"),
                ),
            ) from None
        try:
            with loading_models():
                network = build(weights, decoder_heads)
                network.load_state_dict(weights)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError, AssertionError) as error:
            first = str(error).strip().partition("\n")[0] or type(error).__name__
            raise ModelUnavailable(
                f"{model} is not a checkpoint of Segment Anything: {first}",
                "name sam_vit_b_01ec64.pth, sam_vit_l_0b3195.pth or sam_vit_h_4b8939.pth",
            ) from None
        device = runtime.torch_device()
        return cls(network.to(device).eval().requires_grad_(False), device, runtime.torch_dtype())

    def encode(self, image: Image) -> Embedding:
        from segment_anything import SamPredictor

        predictor = SamPredictor(self.network)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            predictor.set_image(image)
        return Embedding((predictor.features.float(), predictor.input_size), image.shape[:2])

    def predict(
        self, embedding: Embedding, boxes: np.ndarray | None, points: np.ndarray | None, several: bool
    ) -> tuple[Tensor, Tensor]:
        predictor = _predictor(self.network, embedding)
        transform, size = predictor.transform, embedding.size
        corners = middles = labels = None
        if boxes is not None:
            corners = torch.as_tensor(transform.apply_boxes(boxes, size), dtype=torch.float32, device=self.device)
        if points is not None:
            middles = torch.as_tensor(transform.apply_coords(points, size), dtype=torch.float32, device=self.device)
            middles = middles[:, None]
            labels = torch.ones(middles.shape[:2], dtype=torch.int, device=self.device)
        logits, quality, _ = predictor.predict_torch(
            middles, labels, corners, multimask_output=several, return_logits=True
        )
        return logits, quality

    def segments(
        self, image: Image, embedding: Embedding, options: SamOptions, watch: Watch
    ) -> list[tuple[np.ndarray, float]]:
        from segment_anything import SamAutomaticMaskGenerator

        # The threshold is an attribute of the network, which is shared: a shallow copy has its own.
        network = copy.copy(self.network)
        network.mask_threshold = options.mask_threshold
        pixels = embedding.size[0] * embedding.size[1]
        generator = SamAutomaticMaskGenerator(
            network,
            points_per_side=options.points_per_side,
            points_per_batch=min(max(LOGITS_AT_ONCE // (3 * pixels), 1), 64),
            pred_iou_thresh=options.iou_threshold,
            stability_score_thresh=options.stability_threshold,
            stability_score_offset=options.stability_offset,
            box_nms_thresh=options.nms,
            crop_nms_thresh=options.nms,
            min_mask_region_area=options.smallest_area,
        )
        points = options.points_per_side**2
        generator.predictor = _predictor(network, embedding, watch, points)
        found = generator.generate(image)
        return [(np.asarray(one["segmentation"], bool), float(one["predicted_iou"])) for one in found]


def build(weights: Mapping[str, Tensor], decoder_heads: int) -> nn.Module:
    """The network whose weights these are. KeyError or RuntimeError when they are of another kind.

    All but the heads of the mask decoder (8 in all published ones) shows in the shapes: the width, number and heads of
    the encoder's layers, their windows by the length of the relative positions, the patch and the picture's size.
    """
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    place, patch = weights["image_encoder.pos_embed"].shape, weights["image_encoder.patch_embed.proj.weight"].shape[-1]
    cells, width = place[1], place[3]
    depth = _count(weights, "image_encoder.blocks.")
    reach = [weights[f"image_encoder.blocks.{i}.attn.rel_pos_h"].shape for i in range(depth)]
    windows = [(rows + 1) // 2 for rows, _ in reach]
    whole = tuple(i for i, window in enumerate(windows) if window == cells)
    inner = {window for window in windows if window != cells}
    channels = weights["image_encoder.neck.0.weight"].shape[0]
    hidden, head = weights["mask_decoder.iou_prediction_head.layers.0.weight"].shape
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=cells * patch,
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=width // reach[0][1],
            mlp_ratio=weights["image_encoder.blocks.0.mlp.lin1.weight"].shape[0] / width,
            out_chans=channels,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=min(inner, default=0),
            global_attn_indexes=whole,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=channels,
            image_embedding_size=(cells, cells),
            input_image_size=(cells * patch, cells * patch),
            mask_in_chans=weights["prompt_encoder.mask_downscaling.3.weight"].shape[0],
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=weights["mask_decoder.mask_tokens.weight"].shape[0] - 1,
            transformer=TwoWayTransformer(
                depth=_count(weights, "mask_decoder.transformer.layers."),
                embedding_dim=channels,
                mlp_dim=weights["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
                num_heads=decoder_heads,
            ),
            transformer_dim=head,
            iou_head_depth=_count(weights, "mask_decoder.iou_prediction_head.layers."),
            iou_head_hidden_dim=hidden,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )


def _count(weights: Mapping[str, Tensor], start: str) -> int:
    return len({name.removeprefix(start).partition(".")[0] for name in weights if name.startswith(start)})


def _predictor(network: Any, embedding: Embedding, watch: Watch = Watch(), points: int = 0) -> Any:
    """The authors' predictor that already knows the picture; told the picture again, it does not encode it again.

    It is how their code for whole pictures is stopped on the way, and how its progress over `points` is told.
    """
    from segment_anything import SamPredictor

    done = 0

    class Known(SamPredictor):
        def set_image(self, image: np.ndarray, image_format: str = "RGB") -> None:
            self.features, self.input_size = embedding.features
            self.original_size = embedding.size
            self.is_image_set = True

        def predict_torch(self, point_coords: Any, *arguments: Any, **named: Any) -> Any:
            nonlocal done
            watch.check_stop()
            answer = super().predict_torch(point_coords, *arguments, **named)
            done += 0 if point_coords is None else len(point_coords)
            if watch.on_step is not None:
                watch.on_step(Step(done, points))
            return answer

    predictor = Known(network)
    predictor.set_image(np.empty(0))
    return predictor
