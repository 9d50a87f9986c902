"""Tiny models that edit by instruction, of the real classes in the real layouts: a few channels wide, with random
weights. They are told the picture as tokens beside the noisy ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch

from gas.testing.tiny_families import build_tiny_flux
from gas.testing.tiny_parts import build_letter_tokenizer, save_pipeline, tiny_t5, tiny_vae
from gas.testing.tiny_qwen import build_chat_tokenizer, tiny_qwen2_vl, tiny_qwen3

QwenEdit = Literal["QwenImageEditPipeline", "QwenImageEditPlusPipeline"]


def build_tiny_kontext(folder: Path | str, **options: Any) -> Path:
    """`folder`, now with a FLUX.1 Kontext as diffusers saves it: the networks of `build_tiny_flux`, whose `options`
    these are; an index that names two parts more, which are not there."""
    index_of = build_tiny_flux(folder, **options) / "model_index.json"
    index = json.loads(index_of.read_text())
    index |= {
        "_class_name": "FluxKontextPipeline",
        "image_encoder": [None, None],
        "feature_extractor": [None, None],
    }
    index_of.write_text(json.dumps(index, indent=2))
    return Path(folder)


def build_tiny_flux_fill(folder: Path | str, **options: Any) -> Path:
    """`folder`, now with a FLUX.1 Fill as diffusers saves it: the networks of `build_tiny_flux`, whose `options` these
    are; beside the noisy tokens its transformer takes those of the masked picture and the mask's own pixels."""
    picture, mask = 16 * 2 * 2, 8 * 8 * 2 * 2
    build_tiny_flux(folder, in_channels=2 * picture + mask, out_channels=picture, **options)
    index_of = Path(folder) / "model_index.json"
    index_of.write_text(index_of.read_text().replace('"FluxPipeline"', '"FluxFillPipeline"'))
    return Path(folder)


def build_tiny_flux2_klein(folder: Path | str, *, distilled: bool = True, seed: int = 0) -> Path:
    """`folder`, now with a FLUX.2 klein as diffusers saves it: a transformer of both kinds of blocks over patches of
    2 x 2 cells of 4 channels, three layers of a Qwen 3 as text encoder, an autoencoder with a batch norm.
    `distilled` is what its index says: then it knows no guidance."""
    from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2Transformer2DModel

    channels, wide = 4, 16
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: dict[str, Any] = {
            "transformer": Flux2Transformer2DModel(
                in_channels=4 * channels,
                num_layers=2,
                num_single_layers=2,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=3 * wide,
                timestep_guidance_channels=16,
                axes_dims_rope=(4, 4, 4, 4),
                guidance_embeds=False,
            ),
            "vae": AutoencoderKLFlux2(
                block_out_channels=(8, 8, 8, 8),
                latent_channels=channels,
                norm_num_groups=4,
                sample_size=128,
            ),
            "text_encoder": tiny_qwen3(wide, layers=28),
        }
    parts["scheduler"] = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    parts["tokenizer"] = build_chat_tokenizer()
    return save_pipeline(folder, "Flux2KleinPipeline", parts, {}, is_distilled=distilled)


def build_tiny_qwen_image_edit(
    folder: Path | str, *, pipeline: QwenEdit = "QwenImageEditPipeline", seed: int = 0
) -> Path:
    """`folder`, now with a Qwen-Image-Edit as diffusers saves it: a transformer of joint blocks over patches of 2 x 2
    cells of 16 channels, a Qwen 2.5-VL that reads picture and words, a video's autoencoder. `pipeline` is its name:
    that of the first, or that of 2509 and later ("Plus")."""
    from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, QwenImageTransformer2DModel

    wide = 32
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder, processor = tiny_qwen2_vl(wide)
        parts: dict[str, Any] = {
            "transformer": QwenImageTransformer2DModel(
                num_layers=2,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=wide,
                axes_dims_rope=(4, 6, 6),
            ),
            "vae": AutoencoderKLQwenImage(base_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1),
            "text_encoder": text_encoder,
        }
    parts["scheduler"] = FlowMatchEulerDiscreteScheduler(
        shift=1.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, shift_terminal=0.02
    )
    parts |= {"processor": processor, "tokenizer": processor.tokenizer}
    return save_pipeline(folder, pipeline, parts, {})


def build_tiny_longcat_image_edit(folder: Path | str, *, seed: int = 0) -> Path:
    """`folder`, now with a LongCat-Image-Edit as diffusers saves it: FLUX.1's two kinds of blocks over patches of 2 x 2
    cells of 16 channels, a Qwen 2.5-VL that reads picture and words."""
    from diffusers import FlowMatchEulerDiscreteScheduler, LongCatImageTransformer2DModel

    wide = 32
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder, processor = tiny_qwen2_vl(wide)
        parts: dict[str, Any] = {
            "transformer": LongCatImageTransformer2DModel(
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=wide,
                pooled_projection_dim=wide,
                axes_dims_rope=[4, 6, 6],
            ),
            "vae": tiny_vae(
                16, 16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False
            ),
            "text_encoder": text_encoder,
        }
    parts["scheduler"] = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15)
    parts |= {"text_processor": processor, "tokenizer": processor.tokenizer}
    return save_pipeline(folder, "LongCatImageEditPipeline", parts, {})


def build_tiny_z_image(folder: Path | str, *, seed: int = 0) -> Path:
    """`folder`, now with a Z-Image as diffusers saves it: a transformer of one kind of blocks over patches of 2 x 2
    cells of 16 channels, a Qwen 3 text encoder."""
    from diffusers import FlowMatchEulerDiscreteScheduler, ZImageTransformer2DModel

    wide = 16
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = ZImageTransformer2DModel(
            dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=wide, axes_dims=(4, 6, 6)
        )
        for name, weights in transformer.named_parameters():
            if name.endswith("_pad_token"):
                weights.data.normal_()  # made without numbers, and so of whatever was in memory
        parts: dict[str, Any] = {
            "transformer": transformer,
            "vae": tiny_vae(
                16, 16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False
            ),
            "text_encoder": tiny_qwen3(wide, layers=2),
        }
    parts["scheduler"] = FlowMatchEulerDiscreteScheduler(shift=3.0)
    parts["tokenizer"] = build_chat_tokenizer()
    return save_pipeline(folder, "ZImagePipeline", parts, {})


def build_tiny_chroma(folder: Path | str, *, seed: int = 0) -> Path:
    """`folder`, now with a Chroma as diffusers saves it: FLUX.1's blocks, modulated by one small network, and a T5
    encoder alone."""
    from diffusers import ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler

    wide = 32
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: dict[str, Any] = {
            "transformer": ChromaTransformer2DModel(
                num_layers=1,
                num_single_layers=2,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=wide,
                axes_dims_rope=(4, 6, 6),
                approximator_num_channels=16,
                approximator_hidden_dim=32,
                approximator_layers=1,
            ),
            "vae": tiny_vae(
                16, 16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False
            ),
            "text_encoder": tiny_t5(wide),
            "image_encoder": None,
            "feature_extractor": None,
        }
    parts["scheduler"] = FlowMatchEulerDiscreteScheduler(shift=1.0)
    save_pipeline(folder, "ChromaPipeline", parts, {"tokenizer": build_letter_tokenizer})
    settings = Path(folder) / "transformer" / "config.json"  # the published one has two keys of FLUX.1
    more = {"guidance_embeds": False, "pooled_projection_dim": 768}
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **more}))
    return Path(folder)
