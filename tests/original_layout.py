"""Models written into one file under the names of their first publication: back from diffusers'."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

_BLOCK = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_TOP = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def single_file(folder: Path) -> dict[str, Tensor]:
    """The weights of the Stable Diffusion 1.x in `folder` (diffusers' layout, two layers in a block), under their
    original names."""
    text = load_file(folder / "text_encoder" / "model.safetensors")
    found = _unet_and_vae(folder)
    for key, one in text.items():
        found[f"cond_stage_model.transformer.text_model.{key.removeprefix('text_model.')}"] = one
    return {key: one.clone().contiguous() for key, one in found.items()}


def single_file_xl(folder: Path) -> dict[str, Tensor]:
    """The same of a Stable Diffusion XL."""
    found = _unet_and_vae(folder)
    for key, one in load_file(folder / "text_encoder" / "model.safetensors").items():
        found[f"conditioner.embedders.0.transformer.text_model.{key.removeprefix('text_model.')}"] = one
    second = load_file(folder / "text_encoder_2" / "model.safetensors")
    parts: dict[str, dict[str, Tensor]] = {}
    for key, one in second.items():
        if match := re.fullmatch(r"(.*self_attn)\.([qkv])_proj\.(weight|bias)", key):
            parts.setdefault(f"{match[1]}.in_proj_{match[3]}", {})[match[2]] = one
        else:
            parts[key] = {"whole": one}
    for key, ones in parts.items():
        whole = ones["whole"] if "whole" in ones else torch.cat([ones[one] for one in "qkv"])
        name = f"conditioner.embedders.1.model.{_of_open_clip(key)}"
        found[name] = whole.T if key == "text_projection.weight" else whole
    return {key: one.clone().contiguous() for key, one in found.items()}


def _unet_and_vae(folder: Path) -> dict[str, Tensor]:
    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    vae = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    found = {f"model.diffusion_model.{_of_unet(key, set(unet))}": one for key, one in unet.items()}
    for key, one in vae.items():
        name = _of_vae(key)
        flat = ".attn_1." in name and ".norm." not in name and one.ndim == 2
        found[f"first_stage_model.{name}"] = one[:, :, None, None] if flat else one
    return found


def _of_open_clip(key: str) -> str:
    key = key.removeprefix("text_model.")
    tops = {
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
        "text_projection.weight": "text_projection",
    }
    if key in tops:
        return tops[key]
    for new, old in (
        ("encoder.layers.", "transformer.resblocks."),
        ("layer_norm1", "ln_1"),
        ("layer_norm2", "ln_2"),
        ("mlp.fc1", "mlp.c_fc"),
        ("mlp.fc2", "mlp.c_proj"),
        ("self_attn", "attn"),
    ):
        key = key.replace(new, old)
    return key


def _renamed(key: str, names: Mapping[str, str]) -> str:
    for new, old in names.items():
        if key.startswith(new + "."):
            return old + key.removeprefix(new)
    return key


def _of_unet(key: str, all_keys: set[str]) -> str:
    if match := re.fullmatch(r"(down|up)_blocks\.(\d)\.(resnets|attentions)\.(\d)\.(.*)", key):
        way, block, sort, layer, rest = match.groups()
        number = 3 * int(block) + int(layer) + (way == "down")
        place = f"{'input' if way == 'down' else 'output'}_blocks.{number}"
        return f"{place}.0.{_renamed(rest, _BLOCK)}" if sort == "resnets" else f"{place}.1.{rest}"
    if match := re.fullmatch(r"down_blocks\.(\d)\.downsamplers\.0\.conv\.(.*)", key):
        return f"input_blocks.{3 * int(match[1]) + 3}.0.op.{match[2]}"
    if match := re.fullmatch(r"up_blocks\.(\d)\.upsamplers\.0\.conv\.(.*)", key):
        attends = any(one.startswith(f"up_blocks.{match[1]}.attentions.") for one in all_keys)
        return f"output_blocks.{3 * int(match[1]) + 2}.{2 if attends else 1}.conv.{match[2]}"
    if match := re.fullmatch(r"mid_block\.resnets\.(\d)\.(.*)", key):
        return f"middle_block.{2 * int(match[1])}.{_renamed(match[2], _BLOCK)}"
    if match := re.fullmatch(r"mid_block\.attentions\.0\.(.*)", key):
        return f"middle_block.1.{match[1]}"
    return _renamed(key, _TOP)


def _of_vae(key: str) -> str:
    key = key.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", key)
    if match := re.fullmatch(r"(.*)mid_block\.attentions\.0\.(.*)", key):
        return f"{match[1]}mid.attn_1.{_renamed(match[2], _VAE_ATTENTION)}"
    key = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", key)
    key = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", key)
    key = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda found: f"up.{3 - int(found[1])}.block.{found[2]}", key)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda found: f"up.{3 - int(found[1])}.upsample", key)
