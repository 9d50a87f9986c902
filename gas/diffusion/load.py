"""Which family a model belongs to, and the model loaded: the only place that names families."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gas.diffusion.adapters import find_base
from gas.diffusion.backbone import Backbone, ModelKind
from gas.diffusion.loading import pipeline_of, read_settings
from gas.diffusion.lora import as_pipeline, merge_loras
from gas.diffusion.memory import memory_named, no_room, refuse_too_large, sizes_of_parts
from gas.diffusion.quantised import Quantised
from gas.diffusion.quantised import quantise as make_quantised
from gas.errors import ModelUnavailable
from gas.models.hub import local_files
from gas.models.kind import pipeline_of_file
from gas.models.manifest import lora_of
from gas.remedies import Option, Remedy, Setting

if TYPE_CHECKING:
    from gas.runtime import Runtime


@dataclass(frozen=True)
class Family:
    """Models that one class reads.

    * pipelines: the pipelines that diffusers names in `model_index.json` for them.
    * folders: what such a model's folder has where it has no `model_index.json`, or one that names another pipeline.
      The first family whose folders are all there reads it, so a family with more of them comes before one with fewer.
    * network: the class of the network in the first of `folders`; "" where any may be there.
    * target: `module:Class` of a `Backbone` with the class method `from_folder(folder, device, dtype, *, home, name,
      kind, variant, allow_pickle)`, which raises ModelUnavailable for what it cannot use.
    * single_file: whether `folder` may be a single file too, in the layout that the model was first published in.
    * takes_parts: whether such a file holds the network alone; `from_folder` then takes `parts`, a folder with the
      rest.
    """

    name: str
    pipelines: tuple[str, ...]
    folders: tuple[str, ...]
    target: str
    network: str = ""
    single_file: bool = False
    takes_parts: bool = False

    def lies_in(self, folder: Path) -> bool:
        """Whether `folder` has its folders, and its network in the first of them."""
        if not all((folder / one).is_dir() for one in self.folders):
            return False
        file = folder / self.folders[0] / "config.json"
        return not self.network or (file.exists() and read_settings(file, "").get("_class_name") == self.network)

    def load_class(self) -> Any:
        """The class."""
        module, _, name = self.target.partition(":")
        return getattr(import_module(module), name)


FAMILIES: tuple[Family, ...] = (
    Family(
        "Stable Diffusion XL",
        ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"),
        ("unet", "text_encoder_2"),
        "gas.diffusion.stable_diffusion_xl:StableDiffusionXL",
        single_file=True,
    ),
    Family(
        "Stable Diffusion 3",
        ("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline"),
        ("transformer",),
        "gas.diffusion.stable_diffusion_3:StableDiffusion3",
        "SD3Transformer2DModel",
    ),
    Family(
        "FLUX.1",
        ("FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline"),
        ("transformer",),
        "gas.diffusion.flux:Flux",
        "FluxTransformer2DModel",
        single_file=True,
        takes_parts=True,
    ),
    Family(
        "Stable Diffusion 1.x and 2.x",
        ("StableDiffusionPipeline", "StableDiffusionInstructPix2PixPipeline", "StableDiffusionGLIGENPipeline"),
        ("unet",),
        "gas.diffusion.stable_diffusion:StableDiffusion",
        single_file=True,
    ),
)


def load_backbone(
    model: str,
    runtime: Runtime,
    *,
    kind: ModelKind = "text-to-image",
    variant: str | None = None,
    allow_pickle: bool = False,
    parts: str | None = None,
    loras: Sequence[str] = (),
    quantise: Quantised | None = None,
) -> Backbone:
    """The model that `resolve_model` understands, shared in `runtime`; a hub id must be in the hub's cache.

    Weights are safetensors; `.bin` and `.ckpt` are read (tensors only) with `allow_pickle`. `variant` is the middle
    part of the weights' file names ("fp16"); `parts` names the model that the rest comes from where `model` is a single
    file with the network alone (FLUX.1); `loras` are merged into it (`gas.diffusion.lora`); `quantise`
    gives it weights of fewer bits (`gas.diffusion.quantised`). Its networks are placed as the runtime's setting
    `memory` says (`gas.placement`).

    ModelUnavailable (exit 6): missing, not in the cache, of no family that is known, or not of that `kind`; a LoRA that
    does not fit. OutOfResources (exit 7): it does not fit into memory.
    """
    device, dtype = runtime.torch_device(), runtime.torch_dtype()

    def load() -> Backbone:
        folder, rest = local_files(model), None if parts is None else local_files(parts)
        if folder.suffix == ".gguf" and (loras or quantise):
            raise ModelUnavailable(
                f"{model} has weights of fewer bits already, which take no {'LoRA' if loras else 'int8'}",
                Remedy("plain_weights", "name the model with its own weights, or leave {o} out", o=_asked(loras)),
            )
        places = {one: local_files(lora_of(one).model) for one in loras}  # before gigabytes are read
        sizes = sizes_of_parts(find_base(folder)[0], dtype)
        # Which rung it takes with fewer bits is known when it has them.
        rung = runtime.choose_rung(sizes, model) if quantise is None else None
        home = device if rung == "all" else torch.device("cpu")
        refuse_too_large(sizes, model, together=home.type == "cpu")
        backbone = backbone_from_folder(
            folder,
            device,
            dtype,
            home=home,
            name=model,
            kind=kind,
            variant=variant,
            allow_pickle=allow_pickle,
            parts=rest,
        )
        if loras:
            kind_of_pipeline = family_of(folder, model).pipelines[0]
            merge_loras(as_pipeline(kind_of_pipeline, backbone.networks()), loras, model, places)
        networks = backbone.networks()
        if quantise is not None:
            make_quantised(networks, model)
        with memory_named(lambda: no_room(model)):
            if rung is None:
                runtime.place(networks, model)
            else:
                runtime.place_at(networks, rung, model)
        return backbone

    return runtime.shared(
        ("backbone", model, kind, variant, allow_pickle, parts, tuple(loras), quantise, str(device), dtype), load
    )


def _asked(loras: Sequence[str]) -> Setting | Option:
    return Setting("lora") if loras else Option({"quantise": None})


def backbone_from_folder(
    folder: Path | str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    home: torch.device | None = None,
    name: str | None = None,
    kind: ModelKind = "text-to-image",
    variant: str | None = None,
    allow_pickle: bool = False,
    parts: Path | None = None,
) -> Backbone:
    """The model in a local folder of diffusers' layout, of an adapter on one (`gas.diffusion.adapters`), or in a single
    file (`gas.diffusion.single_file`), frozen. `name` is what errors call it; `home` is where its networks are put
    (default: on `device`, where they work); the rest as in `load_backbone`."""
    folder, name = Path(folder), name or str(folder)
    family = family_of(folder, name)
    beside: dict[str, Any] = {}  # a file of no kind that is known has its reader say so, whatever is beside it
    if family.takes_parts and folder.is_file():
        beside["parts"] = parts
    elif parts is not None and (folder.is_dir() or pipeline_of_file(folder) is not None):
        raise ModelUnavailable(
            f"{name} has all its parts itself, so none are taken from {parts}",
            Remedy("no_parts", "leave {o} out", o=Option({"parts_model": None})),
        )
    backbone: Backbone = family.load_class().from_folder(
        folder,
        torch.device(device),
        dtype,
        home=home,
        name=name,
        kind=kind,
        variant=variant,
        allow_pickle=allow_pickle,
        **beside,
    )
    return backbone


def family_of(folder: Path, name: str) -> Family:
    """The family of the model in `folder`, which errors call `name`. ModelUnavailable (exit 6) when none reads it."""
    if folder.is_file():
        readers = [family for family in FAMILIES if family.single_file]
        pipeline = pipeline_of_file(folder)
        # The last one says itself what a file is that none of them reads.
        return next((family for family in readers if pipeline in family.pipelines), readers[-1])
    base, _ = find_base(folder)
    pipeline = pipeline_of(base, name)
    named = [family for family in FAMILIES if pipeline in family.pipelines]
    laid_out = [] if named else [family for family in FAMILIES if family.lies_in(base)]
    for family in (*named, *laid_out):
        return family
    what = f"is a {pipeline}" if pipeline else "is not a model in diffusers' layout"
    raise ModelUnavailable(f"{name} {what}, which no family here reads", f"name a model of {_listed(FAMILIES)}")


def _listed(families: Sequence[Family]) -> str:
    return ", ".join(family.name for family in families)
