"""The diorama's flow model: Stable Diffusion 3's transformer (Esser et al. 2024), small, on the latents and the text
encoder of the model beside it.

Rectified flow: z_t = (1 - t) z + t eps, and the network predicts v = eps - z. What it is told of a text is what Stable
Diffusion 3 takes from each of its CLIP encoders: the last states but one of all tokens, and the state of the end token.
"""

from __future__ import annotations

import copy
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from gas.diffusion.model_folder import BASE
from gas_diorama import folders
from gas_diorama.train.drawn import TOKENS
from gas_diorama.train.export import whole_folder
from gas_diorama.world.scene import GRID

FLOW = folders.WEIGHTS / "flow"
INDEX = "model_index.json"
PATCH = 2
TIMES = 1000
"""What the network is told at t = 1."""


@dataclass(frozen=True)
class FlowSize:
    """Size of the transformer."""

    width: int = 144
    heads: int = 3
    layers: int = 5


def build_flow(size: FlowSize, latent_channels: int, text_width: int) -> SD3Transformer2DModel:
    """The untrained network, each block of which begins as the identity (adaLN-Zero, Peebles and Xie 2023)."""
    network = SD3Transformer2DModel(
        sample_size=GRID,
        patch_size=PATCH,
        in_channels=latent_channels,
        out_channels=latent_channels,
        num_layers=size.layers,
        attention_head_dim=size.width // size.heads,
        num_attention_heads=size.heads,
        joint_attention_dim=text_width,
        caption_projection_dim=size.width,
        pooled_projection_dim=text_width,
        pos_embed_max_size=GRID // PATCH,
        qk_norm="rms_norm",
    )
    zero = [network.norm_out.linear, network.proj_out]
    for block in network.transformer_blocks:
        zero += [block.norm1.linear, block.norm1_context.linear]
    for layer in zero:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return network


def flow_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Times from 1 down in even steps: at this size of latents nothing is shifted."""
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=TIMES, shift=1.0)


def flow_ids(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids of texts as this model takes them: int64 (n, 32), padded or cut."""
    return tokenizer(texts, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt").input_ids


@torch.no_grad()
def text_states(encoder: CLIPTextModel, ids: Tensor) -> tuple[Tensor, Tensor]:
    """What the network is told of texts, by their token ids (n, tokens): float32 states of the tokens (n, tokens, d),
    and of the whole (n, d)."""
    with torch.autocast(encoder.device.type, dtype=torch.bfloat16):
        said = encoder(ids.to(encoder.device), output_hidden_states=True)
    return said.hidden_states[-2].float(), said.pooler_output.float()


@torch.no_grad()
def sample_flow(
    network: SD3Transformer2DModel,
    text: tuple[Tensor, Tensor],
    empty: tuple[Tensor, Tensor],
    seed: int,
    guidance_scale: float = 4.0,
    steps: int = 25,
) -> Tensor:
    """Latents (n, c, 16, 16) drawn by Euler's steps for the states of n texts with those of the empty one, all of them
    from `text_states`."""
    n, device = len(text[0]), text[0].device
    shape = (n, network.config.in_channels, GRID, GRID)
    z = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)
    states, pooled = (torch.cat([e.expand(n, *e.shape[1:]), s]) for e, s in zip(empty, text, strict=True))
    plan = flow_scheduler()
    plan.set_timesteps(steps, device=device)
    for t in plan.timesteps:
        guess = network(torch.cat([z, z]), states, pooled, t.expand(2 * n), return_dict=False)[0]
        uncond, cond = guess.float().chunk(2)
        z = plan.step(uncond + guidance_scale * (cond - uncond), t, z).prev_sample
    return z


def load_transformer(folder: Path) -> SD3Transformer2DModel | None:
    """The transformer of the model in `folder`, in float32, or None where there is no model."""
    if not (folder / INDEX).exists():
        return None
    return SD3Transformer2DModel.from_pretrained(folder / "transformer", torch_dtype=torch.float32)


def load_flow(folder: Path = FLOW) -> tuple[StableDiffusion3Pipeline, CLIPTextModel]:
    """diffusers' own pipeline of the model in `folder`, in float32, and its text encoder.

    That pipeline takes prompts with two encoders or more; with one, `text_states` of `flow_ids` are given to it as
    `prompt_embeds` and `pooled_prompt_embeds`.
    """
    base = folder / json.loads((folder / INDEX).read_text())[BASE]
    vae = AutoencoderKL.from_pretrained(base / "vae", torch_dtype=torch.float32)
    if vae.config.shift_factor is None:  # Stable Diffusion 3's pipeline adds it
        vae.register_to_config(shift_factor=0.0)
    encoder = CLIPTextModel.from_pretrained(base / "text_encoder", dtype=torch.float32)
    absent: dict[str, Any] = {"text_encoder": None, "text_encoder_2": None, "tokenizer_2": None, "text_encoder_3": None}
    parts = {"vae": vae.eval(), "tokenizer_3": None, **absent}
    return StableDiffusion3Pipeline.from_pretrained(folder, torch_dtype=torch.float32, **parts), encoder.eval()


def export_flow(network: SD3Transformer2DModel, tokenizer: CLIPTokenizer, folder: Path, base: Path) -> Path:
    """`folder`, which then holds `network` in half precision as a Stable Diffusion 3 folder: model_index.json,
    transformer, scheduler and tokenizer (of 32 tokens).

    Autoencoder and text encoder stay in `base`, the folder of another model, which `_base` of the index names as seen
    from `folder`; diffusers leaves such names alone.
    """
    index = {
        "_class_name": "StableDiffusion3Pipeline",
        "_diffusers_version": diffusers.__version__,
        BASE: os.path.relpath(base, folder),
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "transformer": ["diffusers", "SD3Transformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    index |= {name: [None, None] for name in ("text_encoder_2", "text_encoder_3", "tokenizer_2", "tokenizer_3")}
    words = copy.deepcopy(tokenizer)
    words.model_max_length = TOKENS
    with whole_folder(folder) as partial:
        copy.deepcopy(network).half().save_pretrained(partial / "transformer", safe_serialization=True)
        flow_scheduler().save_pretrained(partial / "scheduler")
        words.save_pretrained(partial / "tokenizer")
        (partial / INDEX).write_text(json.dumps(index, indent=2) + "\n")
    return folder
