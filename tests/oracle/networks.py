"""A tiny network with the layout of Stable Diffusion 1.5: self-attention of the up blocks at 16x16, 32x32 and 64x64."""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel

WIDTH, TOKENS = 16, 8


def tiny_unet(seed: int = 0, channels: int = 8, gain: float = 1.8) -> UNet2DConditionModel:
    """A frozen network with random weights, scaled up so that neither its output nor its answer to a prompt is near 0.

    Six self-attention modules in the up blocks; none in the first down block, which saves a third of the time.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=64,
            block_out_channels=(channels,) * 4,
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            cross_attention_dim=WIDTH,
            attention_head_dim=1,  # by an old mistake of diffusers this is the number of heads
            norm_num_groups=4,
        )
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if parameter.dim() > 1 and not name.startswith(("time_embedding", "conv_in")):
                parameter.mul_(gain)
    return unet.eval().requires_grad_(False)


def stable_diffusion_schedule() -> DDPMScheduler:
    """The noise schedule that Stable Diffusion 1.x was trained with."""
    return DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def prompt_embeddings(prompts: list[str], seed: int = 0) -> dict[str, torch.Tensor]:
    """A random embedding `(1, TOKENS, WIDTH)` for each prompt, and one for the empty prompt."""
    generator = torch.Generator().manual_seed(seed)
    return {prompt: torch.randn(1, TOKENS, WIDTH, generator=generator) for prompt in dict.fromkeys(["", *prompts])}
