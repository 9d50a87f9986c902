"""Networks of real sizes with random weights, and a model of the size of Stable Diffusion 1.5: meaningless pictures at
real costs."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)

CHANNELS = (320, 640, 1280, 1280)
"""Channels of Stable Diffusion 1.5's UNet: 860 million parameters."""
_BLOCK = 2**20 + 7
"""No matrix has rows of a length that divides it, so that none repeats a row."""
_SPREAD = 0.02


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
    draw(unet, dtype).save_pretrained(folder / "unet")
    return folder


def draw(network: Network, dtype: torch.dtype, device: torch.device | None = None) -> Network:
    """`network`, which was made on the device "meta", frozen on `device` (default: the CPU) with weights in `dtype`:
    factors of norms are 1 and biases 0, so that numbers stay in range; matrices and buffers repeat one block of random
    numbers, which is as quick as copying. None is so small that a processor would be slow with it."""
    block = torch.randn(_BLOCK, generator=torch.Generator().manual_seed(0)).mul(_SPREAD).to(device, dtype)
    for module in network.modules():
        for name, weights in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(_filled(weights, name, block), requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_meta:
                setattr(module, name, _filled(buffer, name, block))
    return network.eval()


def _filled(old: torch.Tensor, name: str, block: torch.Tensor) -> torch.Tensor:
    """A tensor of the shape of `old` with numbers."""
    if old.dim() < 2:
        return torch.full(old.shape, float(name == "weight"), dtype=block.dtype, device=block.device)
    new = torch.empty(old.shape, dtype=block.dtype, device=block.device)
    flat = new.view(-1)
    for part in flat.split(len(block)):
        part.copy_(block[: len(part)])
    return new
