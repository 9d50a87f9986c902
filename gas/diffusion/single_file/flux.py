"""FLUX.1 in a single file, which holds its transformer; text encoders and VAE come from a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gas.diffusion.loading import explained
from gas.diffusion.quantised import load_gguf, read_gguf_tensors
from gas.diffusion.single_file import weights as reading
from gas.diffusion.single_file.weights import SHIPPED, check_filled, filled, known_names, read_shipped
from gas.errors import ModelUnavailable
from gas.models.account import check_weights

SETTINGS = SHIPPED / "flux"
# As it was published, and as programs save it beside other parts.
_PREFIXES = ("model.diffusion_model.", "")
_BLOCKS = {"num_layers": "double_blocks.", "num_single_layers": "single_blocks."}
_BESIDE = ("text_encoders.", "vae.", "first_stage_model.", "cond_stage_model.", "conditioner.")
_REMEDY = "name a FLUX.1 (dev, schnell), or a folder in diffusers' layout"


def read_transformer(file: Path, name: str, dtype: torch.dtype, *, allow_pickle: bool = False) -> Any:
    """The transformer of a FLUX.1 in `file`, on the CPU in `dtype`, with every weight accounted for. Text encoders and
    VAE in the file are left out. ModelUnavailable (exit 6), which calls the model `name`: not readable, another model,
    weights that are missing, too many or of another shape, or stored as numbers that stand for others."""
    if file.suffix == ".gguf":
        return _of_gguf(file, name, dtype)
    with explained(name):
        weights = reading.read_file(file, name, allow_pickle=allow_pickle)
        inside = {key: one for key, one in weights.items() if not key.startswith(_BESIDE)}
        return _transformer(inside, name, dtype)


def _transformer(weights: Mapping[str, Tensor], name: str, dtype: torch.dtype) -> Any:
    from diffusers import FluxTransformer2DModel
    from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers

    prefix = next((one for one in _PREFIXES if any(key.startswith(f"{one}double_blocks.") for key in weights)), None)
    if prefix is None:
        raise ModelUnavailable(f"{name} is a single file with no weights of a FLUX.1's transformer", _REMEDY)
    own = {key.removeprefix(prefix): one for key, one in weights.items() if key.startswith(prefix)}
    check_weights({"unexpected_keys": [key for key in weights if not key.startswith(prefix)]}, name, _REMEDY)
    if scaled := [key for key in own if key.endswith(("scale_weight", "scale_input", "weight_scale", "scaled_fp8"))]:
        raise ModelUnavailable(
            f"{name} has scaled weights, such as {scaled[0]}, which are not read",
            "use a file with bf16 or plain fp8 weights",
        )
    settings = _settings(own)
    left = dict(own)  # which the code below empties
    with known_names(name, "transformer"):
        renamed = convert_flux_transformer_checkpoint_to_diffusers(left)
    return filled(
        lambda: FluxTransformer2DModel.from_config(settings), renamed, sorted(left), name, "transformer", dtype
    )


def _of_gguf(file: Path, name: str, dtype: torch.dtype) -> Any:
    """The same of a GGUF file, whose weights stay in the bits that they have there."""
    from diffusers import FluxTransformer2DModel
    from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers

    own = read_gguf_tensors(file, name)
    if not any(key.startswith("double_blocks.") for key in own):
        raise ModelUnavailable(f"{name} is a single file with no weights of a FLUX.1's transformer", _REMEDY)
    settings, left = _settings(own), dict(own)
    with known_names(name, "transformer"):  # the names and shapes alone, since diffusers says nothing of what is left
        renamed = convert_flux_transformer_checkpoint_to_diffusers(left)
    check_filled(lambda: FluxTransformer2DModel.from_config(settings), renamed, sorted(left), name, "transformer")
    return load_gguf(FluxTransformer2DModel, file, settings, name, dtype)


def _settings(own: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings that are shipped, with what the file's own weights say: how many blocks, which channels it takes,
    whether it is told its guidance."""
    settings = read_shipped(SETTINGS, "transformer")
    for what, prefix in _BLOCKS.items():
        settings[what] = len({key.split(".")[1] for key in own if key.startswith(prefix)})
    settings["guidance_embeds"] = any(key.startswith("guidance_in.") for key in own)
    if (first := own.get("img_in.weight")) is not None and first.ndim == 2:
        settings["in_channels"] = first.shape[1]
    if (last := own.get("final_layer.linear.weight")) is not None and last.ndim == 2:
        settings["out_channels"] = last.shape[0]
    return settings
