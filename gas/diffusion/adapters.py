"""Adapters: a small file of weights that turns one model's UNet into another, such as a text-to-image model into an
instruction model.

A folder with an adapter holds `adapter.json`, `{"base": "../sd"}`, and `adapter.safetensors`. `base` is the folder,
seen from this one, of the model that it changes: one in diffusers' layout, or another folder with an adapter. The
file names weights as the UNet does:

* `NAME.lora_A.weight` (rank, in, ...) and `NAME.lora_B.weight` (out, rank, ...), peft's names, are added to
  `NAME.weight` as B A (LoRA, Hu et al. 2022, with scale 1);
* `NAME.diff` is added to the weight `NAME` as it is;
* any other name replaces the weight of that name.

`conv_in.weight` may take more channels than the base's does, and so may what is added to it: an instruction model's
(InstructPix2Pix, Brooks et al. 2023, section 3.2) takes the source's latents too. Integers of 8 bits with a
`NAME.scale` (rows, 1, ...) beside them stand for their product.

diffusers itself reads LoRA only with peft, and no wider `conv_in`. Weights are merged when the model is loaded, in
float32, so a merged model costs what its base costs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gas.errors import ModelUnavailable

DESCRIPTION, WEIGHTS = "adapter.json", "adapter.safetensors"
SCALE = ".scale"
_DEEPEST = 4


def find_base(folder: Path) -> tuple[Path, tuple[Path, ...]]:
    """The folder with the parts of the model in `folder`, and the files of the adapters to merge into its UNet, in this
    order. `folder` itself and no files unless it holds an adapter. ModelUnavailable when a base or a file is missing.
    """
    adapters: list[Path] = []
    here = folder
    while (here / DESCRIPTION).exists():
        if len(adapters) == _DEEPEST:
            raise ModelUnavailable(
                f"{folder}: more than {_DEEPEST} adapters rest on each other", f"check base in {here / DESCRIPTION}"
            )
        if not (here / WEIGHTS).is_file():
            raise ModelUnavailable(f"{here}: {WEIGHTS} is missing", "download the model again")
        adapters.insert(0, here / WEIGHTS)
        base = _base_of(here / DESCRIPTION)
        if not (here / base).is_dir():
            raise ModelUnavailable(
                f"{here} changes the model in {base!r}, which is not there", f"put it there, or correct {DESCRIPTION}"
            )
        here = (here / base).resolve()
    return here, tuple(adapters)


def _base_of(description: Path) -> str:
    try:
        base = json.loads(description.read_text())["base"]
    except (ValueError, KeyError, TypeError):
        base = None
    if not isinstance(base, str) or not base:
        raise ModelUnavailable(f"{description} does not name a base", 'write {"base": "FOLDER"}')
    return base


def merge(weights: Mapping[str, Tensor], adapter: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` by name with those of `adapter` in them; gradients reach both. Names that only the adapter has are
    left out: see `adapt`."""
    merged = {}
    for name, weight in weights.items():
        down, up = (adapter.get(one) for one in factors_of(name))
        if down is not None and up is not None:
            merged[name] = weight + (up.flatten(1) @ down.flatten(1)).view_as(weight)
        elif (change := adapter.get(f"{name}.diff")) is not None:
            merged[name] = _widened(weight, change.shape) + change
        else:
            merged[name] = adapter.get(name, weight)
    return merged


def _widened(weight: Tensor, shape: torch.Size) -> Tensor:
    """`weight` with zeros for the channels that one of `shape` takes more."""
    if weight.ndim < 2:
        return weight
    return nn.functional.pad(weight, [0, 0] * (weight.ndim - 2) + [0, shape[1] - weight.shape[1]])


def factors_of(name: str) -> tuple[str, str]:
    """The names of the two factors, A and B, that are added to the weight `name`."""
    module = name.removesuffix(".weight")
    return f"{module}.lora_A.weight", f"{module}.lora_B.weight"


def adapt(unet: Any, adapter: Mapping[str, Tensor], name: str = "the adapter") -> Any:
    """A new UNet2DConditionModel: `unet` with `adapter` merged in, in its dtype and on its device, frozen.

    ModelUnavailable, which calls the adapter `name`, when it was not made for this UNet.
    """
    weights, device, dtype = unet.state_dict(), unet.device, unet.dtype  # diffusers looks for the latter two each time
    factors = {one: weight for weight in weights for one in factors_of(weight) if weight.endswith(".weight")}
    known = {*weights, *factors, *(f"{one}.diff" for one in weights)}
    strange = [key for key in adapter if key not in known]
    half = [key for key in adapter if key in factors and not all(one in adapter for one in factors_of(factors[key]))]
    if not adapter:
        raise ModelUnavailable(f"{name} has no weights", "download the model again")
    if strange or half:
        what = f"has no weight for {strange[0]!r}" if strange else f"finds only one of two factors: {half[0]!r}"
        raise ModelUnavailable(f"{name} does not fit: its base {what}", "use it with the base that it was made for")
    first = next((adapter[key] for key in ("conv_in.weight", "conv_in.weight.diff") if key in adapter), None)
    wide = unet.config.in_channels if first is None else first.shape[1]
    widened = type(unet).from_config(unet.config, in_channels=wide)
    try:
        merged = merge(
            {key: value.float() for key, value in weights.items()},
            {key: value.to(device, torch.float32) for key, value in adapter.items()},
        )
        widened.load_state_dict(merged)
    except RuntimeError as error:
        line = str(error).strip().rpartition("\n")[2].strip()
        raise ModelUnavailable(f"{name} does not fit: {line}", "use it with the base that it was made for") from None
    # not widened.to: diffusers' own warns of layers to keep in float32, of which there are none here
    return nn.Module.to(widened, device, dtype).eval().requires_grad_(False)


def adapt_all(unet: Any, files: tuple[Path, ...]) -> Any:
    """`unet` with the adapters in `files` merged in, one after the other; `unet` itself without any."""
    from safetensors.torch import load_file

    for file in files:
        unet = adapt(unet, unpack(load_file(file)), str(file.parent))
    return unet


def pack(adapter: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`adapter` with matrices and convolutions as integers of 8 bits, each row with a scale of its own, and the rest in
    half precision. What is added to a large weight bears that: a row loses a 250th of its largest value at most."""
    packed = {}
    for name, value in adapter.items():
        if value.ndim < 2:
            packed[name] = value.half()
            continue
        scale = (value.float().flatten(1).abs().amax(1) / 127).clamp(min=1e-7).half().float()
        scale = scale.view(-1, *[1] * (value.ndim - 1))
        packed[name] = (value / scale).round().clamp(-127, 127).to(torch.int8)
        packed[f"{name}{SCALE}"] = scale.half()
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `pack` was given, as nearly as it kept it; other weights stay as they are. ModelUnavailable when a scale is
    missing."""
    adapter = {}
    for name, value in packed.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in packed:
            continue
        if value.dtype == torch.int8:
            scale = packed.get(f"{name}{SCALE}")
            if scale is None:
                raise ModelUnavailable(f"the adapter has no scale for {name!r}", "download the model again")
            value = value.float() * scale.float()
        adapter[name] = value
    return adapter


def write_adapter(folder: Path, adapter: Mapping[str, Tensor], base: str, packed: bool = False) -> int:
    """Size in bytes of `folder`, which then holds `adapter` in half precision, or as `pack` makes it, on `base`, a path
    seen from `folder`. Each file is whole at every moment."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{WEIGHTS}.partial"
    kept = {key: value.detach().cpu() for key, value in adapter.items()}
    kept = pack(kept) if packed else {key: value.half() for key, value in kept.items()}
    save_file({key: value.contiguous() for key, value in kept.items()}, partial)
    os.replace(partial, folder / WEIGHTS)
    partial = folder / f"{DESCRIPTION}.partial"
    partial.write_text(json.dumps({"base": base}) + "\n")
    os.replace(partial, folder / DESCRIPTION)
    for name in (WEIGHTS, DESCRIPTION):
        (folder / name).chmod(0o644)
    return sum((folder / name).stat().st_size for name in (WEIGHTS, DESCRIPTION))
