"""What kind of model is in a folder, by its own settings: no network and no library is needed for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gas.errors import GasError
from gas.models.cache import snapshot
from gas.models.headers import architecture, shapes
from gas.models.manifest import ModelFiles, resolve_model

_BY_TRANSFORMER = {"SD3Transformer2DModel": "StableDiffusion3Pipeline", "FluxTransformer2DModel": "FluxPipeline"}
_BY_CHANNELS = {4: "StableDiffusionPipeline", 8: "StableDiffusionInstructPix2PixPipeline"}
_BY_NAMES: tuple[tuple[str, str | None], ...] = (  # of weights, in a single file: how they begin
    ("conditioner.embedders.0.model.", None),  # SDXL's refiner
    ("conditioner.embedders.", "StableDiffusionXLPipeline"),
    ("model.diffusion_model.double_blocks.", "FluxPipeline"),
    ("double_blocks.", "FluxPipeline"),
    ("model.diffusion_model.joint_blocks.", "StableDiffusion3Pipeline"),
    ("cond_stage_model.model.", None),  # Stable Diffusion 2.x
)
_BY_ARCHITECTURE = {"flux": "FluxPipeline"}  # of a GGUF file
_RESTS_ON = {"adapter.json": "base", "model_index.json": "_base"}
_FIRST_WEIGHT = "model.diffusion_model.input_blocks.0.0.weight"


def pipeline_of(model: str) -> str | None:
    """The pipeline of diffusers that the model `model` is for, such as "StableDiffusionPipeline".

    That is what its `model_index.json` says; without one it is told by the network's settings; of a single file
    `pipeline_of_file` tells. None for what is not here, is of no kind that is known, or cannot be read.
    """
    try:
        source = resolve_model(model)
    except GasError:
        return None
    files = ModelFiles(id=source.location, revision=source.revision)
    folder = Path(source.location) if source.local else snapshot(files)
    if folder is None:
        return None
    if folder.is_file():
        return pipeline_of_file(folder)
    named = _settings(folder / "model_index.json").get("_class_name")
    if isinstance(named, str) and named.isidentifier():
        return named
    transformer = _settings(folder / "transformer" / "config.json").get("_class_name")
    if isinstance(transformer, str):
        return _BY_TRANSFORMER.get(transformer)
    unet = _settings(folder / "unet" / "config.json")
    if unet.get("addition_embed_type") == "text_time":
        return "StableDiffusionXLPipeline" if unet.get("in_channels") == 4 else None
    if unet.get("attention_type", "default") != "default":
        return None
    channels = unet.get("in_channels")
    return _BY_CHANNELS.get(channels) if isinstance(channels, int) else None


def pipeline_of_file(file: Path) -> str | None:
    """The pipeline of diffusers that a model in one file is for, in the layout that it was first published in, by the
    names of its weights; None where none is known. Of a `.ckpt` nothing is looked at: it counts as Stable Diffusion
    1.x, the only model that is read from one; a GGUF file says itself what it is."""
    if file.suffix == ".ckpt":
        return _BY_CHANNELS[4]
    if file.suffix == ".gguf":
        return _BY_ARCHITECTURE.get(architecture(file))
    found = shapes(file)
    for prefix, pipeline in _BY_NAMES:
        if any(name.startswith(prefix) for name in found):
            return pipeline
    first = found.get(_FIRST_WEIGHT, ())
    return _BY_CHANNELS.get(first[1]) if len(first) > 1 else None


def folders_of(folder: Path) -> list[Path]:
    """`folder`, and the folders of other models that the one in it rests on, in whatever is there: the base of an
    adapter (`gas.diffusion.adapters`), and where an index has its other parts (`gas.diffusion.model_folder`)."""
    found = [folder.resolve()]
    for here in found:
        for file, field in _RESTS_ON.items():
            base = _settings(here / file).get(field)
            if isinstance(base, str) and (there := (here / base).resolve()).is_dir() and there not in found:
                found.append(there)
    return found


def _settings(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
