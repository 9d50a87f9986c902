"""Stable Diffusion 1.x in a single file, in the layout that it was first published in (`.safetensors`, `.ckpt`).

diffusers' own code renames the weights (`diffusers.loaders.single_file_utils`). The settings and the tokenizer's words
are not in the file: they lie in `stable_diffusion_1` beside this module, so nothing is fetched.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gas.diffusion.loading import explained, read_settings
from gas.errors import ModelUnavailable
from gas.models.account import check_vocabulary, check_weights
from gas.process import check_loading
from gas.remedies import Option, Remedy

SETTINGS = Path(__file__).parent / "stable_diffusion_1"
PREFIXES = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "cond_stage_model.transformer.",
}
# What training leaves in a file: averages of the weights, the noise schedule's numbers, and the loss's networks.
_UNUSED = (
    "model_ema.",
    "first_stage_model.loss.",
    "alphas_cumprod",
    "betas",
    "log_one_minus_alphas_cumprod",
    "logvar",
    "lvlb_weights",
    "posterior_",
    "scale_factor",
    "sqrt_",
)
# CLIP's projection into the space of pictures and texts, which prompts do not go through.
_PROJECTION = ("cond_stage_model.transformer.text_projection.", "cond_stage_model.logit_scale")
_OTHERS = (
    ("conditioner.embedders.", "is a Stable Diffusion XL model"),
    ("cond_stage_model.model.", "is a Stable Diffusion 2.x"),
    ("lora_", "holds a LoRA, not a whole model"),
    ("model.diffusion_model.double_blocks.", "is a Flux model"),
    ("model.diffusion_model.joint_blocks.", "is a Stable Diffusion 3 model"),
)


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
        weights = _read(file, name, allow_pickle)
        _check_layout(weights, name)
        networks = {
            "unet": _unet(weights, name, formats["unet"]),
            "vae": _vae(weights, name, formats["vae"]),
            "text_encoder": _text_encoder(weights, name, formats["text_encoder"]),
        }
        tokenizer = read_tokenizer(SETTINGS / "tokenizer")
        check_vocabulary(tokenizer, name, networks["text_encoder"].get_input_embeddings().num_embeddings)
    return networks, tokenizer, read_settings(SETTINGS / "scheduler" / "scheduler_config.json", name)


def read_tokenizer(folder: Path) -> Any:
    """CLIP's tokenizer, from the `merges.txt` in `folder`: its vocabulary is all bytes, all bytes at a word's end, what
    each merge makes, and two marks, in this order (Radford et al. 2021, `simple_tokenizer.py`)."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    lines = (folder / "merges.txt").read_text("utf-8").splitlines()[1:]
    merges = [(left, right) for left, _, right in (line.partition(" ") for line in lines)]
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), *(left + right for left, right in merges)]
    vocabulary = {word: number for number, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def _read(file: Path, name: str, allow_pickle: bool) -> dict[str, Tensor]:
    """The tensors in `file`, by name."""
    check_loading()
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return dict(load_file(file))
    if file.suffix != ".ckpt":
        raise ModelUnavailable(
            f"{name} is a single file, but neither .safetensors nor .ckpt",
            "give a Stable Diffusion 1.x as .safetensors, or a folder in diffusers' layout",
        )
    if not allow_pickle:
        raise ModelUnavailable(
            f"{name} is a single file of the kind .ckpt, which can hide programs",
            Remedy(
                "allow_pickle",
                "use a model with .safetensors files, or set {allow} (only tensors are read)",
                allow=Option({"allow_pickle": True}),
            ),
        )
    found = torch.load(file, map_location="cpu", weights_only=True)
    inner = found.get("state_dict", found) if isinstance(found, dict) else {}
    return {str(key): one for key, one in inner.items() if isinstance(one, Tensor)}


def _check_layout(weights: Mapping[str, Tensor], name: str) -> None:
    """Refuses weights that are no Stable Diffusion 1.x in the original layout, by what they are, if that is known."""
    remedy = "name a Stable Diffusion 1.x, or a folder in diffusers' layout"
    for prefix, what in _OTHERS:
        if any(key.startswith(prefix) for key in weights):
            raise ModelUnavailable(f"{name} {what}, which is not read from a single file", remedy)
    for part, prefix in PREFIXES.items():
        if not any(key.startswith(prefix) for key in weights):
            raise ModelUnavailable(
                f"{name} is a single file with no weights of {part} (none whose name begins with {prefix})",
                remedy,
            )
    known = (*PREFIXES.values(), *_UNUSED, *_PROJECTION)
    strange = [key for key in weights if not key.startswith(known)]
    check_weights({"unexpected_keys": strange}, name, remedy)


def _unet(weights: Mapping[str, Tensor], name: str, dtype: torch.dtype) -> Any:
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    settings = _settings("unet")
    own = _part(weights, "unet")
    first = own.get(f"{PREFIXES['unet']}input_blocks.0.0.weight")
    if first is not None and first.ndim == 4:  # what it takes beside the noisy latent makes the kind of model
        settings["in_channels"] = first.shape[1]
    return _filled(
        lambda: UNet2DConditionModel.from_config(settings),
        own,
        convert_ldm_unet_checkpoint(dict(own), settings),
        name,
        "unet",
        dtype,
    )


def _vae(weights: Mapping[str, Tensor], name: str, dtype: torch.dtype) -> Any:
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    settings, own = _settings("vae"), _part(weights, "vae")
    renamed = convert_ldm_vae_checkpoint(dict(own), settings)
    return _filled(lambda: AutoencoderKL.from_config(settings), own, renamed, name, "vae", dtype)


def _text_encoder(weights: Mapping[str, Tensor], name: str, dtype: torch.dtype) -> Any:
    from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModel

    own = {key: one for key, one in _part(weights, "text_encoder").items() if not key.startswith(_PROJECTION)}
    renamed = {key.removeprefix("text_model."): one for key, one in convert_ldm_clip_checkpoint(own).items()}
    settings = CLIPTextConfig.from_dict(_settings("text_encoder"))
    return _filled(lambda: CLIPTextModel(settings), own, renamed, name, "text_encoder", dtype)


def _filled(
    make: Callable[[], Any],
    own: Mapping[str, Tensor],
    renamed: Mapping[str, Tensor | None],
    name: str,
    part: str,
    dtype: torch.dtype,
) -> Any:
    """The network that `make` makes, with the weights `renamed`, which come from the file's `own` of this part.

    What diffusers' code does not know it leaves out without a word; it renames and reshapes, but copies nothing, so a
    weight of the file that lies nowhere among the renamed ones has been left out.
    """
    from accelerate import init_empty_weights

    check_loading()
    found = {key: one for key, one in renamed.items() if one is not None}  # diffusers' name for one that is missing
    with init_empty_weights(include_buffers=False):
        network = make()
    taken = {one.data_ptr() for one in found.values()}
    wanted = network.state_dict()
    check_weights(
        {
            "missing_keys": wanted.keys() - found.keys(),
            "unexpected_keys": [
                *(found.keys() - wanted.keys()),
                *(key for key, one in own.items() if one.data_ptr() not in taken),
            ],
            "mismatched_keys": [
                (key, tuple(one.shape), tuple(wanted[key].shape))
                for key, one in found.items()
                if key in wanted and one.shape != wanted[key].shape
            ],
        },
        name,
        part=part,
    )
    # copied: the file is mapped into memory, and may change or go while the model works
    used = {key: one.to(dtype, copy=True) for key, one in found.items() if key in wanted}
    network.load_state_dict(used, strict=False, assign=True)
    return network


def _part(weights: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {key: one for key, one in weights.items() if key.startswith(PREFIXES[part]) and not key.startswith(_UNUSED)}


def _settings(part: str) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((SETTINGS / part / "config.json").read_text("utf-8"))
    return settings
