"""Users' LoRAs (Hu et al. 2021, arXiv 2106.09685): small files that change a model, merged into it when it is loaded.

diffusers reads them, also under the names that other programs write, and peft merges them. Both are asked only when a
LoRA is named; diffusers imports peft by itself wherever it is installed, so it is an extra of its own.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from gas.diffusion.loading import explained
from gas.errors import ModelUnavailable
from gas.models.headers import shapes
from gas.models.manifest import lora_of
from gas.process import check_loading
from gas.remedies import Remedy, Setting, install

_BY_NAMES = (
    ("double_blocks", "FLUX.1"),
    ("single_transformer_blocks", "FLUX.1"),
    ("joint_blocks", "Stable Diffusion 3"),
    ("attn.add_k_proj", "Stable Diffusion 3"),
)
_BY_SIDE = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "Stable Diffusion XL"}
# What a prompt's embeddings enter, in diffusers' names and in those of other programs; and a LoRA's first factor.
_ENTRANCES, _FIRST = ("attn2.to_k", "attn2_to_k"), ("lora_A", "lora_down", "lora.down")
_LAYER = re.compile(r"(.+?)[._]lora[._]")


def as_pipeline(kind: str, networks: Mapping[str, Any]) -> Any:
    """diffusers' pipeline of the class `kind` with these networks, by the names of their folders, and nothing else: to
    be changed, not to be called."""
    import diffusers

    made = getattr(diffusers, kind)
    wanted = inspect.signature(made.__init__).parameters
    parts = {
        name: networks.get(name)
        for name, one in wanted.items()
        if name in networks or (name != "self" and one.default is inspect.Parameter.empty)
    }
    quiet = {"requires_safety_checker": False} if "requires_safety_checker" in wanted else {}
    return made(**parts, **quiet)


def merge_loras(pipeline: Any, loras: Sequence[str], name: str, places: Mapping[str, Path]) -> None:
    """Merges LoRAs into the networks of a pipeline of diffusers, one after the other; they stay frozen, and cost what
    they cost before. To be called before it is placed.

    * loras: `FILE` or `FILE=WEIGHT` each; `places`: the file, or folder with one, of each on this machine.
    * name: what errors call the model.

    ModelUnavailable (exit 6): peft is missing; a file that is no LoRA, cannot be read, or was made for another model.
    """
    if not loras:
        return
    if not hasattr(pipeline, "load_lora_weights"):
        raise ModelUnavailable(f"{name} is a {type(pipeline).__name__}, which takes no LoRA", _OTHER_LORA)
    files = [_file_of(places[text], text) for text in loras]
    for file in files:
        _check_family(file, pipeline, name)
    if find_spec("peft") is None:
        raise ModelUnavailable("LoRAs need the Python package peft, which is missing", install("gas-edit[lora]"))
    for text, file in zip(loras, files, strict=True):
        check_loading()
        _merge(file, lora_of(text).weight, pipeline, name)


_OTHER_LORA = Remedy("other_lora", "leave {lora} out, or name the model that it was made for", lora=Setting("lora"))


def family_of_lora(found: Mapping[str, tuple[int, ...]]) -> tuple[str, int | None]:
    """The family that a LoRA was made for, by the names and shapes of its weights, "" where they do not say; and how
    many numbers of a prompt's embedding it takes, where there is one for a UNet."""
    for part, family in _BY_NAMES:
        if any(part in name for name in found):
            return family, None
    for name, shape in found.items():
        if any(one in name for one in _ENTRANCES) and any(one in name for one in _FIRST) and len(shape) > 1:
            return _BY_SIDE.get(shape[1], ""), shape[1]
    return "", None


def _file_of(place: Path, text: str) -> Path:
    """The file of safetensors at `place`. ModelUnavailable unless there is exactly one, with a LoRA in it."""
    files = sorted(place.glob("*.safetensors")) if place.is_dir() else [place]
    if len(files) != 1:
        raise ModelUnavailable(
            f"LoRA {text}: there are {len(files)} files of safetensors in it, not one", "name the file itself"
        )
    if files[0].suffix != ".safetensors":
        raise ModelUnavailable(f"LoRA {text} is not a .safetensors file", "take its .safetensors file")
    if not any("lora" in key.lower() for key in shapes(files[0])):
        raise ModelUnavailable(f"{files[0].name} holds no LoRA", _OTHER_LORA)
    return files[0]


def _check_family(file: Path, pipeline: Any, name: str) -> None:
    """ModelUnavailable where the file's weights say that it was made for another family than the pipeline's."""
    family, side = family_of_lora(shapes(file))
    unet = getattr(pipeline, "unet", None)
    if side is None and (not family or unet is None):
        return
    own = None if unet is None else unet.config.cross_attention_dim
    if side is not None and side == own:
        return
    what = f"is a LoRA for {family}" if family else f"is a LoRA for prompts of {side} numbers"
    takes = f", which takes prompts of {own} numbers" if side is not None and own is not None else ""
    raise ModelUnavailable(f"{file.name} {what}, not for {name}{takes}", _OTHER_LORA)


def _merge(file: Path, weight: float, pipeline: Any, name: str) -> None:
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    levels = [one.get_verbosity() for one in libraries]
    how: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
    unet = getattr(pipeline, "unet", None)
    sizes = {} if unet is None else {"unet_config": unet.config}
    try:
        for one in libraries:
            one.set_verbosity(one.CRITICAL)  # they list every weight that the file does not change
        with explained(f"LoRA {file.name}"), _fitting(file, name):
            read = type(pipeline).lora_state_dict(str(file), **how, **sizes)
            before = {place: type(module) for place, module in _modules(pipeline)}
            pipeline.load_lora_weights(str(file), adapter_name="lora", **how)
            changed = [place for place, module in _modules(pipeline) if before.get(place) is not type(module)]
            taken = [place for place in changed if ".lora_" not in place and ".base_layer" not in place]
            _check_all_taken(read[0] if isinstance(read, tuple) else read, taken, file)
            pipeline.fuse_lora(components=_components(pipeline), lora_scale=weight, adapter_names=["lora"])
            pipeline.unload_lora_weights()
    finally:
        for one, level in zip(libraries, levels, strict=True):
            one.set_verbosity(level)
    for place in _components(pipeline):
        getattr(pipeline, place).eval().requires_grad_(False)


@contextmanager
def _fitting(file: Path, name: str) -> Iterator[None]:
    """Within it, what diffusers and peft raise for weights of other shapes or names is ModelUnavailable."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        line = str(error).strip().rpartition("\n")[2].strip()[:300]
        raise ModelUnavailable(f"{file.name} does not fit {name}: {line}", _OTHER_LORA) from None


def _check_all_taken(weights: Mapping[str, Any], taken: Sequence[str], file: Path) -> None:
    """ModelUnavailable unless as many layers were changed as the LoRA has: those that the model has no place for
    diffusers leaves out, with a line in its log."""
    asked = {found[1] for key in weights if (found := _LAYER.match(key))}
    if not asked or len(taken) < len(asked):
        raise ModelUnavailable(
            f"{file.name} does not fit: the model has a place for {len(taken)} of its {len(asked)} layers", _OTHER_LORA
        )


def _modules(pipeline: Any) -> list[tuple[str, Any]]:
    """Every module of the pipeline's networks that take a LoRA, with its name."""
    return [
        (f"{place}.{name}", module)
        for place in _components(pipeline)
        for name, module in getattr(pipeline, place).named_modules()
    ]


def _components(pipeline: Any) -> list[str]:
    """The names of the pipeline's networks that take a LoRA."""
    return [one for one in pipeline._lora_loadable_modules if getattr(pipeline, one, None) is not None]
