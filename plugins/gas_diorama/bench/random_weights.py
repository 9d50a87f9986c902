"""A model of the size of Stable Diffusion 1.5, with random weights: meaningless pictures at real costs."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

CHANNELS = (320, 640, 1280, 1280)
"""Channels of Stable Diffusion 1.5's UNet: 860 million parameters."""


def build_model(folder: Path | str, dtype: torch.dtype, channels: tuple[int, ...] = CHANNELS) -> Path:
    """`folder` in Stable Diffusion's layout, with a UNet of Stable Diffusion 1.5's form in `dtype` (1.7 GB in half
    precision); VAE and text encoder are tiny, for neither works during a step."""
    from diffusers import UNet2DConditionModel

    from gas.testing.tiny import build_tiny_stable_diffusion

    folder = build_tiny_stable_diffusion(folder, cross_attention_dim=768, sample_size=64)
    with torch.device("meta"):  # no time and no memory for weights that are replaced at once
        unet = UNet2DConditionModel(
            sample_size=64, block_out_channels=channels, cross_attention_dim=768, attention_head_dim=8
        )
    generator = torch.Generator().manual_seed(0)
    for module in unet.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            weights = torch.empty(parameter.shape, dtype=dtype)
            if weights.dim() > 1:
                weights.normal_(std=0.02, generator=generator)
            else:
                weights.fill_(float(name == "weight" and isinstance(module, nn.GroupNorm | nn.LayerNorm)))
            setattr(module, name, nn.Parameter(weights, requires_grad=False))
    unet.save_pretrained(folder / "unet")
    return folder
