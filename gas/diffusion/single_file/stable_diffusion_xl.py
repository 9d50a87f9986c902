"""Stable Diffusion XL in a single file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from gas.diffusion.loading import explained, read_settings
from gas.diffusion.single_file import stable_diffusion_1 as first
from gas.diffusion.single_file import weights as reading
from gas.diffusion.single_file.weights import SHIPPED, filled, part_of, read_shipped, read_tokenizer
from gas.models.account import check_vocabulary

SETTINGS = SHIPPED / "stable_diffusion_xl"
PREFIXES = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "conditioner.embedders.0.transformer.",
    "text_encoder_2": "conditioner.embedders.1.model.",
}
_LOGIT = "conditioner.embedders.1.model.logit_scale"
# How files say that a model predicts v, and that its schedule ends in noise alone: tensors whose value does not matter.
_V, _ZERO_SNR = "v_pred", "ztsnr"
_REMEDY = "name a text-to-image Stable Diffusion XL, or a folder in diffusers' layout"


def read_single_file(
    file: Path, name: str, formats: Mapping[str, torch.dtype], *, allow_pickle: bool = False
) -> tuple[dict[str, Any], tuple[Any, Any], dict[str, Any]]:
    """The networks of a Stable Diffusion XL in `file`, the tokenizers of its two text encoders, and the settings of its
    scheduler: as `gas.diffusion.single_file.stable_diffusion_1.read_single_file`, with "text_encoder_2" too."""
    with explained(name):
        weights = reading.read_file(file, name, allow_pickle=allow_pickle)
        reading.check_parts(weights, PREFIXES, (_V, _ZERO_SNR), name, _REMEDY)
        networks = {
            "unet": first.read_unet(weights, SETTINGS, name, formats["unet"]),
            "vae": first.read_vae(weights, SETTINGS, name, formats["vae"]),
            "text_encoder": first.read_clip(weights, SETTINGS, PREFIXES["text_encoder"], name, formats["text_encoder"]),
            "text_encoder_2": _open_clip(weights, name, formats["text_encoder_2"]),
        }
        words = first.SETTINGS / "tokenizer"
        tokenizers = read_tokenizer(words), read_tokenizer(words, "!")
        for tokenizer, part in zip(tokenizers, ("text_encoder", "text_encoder_2"), strict=True):
            check_vocabulary(tokenizer, name, networks[part].get_input_embeddings().num_embeddings)
    scheduler = read_settings(SETTINGS / "scheduler" / "scheduler_config.json", name)
    if _V in weights:
        scheduler["prediction_type"] = "v_prediction"
    if _ZERO_SNR in weights:
        scheduler["rescale_betas_zero_snr"] = True
    return networks, tokenizers, scheduler


def _open_clip(weights: Mapping[str, Tensor], name: str, dtype: torch.dtype) -> Any:
    """The second text encoder, whose names are those of OpenCLIP."""
    from diffusers.loaders.single_file_utils import DIFFUSERS_TO_LDM_MAPPING, convert_open_clip_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    prefix = PREFIXES["text_encoder_2"]
    settings = CLIPTextConfig.from_dict(read_shipped(SETTINGS, "text_encoder_2"))
    own = part_of(weights, prefix, (_LOGIT,))
    renamed = convert_open_clip_checkpoint(SimpleNamespace(config=settings), dict(own), prefix)
    # It keeps what lies in the layers, whatever its name, and of the rest what it knows.
    known = DIFFUSERS_TO_LDM_MAPPING["openclip"]["layers"].values()
    rest = (key for key in own if not key.startswith(f"{prefix}transformer."))
    left_out = [key for key in rest if key.removeprefix(prefix) not in known]
    return filled(lambda: CLIPTextModelWithProjection(settings), renamed, left_out, name, "text_encoder_2", dtype)
