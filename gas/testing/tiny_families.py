"""Tiny models of later families, of the real classes in the real layouts: a few channels wide, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gas.testing.tiny_parts import (
    build_byte_tokenizer,
    build_letter_tokenizer,
    save_pipeline,
    tiny_clip_text,
    tiny_t5,
    tiny_vae,
)


def build_tiny_stable_diffusion_xl(
    folder: Path | str,
    *,
    sample_size: int = 16,
    transformer_layers: tuple[int, ...] = (1, 1, 2),
    sides: tuple[int, int] = (32, 48),
    pooled: int = 24,
    zero_null: bool = True,
    seed: int = 0,
    **unet_settings: Any,
) -> Path:
    """`folder`, now with a Stable Diffusion XL as diffusers saves it: three levels, attention on the lower two, two
    text encoders with states of `sides` numbers and a `pooled` embedding (SDXL: 768, 1280 and 1280).
    `transformer_layers` are those of each level (SDXL: 1, 2, 10); `zero_null` is what its index says of the empty
    prompt; `unet_settings` go to UNet2DConditionModel."""
    from diffusers import EulerDiscreteScheduler, UNet2DConditionModel

    id_side = 8
    settings: dict[str, Any] = {
        "sample_size": sample_size,
        "in_channels": 4,
        "out_channels": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (8, 16, 16),
        "layers_per_block": 2,
        "transformer_layers_per_block": transformer_layers,
        "attention_head_dim": (1, 2, 2),
        "cross_attention_dim": sum(sides),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": id_side,
        "projection_class_embeddings_input_dim": 6 * id_side + pooled,
        "norm_num_groups": 4,
        **unet_settings,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = {
            "unet": UNet2DConditionModel(**settings),
            "vae": tiny_vae(4, sample_size, scaling_factor=0.13025),
            "text_encoder": tiny_clip_text(sides[0]),
            "text_encoder_2": tiny_clip_text(sides[1], pooled),
        }
    parts["scheduler"] = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="leading",
        steps_offset=1,
    )
    tokenizers = {"tokenizer": build_byte_tokenizer, "tokenizer_2": build_byte_tokenizer}
    how = {"force_zeros_for_empty_prompt": zero_null}
    return save_pipeline(folder, "StableDiffusionXLPipeline", parts, tokenizers, **how)


def build_tiny_stable_diffusion_3(
    folder: Path | str,
    *,
    sample_size: int = 16,
    t5: bool = True,
    layers: int = 4,
    sides: tuple[int, int] = (12, 16),
    wide: int = 32,
    seed: int = 0,
) -> Path:
    """`folder`, now with a Stable Diffusion 3 as diffusers saves it: `layers` joint blocks over patches of 2 x 2 cells
    of 16 channels, two CLIP encoders with projections to `sides` numbers (768 and 1280), and a T5 encoder with `wide`
    ones (4096) unless `t5` is off."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: dict[str, Any] = {
            "transformer": SD3Transformer2DModel(
                sample_size=sample_size,
                patch_size=2,
                in_channels=16,
                num_layers=layers,
                attention_head_dim=8,
                num_attention_heads=2,
                joint_attention_dim=wide,
                caption_projection_dim=16,
                pooled_projection_dim=sum(sides),
                out_channels=16,
                pos_embed_max_size=sample_size,
            ),
            "vae": tiny_vae(
                16,
                sample_size,
                scaling_factor=1.5305,
                shift_factor=0.0609,
                use_quant_conv=False,
                use_post_quant_conv=False,
            ),
            "text_encoder": tiny_clip_text(sides[0], sides[0]),
            "text_encoder_2": tiny_clip_text(sides[1], sides[1]),
            "text_encoder_3": tiny_t5(wide) if t5 else None,
        }
    parts["scheduler"] = FlowMatchEulerDiscreteScheduler(shift=3.0)
    tokenizers = {"tokenizer": build_byte_tokenizer, "tokenizer_2": build_byte_tokenizer}
    if t5:
        tokenizers["tokenizer_3"] = build_letter_tokenizer
    else:
        parts["tokenizer_3"] = None
    return save_pipeline(folder, "StableDiffusion3Pipeline", parts, tokenizers)


def build_tiny_flux(
    folder: Path | str,
    *,
    guidance_embeds: bool = True,
    layers: int = 2,
    single_layers: int = 4,
    pooled: int = 12,
    wide: int = 32,
    in_channels: int = 64,
    out_channels: int | None = None,
    seed: int = 0,
) -> Path:
    """`folder`, now with a FLUX.1 as diffusers saves it: `layers` blocks that keep picture and prompt apart, and
    `single_layers` that do not, over packed patches of 2 x 2 cells of 16 channels; a CLIP encoder for the `pooled`
    embedding (768 numbers), a T5 encoder with `wide` ones (4096) for the rest. With `guidance_embeds` it is told its
    guidance (dev), without it is not (schnell). `in_channels` and
    `out_channels` of its transformer are for models that are told a picture."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: dict[str, Any] = {
            "transformer": FluxTransformer2DModel(
                patch_size=1,
                in_channels=in_channels,
                out_channels=out_channels,
                num_layers=layers,
                num_single_layers=single_layers,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=wide,
                pooled_projection_dim=pooled,
                guidance_embeds=guidance_embeds,
                axes_dims_rope=(4, 6, 6),
            ),
            "vae": tiny_vae(
                16,
                16,
                scaling_factor=0.3611,
                shift_factor=0.1159,
                use_quant_conv=False,
                use_post_quant_conv=False,
            ),
            "text_encoder": tiny_clip_text(pooled),
            "text_encoder_2": tiny_t5(wide),
        }
    dynamic = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15} if guidance_embeds else {}
    parts["scheduler"] = FlowMatchEulerDiscreteScheduler(shift=3.0 if guidance_embeds else 1.0, **dynamic)
    tokenizers = {"tokenizer": build_byte_tokenizer, "tokenizer_2": build_letter_tokenizer}
    return save_pipeline(folder, "FluxPipeline", parts, tokenizers)
