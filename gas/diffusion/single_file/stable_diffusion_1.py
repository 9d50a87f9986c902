"""Stable Diffusion 1.x in a single file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gas.diffusion.loading import explained, read_settings
from gas.diffusion.single_file import weights as reading
from gas.diffusion.single_file.weights import (
    SHIPPED,
    filled,
    known_names,
    part_of,
    read_shipped,
    read_tokenizer,
    untaken,
)
from gas.errors import ModelUnavailable
from gas.models.account import check_vocabulary

SETTINGS = SHIPPED / "stable_diffusion_1"
PREFIXES = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "cond_stage_model.transformer.",
}
# CLIP's projection into the space of pictures and texts, which prompts do not go through.
_PROJECTION = ("cond_stage_model.transformer.text_projection.", "cond_stage_model.logit_scale")
_OTHERS = (
    ("conditioner.embedders.0.model.", "is the refiner of Stable Diffusion XL"),
    ("cond_stage_model.model.", "is a Stable Diffusion 2.x"),
    ("lora_", "holds a LoRA, not a whole model"),
    ("model.diffusion_model.joint_blocks.", "is a Stable Diffusion 3 model"),
)
_REMEDY = "name a Stable Diffusion 1.x, a Stable Diffusion XL or a FLUX.1, or a folder in diffusers' layout"


def read_single_file(
    file: Path, name: str, formats: Mapping[str, torch.dtype], *, allow_pickle: bool = False
) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """The networks of a Stable Diffusion 1.x in `file`, its tokenizer, and the settings of its scheduler.

    The networks are "unet", "vae" and "text_encoder", each in its format of `formats`, on the CPU, with every weight
    accounted for. The file's own weights are read, not their averages (`model_ema`). A `.ckpt`, of which only tensors
    are read, needs `allow_pickle`. ModelUnavailable (exit 6), which calls the model `name`: not readable, another
    model, weights that are missing, too many or of another shape.
    """
    with explained(name):
        weights = reading.read_file(file, name, allow_pickle=allow_pickle)
        for prefix, what in _OTHERS:
            if any(key.startswith(prefix) for key in weights):
                raise ModelUnavailable(f"{name} {what}, which is not read from a single file", _REMEDY)
        reading.check_parts(weights, PREFIXES, _PROJECTION, name, _REMEDY)
        networks = {
            "unet": read_unet(weights, SETTINGS, name, formats["unet"]),
            "vae": read_vae(weights, SETTINGS, name, formats["vae"]),
            "text_encoder": read_clip(weights, SETTINGS, PREFIXES["text_encoder"], name, formats["text_encoder"]),
        }
        tokenizer = read_tokenizer(SETTINGS / "tokenizer")
        check_vocabulary(tokenizer, name, networks["text_encoder"].get_input_embeddings().num_embeddings)
    return networks, tokenizer, read_settings(SETTINGS / "scheduler" / "scheduler_config.json", name)


def read_unet(weights: Mapping[str, Tensor], shipped: Path, name: str, dtype: torch.dtype) -> Any:
    """The UNet among the `weights`, with the settings in the folder `shipped`. Errors as `filled`."""
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    prefix = PREFIXES["unet"]
    settings, own = read_shipped(shipped, "unet"), part_of(weights, prefix)
    first = own.get(f"{prefix}input_blocks.0.0.weight")
    if first is not None and first.ndim == 4:  # what it takes beside the noisy latent makes the kind of model
        settings["in_channels"] = first.shape[1]
    with known_names(name, "unet"):
        renamed = convert_ldm_unet_checkpoint(dict(own), settings)
    left_out = untaken(own, renamed)
    return filled(lambda: UNet2DConditionModel.from_config(settings), renamed, left_out, name, "unet", dtype)


def read_vae(weights: Mapping[str, Tensor], shipped: Path, name: str, dtype: torch.dtype) -> Any:
    """The VAE among the `weights`. As `read_unet`."""
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    settings, own = read_shipped(shipped, "vae"), part_of(weights, PREFIXES["vae"])
    renamed = convert_ldm_vae_checkpoint(dict(own), settings)
    left_out = untaken(own, renamed)
    return filled(lambda: AutoencoderKL.from_config(settings), renamed, left_out, name, "vae", dtype)


def read_clip(weights: Mapping[str, Tensor], shipped: Path, prefix: str, name: str, dtype: torch.dtype) -> Any:
    """The text encoder of transformers' CLIP under `prefix` among the `weights`. As `read_unet`."""
    from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModel

    own = part_of(weights, prefix, _PROJECTION)
    renamed = {key.removeprefix("text_model."): one for key, one in convert_ldm_clip_checkpoint(own).items()}
    settings = CLIPTextConfig.from_dict(read_shipped(shipped, "text_encoder"))
    left_out = untaken(own, renamed)
    return filled(lambda: CLIPTextModel(settings), renamed, left_out, name, "text_encoder", dtype)
