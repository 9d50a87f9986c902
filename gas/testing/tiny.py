"""Builds folders of models as diffusers and transformers save them, with tiny networks and random weights: for tests of
everything but the picture and the words."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from gas.testing.tiny_families import build_tiny_flux as build_tiny_flux
from gas.testing.tiny_families import build_tiny_stable_diffusion_3 as build_tiny_stable_diffusion_3
from gas.testing.tiny_families import build_tiny_stable_diffusion_xl as build_tiny_stable_diffusion_xl
from gas.testing.tiny_parts import build_byte_tokenizer as build_byte_tokenizer
from gas.testing.tiny_parts import save_pipeline, tiny_clip_text, tiny_vae
from gas.testing.tiny_vision_language import build_tiny_vision_language as build_tiny_vision_language


def build_tiny_stable_diffusion(
    folder: Path | str,
    *,
    latent_channels: int = 4,
    cross_attention_dim: int = 32,
    sample_size: int = 16,
    prediction_type: Literal["epsilon", "v_prediction"] = "epsilon",
    in_channels: int | None = None,
    attention_type: Literal["default", "gated"] = "default",
    layers: int = 2,
    seed: int = 0,
) -> Path:
    """`folder`, now with unet, vae, text_encoder, tokenizer and scheduler as diffusers saves them, below 2 MB.

    The blocks are those of Stable Diffusion 1.x (nine self-attention modules in the up blocks, a VAE with factor 8, 77
    tokens), a few channels wide. The weights depend on `seed` alone. `sample_size` is the side of the latent, in cells.
    With one of the two `layers` a block, a call takes two thirds of the time; the up blocks then have six such modules.
    """
    from diffusers import PNDMScheduler, UNet2DConditionModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=sample_size,
            in_channels=in_channels or latent_channels,
            out_channels=latent_channels,
            block_out_channels=(8, 16, 16, 16),
            layers_per_block=layers,
            attention_head_dim=2,
            cross_attention_dim=cross_attention_dim,
            norm_num_groups=4,
            attention_type=attention_type,
        )
        network: Any = unet  # its methods are not typed
        for name, gate in network.named_parameters():
            if name.endswith((".alpha_attn", ".alpha_dense")):
                gate.data.fill_(1.0)  # it begins at 0, and what a gated layer is told would change nothing
        vae = tiny_vae(latent_channels, sample_size)
        text_encoder = tiny_clip_text(cross_attention_dim)
    scheduler = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction_type,
        skip_prk_steps=True,
        steps_offset=1,
    )
    parts = {"unet": unet, "vae": vae, "text_encoder": text_encoder, "scheduler": scheduler}
    return save_pipeline(folder, "StableDiffusionPipeline", parts, {"tokenizer": build_byte_tokenizer})


def build_tiny_instruct_pix2pix(folder: Path | str, *, latent_channels: int = 4, **options: Any) -> Path:
    """`folder`, now with an instruction model as diffusers saves InstructPix2Pix: the UNet of
    `build_tiny_stable_diffusion` takes the picture's latent beside the noisy one. `options` as there."""
    build_tiny_stable_diffusion(folder, latent_channels=latent_channels, in_channels=2 * latent_channels, **options)
    index = Path(folder) / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "StableDiffusionInstructPix2PixPipeline"))
    return Path(folder)


def build_tiny_clip(folder: Path | str, *, side: int = 32, patch: int = 8, layers: int = 3, seed: int = 0) -> Path:
    """`folder`, now with a CLIPModel as transformers saves it: pictures of `side` pixels in patches of `patch`,
    `layers` layers in the picture's half. The weights depend on `seed` alone."""
    from transformers import CLIPConfig, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    text = {"vocab_size": 514, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    vision = {"image_size": side, "patch_size": patch, "hidden_size": 16, "intermediate_size": 32}
    marks = {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    heads = {"num_attention_heads": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = CLIPConfig(
            text_config={**text, **heads, **marks},
            vision_config={**vision, **heads, "num_hidden_layers": layers},
            projection_dim=8,
            initializer_factor=10.0,  # the usual small numbers make all pictures and all texts nearly the same
        )
        network = CLIPModel(config)
    network.save_pretrained(folder)
    build_byte_tokenizer(folder)
    CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side}).save_pretrained(
        folder
    )
    return Path(folder)


def build_tiny_gligen(folder: Path | str, *, latent_channels: int = 4, inpainting: bool = True, **options: Any) -> Path:
    """`folder`, now with a GLIGEN model as diffusers saves them: the UNet of `build_tiny_stable_diffusion` with gated
    attention and, for `inpainting`, the picture's latent and a mask beside the noisy one. `options` as there."""
    channels = 2 * latent_channels + 1 if inpainting else latent_channels
    kind: dict[str, Any] = {"in_channels": channels, "attention_type": "gated"}
    build_tiny_stable_diffusion(folder, latent_channels=latent_channels, **kind, **options)
    index = Path(folder) / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "StableDiffusionGLIGENPipeline"))
    return Path(folder)
