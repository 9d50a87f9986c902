"""Tiny models that edit by instruction and read it with a whole language model, of the real classes in the real
layouts: a few channels wide, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gas.testing.tiny_parts import save_pipeline
from gas.testing.tiny_qwen import build_byte_level_tokenizer, tiny_qwen3_vl

_FIBO_BEGIN = 128_000
"""The token that FIBO's pipeline takes for an empty prompt."""
_MISTRAL_LAYERS = 30
"""FLUX.2 reads the states after 10, 20 and 30 of them."""


def build_tiny_flux2(folder: Path | str, *, seed: int = 0) -> Path:
    """`folder`, now with a FLUX.2 dev as diffusers saves it: a transformer of both kinds of blocks over patches of 2 x
    2 cells of 4 channels that is told its guidance and reads three layers of a Mistral 3, and an autoencoder with a
    batch norm."""
    from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2Transformer2DModel

    channels, wide = 4, 16
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder, processor = _mistral(wide)
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
            ),
            "vae": AutoencoderKLFlux2(
                block_out_channels=(8, 8, 8, 8),
                latent_channels=channels,
                norm_num_groups=4,
                sample_size=128,
            ),
            "text_encoder": text_encoder,
        }
    parts["scheduler"] = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    parts["tokenizer"] = processor
    return save_pipeline(folder, "Flux2Pipeline", parts, {})


def _mistral(side: int) -> tuple[Any, Any]:
    """A Mistral 3 with states of `side` numbers, and its processor."""
    from transformers import Mistral3Config, Mistral3ForConditionalGeneration, PixtralProcessor
    from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil

    tokenizer = build_byte_level_tokenizer("[IMG]", "[IMG_BREAK]", "[IMG_END]")
    tokenizer.chat_template = (
        "{% for m in messages %}{% for p in m['content'] %}{{ p['text'] }}\n{% endfor %}{% endfor %}"
    )
    text = {
        "model_type": "mistral",
        "vocab_size": 512,
        "hidden_size": side,
        "intermediate_size": 2 * side,
        "num_hidden_layers": _MISTRAL_LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": 4096,
    }
    vision = {
        "model_type": "pixtral",
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    config = Mistral3Config(
        text_config=text, vision_config=vision, image_token_index=tokenizer.convert_tokens_to_ids("[IMG]")
    )
    processor = PixtralProcessor(
        PixtralImageProcessorPil(), tokenizer, patch_size=8, chat_template=tokenizer.chat_template
    )
    return Mistral3ForConditionalGeneration(config), processor


def build_tiny_qwen_image_21(folder: Path | str, *, sample_sigmas: list[float] | None = None, seed: int = 0) -> Path:
    """`folder`, now with a Qwen-Image 2.1 as diffusers saves it: one stream of blocks over cells of 64 channels, a Qwen
    3-VL that reads picture and words, an autoencoder of factor 16 with transparency. `sample_sigmas` are the noise
    levels of its steps that its index names."""
    from diffusers import AutoencoderKLQwenImage21, FlowMatchEulerDiscreteScheduler, QwenImage21Transformer2DModel

    wide = 32
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder, processor = tiny_qwen3_vl(wide)
        parts: dict[str, Any] = {
            "transformer": QwenImage21Transformer2DModel(
                num_layers=2,
                attention_head_dim=16,
                num_attention_heads=2,
                context_in_dim=wide,
                axes_dims_rope=(4, 6, 6),
            ),
            "vae": AutoencoderKLQwenImage21(base_dim=4, decoder_base_dim=4, dim_mult=[1, 1, 1, 1, 1], num_res_blocks=1),
            "text_encoder": text_encoder,
        }
    parts["scheduler"] = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, shift_terminal=0.02
    )
    parts["processor"] = processor
    return save_pipeline(folder, "QwenImage21Pipeline", parts, {}, sample_sigmas=sample_sigmas)


def build_tiny_fibo_edit(folder: Path | str, *, seed: int = 0) -> Path:
    """`folder`, now with a FIBO Edit as diffusers saves it: FLUX.1's two kinds of blocks over cells of 16 channels,
    each told a layer of a SmolLM 3, and a video's autoencoder of factor 16."""
    from diffusers import AutoencoderKLWan, BriaFiboTransformer2DModel, FlowMatchEulerDiscreteScheduler
    from transformers import SmolLM3Config, SmolLM3ForCausalLM

    wide = 16
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: dict[str, Any] = {
            "transformer": BriaFiboTransformer2DModel(
                in_channels=16,
                num_layers=1,
                num_single_layers=2,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=2 * wide,
                text_encoder_dim=wide,
                axes_dims_rope=[4, 6, 6],
            ),
            "vae": AutoencoderKLWan(
                base_dim=4,
                decoder_base_dim=4,
                dim_mult=[1, 1, 1, 1],
                num_res_blocks=1,
                is_residual=True,
                in_channels=12,
                out_channels=12,
                patch_size=2,
                scale_factor_spatial=16,
            ),
            "text_encoder": SmolLM3ForCausalLM(
                SmolLM3Config(
                    vocab_size=_FIBO_BEGIN + 1,
                    hidden_size=wide,
                    intermediate_size=2 * wide,
                    num_hidden_layers=3,
                    num_attention_heads=2,
                    num_key_value_heads=1,
                    pad_token_id=0,
                    bos_token_id=0,
                    eos_token_id=0,
                    tie_word_embeddings=True,
                )
            ),
        }
    parts["scheduler"] = FlowMatchEulerDiscreteScheduler(shift=3.0)
    parts["tokenizer"] = build_byte_level_tokenizer()
    return save_pipeline(folder, "BriaFiboEditPipeline", parts, {})
