"""Networks of the published sizes behind the toolkit's own backbones. What does not work in a step is tiny: autoencoder
and text encoders, which are only as wide as the network wants them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas.diffusion.single_file.weights import SHIPPED, read_shipped
from gas.testing import tiny

if TYPE_CHECKING:
    import torch

PROMPT = "a red car on the grass"
GUIDANCE = 3.5
"""What a network is told that wants to know it; the number costs nothing."""
QWEN_TOKENS = 256
"""What Qwen2.5-VL makes of a picture of 384 x 384 pixels (196 tokens) and a sentence, rounded."""
_HALF = 0.5

Predict = Callable[[], "torch.Tensor"]
Steps = Callable[[int, int], Predict]
"""For so many rows and a picture of so many pixels on a side: what makes one prediction for all rows."""


@dataclass(frozen=True)
class RealSize:
    """A model of a published size.

    * network: makes its network, on the device "meta"; keywords are settings of its class that differ.
    * steps: for that network with weights, an empty folder, and the device, what makes its predictions.
    * side: of the pictures that it was made for, in pixels.
    * gpu_only: whether a step would take many minutes on a CPU.
    """

    name: str
    network: Callable[..., Any]
    steps: Callable[[Any, Path, torch.device], Steps]
    side: int = 1024
    gpu_only: bool = False


def _shipped(folder: str, part: str, kind: str) -> Callable[..., Any]:
    """What makes the network of the settings that are shipped for single files."""

    def made(**settings: Any) -> Any:
        import diffusers

        return getattr(diffusers, kind).from_config({**read_shipped(SHIPPED / folder, part), **settings})

    return made


def _stable_diffusion_3(**settings: Any) -> Any:
    """That of Stable Diffusion 3.5 medium: 2.2 billion parameters, and a table of 0.2 billion numbers for places."""
    from diffusers import SD3Transformer2DModel

    published: dict[str, Any] = {
        "sample_size": 128,
        "num_layers": 24,
        "attention_head_dim": 64,
        "num_attention_heads": 24,
        "joint_attention_dim": 4096,
        "caption_projection_dim": 1536,
        "pooled_projection_dim": 2048,
        "pos_embed_max_size": 384,
        "dual_attention_layers": tuple(range(13)),
        "qk_norm": "rms_norm",
    }
    return SD3Transformer2DModel(**{**published, **settings})


def _qwen_image(**settings: Any) -> Any:
    """That of Qwen-Image and Qwen-Image-Edit, whose settings are diffusers' defaults."""
    import torch
    from diffusers import QwenImageTransformer2DModel
    from diffusers.models.transformers.transformer_qwenimage import QwenEmbedRope

    network = QwenImageTransformer2DModel(**settings)
    with torch.device("cpu"):  # its tables are neither weights nor buffers, and would stay without numbers
        network.pos_embed = QwenEmbedRope(theta=10000, axes_dim=list(network.config.axes_dims_rope), scale_rope=True)
    return network


def of_backbone(beside: Callable[[Path], Path]) -> Callable[[Any, Path, torch.device], Steps]:
    """The steps of a `Backbone`: the tiny model that `beside` builds, with another network in its place."""

    def steps(network: Any, folder: Path, device: torch.device) -> Steps:
        import torch

        from gas.diffusion.load import backbone_from_folder

        dtype = next(network.parameters()).dtype
        small: Any = backbone_from_folder(beside(folder), device, dtype)
        model = replace(small, network=network)

        def step(rows: int, side: int) -> Predict:
            size = (side // model.factor, side // model.factor)
            told = model.guided(model.condition([PROMPT] * rows, size), GUIDANCE)
            z = torch.randn(rows, model.autoencoder.channels, *size).to(device)
            t = torch.full((rows,), model.schedule.share(_HALF), device=device)
            return lambda: model.predict(z, t, told)

        return step

    return steps


def of_qwen(network: Any, folder: Path, device: torch.device) -> Steps:
    """The steps of Qwen-Image-Edit, called as its pipeline in diffusers calls it: the photograph's tokens beside the
    noisy ones."""
    import torch

    dtype = next(network.parameters()).dtype

    def step(rows: int, side: int) -> Predict:
        cells = side // 16  # 8 pixels to a cell of the latent, 2 x 2 cells to a token
        z = torch.randn(rows, 2 * cells**2, network.config.in_channels).to(device, dtype)
        words = torch.randn(rows, QWEN_TOKENS, network.config.joint_attention_dim).to(device, dtype)
        t = torch.full((rows,), _HALF, device=device, dtype=dtype)
        shapes = [[(1, cells, cells)] * 2] * rows
        seen = torch.ones(rows, QWEN_TOKENS, device=device, dtype=torch.bool)

        def predict() -> torch.Tensor:
            (found,) = network(
                hidden_states=z,
                encoder_hidden_states=words,
                encoder_hidden_states_mask=seen,
                timestep=t,
                img_shapes=shapes,
                return_dict=False,
            )
            return found[:, : cells**2]

        return predict

    return step


SD15 = "sd15"
"""What the others are compared with."""

REAL_SIZES: dict[str, RealSize] = {
    SD15: RealSize(
        "Stable Diffusion 1.5",
        _shipped("stable_diffusion_1", "unet", "UNet2DConditionModel"),
        of_backbone(lambda folder: tiny.build_tiny_stable_diffusion(folder, cross_attention_dim=768)),
        side=512,
    ),
    "sdxl": RealSize(
        "Stable Diffusion XL",
        _shipped("stable_diffusion_xl", "unet", "UNet2DConditionModel"),
        of_backbone(lambda folder: tiny.build_tiny_stable_diffusion_xl(folder, sides=(768, 1280), pooled=1280)),
    ),
    "sd3": RealSize(
        "Stable Diffusion 3.5 medium",
        _stable_diffusion_3,
        of_backbone(lambda folder: tiny.build_tiny_stable_diffusion_3(folder, sides=(768, 1280), wide=4096)),
    ),
    "flux": RealSize(
        "FLUX.1 dev",
        _shipped("flux", "transformer", "FluxTransformer2DModel"),
        of_backbone(lambda folder: tiny.build_tiny_flux(folder, pooled=768, wide=4096)),
        gpu_only=True,
    ),
    "qwen": RealSize("Qwen-Image-Edit", _qwen_image, of_qwen, gpu_only=True),
}
