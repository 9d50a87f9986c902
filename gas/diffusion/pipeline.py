"""Whole pipelines of diffusers, from a folder in its layout: for editors that call one as it is."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas.diffusion.loading import explained, load_part, pipeline_of, read_settings
from gas.diffusion.lora import merge_loras
from gas.diffusion.memory import memory_named, no_room, refuse_too_large, sizes_of_parts
from gas.errors import ModelUnavailable
from gas.models.account import check_vocabulary
from gas.models.hub import local_files
from gas.models.manifest import lora_of
from gas.remedies import Install, Remedy

if TYPE_CHECKING:
    from gas.runtime import Runtime

INDEX = "model_index.json"
_LIBRARIES = ("diffusers", "transformers")
_AGAIN = "download it again, or name another one"
_LEFT_OUT = ("safety_checker", "feature_extractor", "image_encoder")  # of adapters, and of what makes a picture black
_STEMS = {
    "diffusers": ("diffusion_pytorch_model", "diffusion_pytorch_model"),
    "transformers": ("model", "pytorch_model"),
}


def model_folder(model: str) -> Path:
    """The local folder of `model`, as `resolve_model` reads it. ModelUnavailable (exit 6) for what is not here, and for
    a single file, which no pipeline is read from."""
    folder = local_files(model)
    if not folder.is_dir():
        raise ModelUnavailable(
            f"{model} is a single file, and a pipeline needs the model's other parts too",
            "name a folder in diffusers' layout, or OWNER/NAME of the hub",
        )
    return folder


def named_pipeline(model: str) -> str:
    """The class of diffusers that the index of `model` names. ModelUnavailable (exit 6) when there is none."""
    named = pipeline_of(model_folder(model), model)
    if not named:
        raise ModelUnavailable(
            f"{model} has no {INDEX}, which says what kind of model it is",
            "name a folder in diffusers' layout, or OWNER/NAME of the hub",
        )
    return named


def load_pipeline(
    model: str,
    runtime: Runtime,
    name: str,
    *,
    may_lack: Collection[str] = (),
    variant: str | None = None,
    allow_pickle: bool = False,
    loras: Sequence[str] = (),
) -> Any:
    """The pipeline of diffusers' class `name` with the frozen parts of `model`, shared in `runtime`, and placed as its
    setting `memory` says (`gas.placement`); `loras` are merged into it (`gas.diffusion.lora`).

    Its parts are those of the class's constructor; `may_lack` are those that an index may leave empty. Only classes of
    diffusers and transformers are made, and every weight is accounted for. ModelUnavailable (exit 6): not here, no such
    pipeline in the installed diffusers, a part that is missing or broken, a LoRA that does not fit; OutOfResources
    (exit 7): it does not fit into memory.
    """
    device, dtype = runtime.torch_device(), runtime.torch_dtype()

    def load() -> Any:
        kind = pipeline_class(name)
        folder = model_folder(model)
        refuse_too_large(sizes_of_parts(folder, dtype, dtype), model)
        index = read_settings(folder / INDEX, model)
        with explained(model):
            wanted = _wanted(kind, index, model, may_lack)
            parts = {
                part: _part(folder / part, part, how, model, dtype, variant, allow_pickle)
                for part, how in wanted.items()
            }
            pipeline = kind(**_all_parts(kind, parts, index))
        pipeline.set_progress_bar_config(disable=True)
        merge_loras(pipeline, loras, model, {one: local_files(lora_of(one).model) for one in loras})
        with memory_named(lambda: no_room(model)):
            runtime.place(pipeline, model)
        return pipeline

    return runtime.shared(("pipeline", model, name, variant, allow_pickle, tuple(loras), str(device), dtype), load)


def pipeline_class(name: str) -> Any:
    """diffusers' class `name`. ModelUnavailable (exit 6) where the installed diffusers has none."""
    import diffusers

    kind = getattr(diffusers, name, None)
    if not (inspect.isclass(kind) and issubclass(kind, diffusers.DiffusionPipeline)):
        raise ModelUnavailable(
            f"the installed diffusers {diffusers.__version__} has no {name}",
            _upgrade(),
        )
    return kind


def _upgrade() -> Remedy:
    return Remedy("upgrade_diffusers", "upgrade it: {install}", install=Install("gas-edit[diffusion]", upgrade=True))


def _wanted(kind: Any, index: Mapping[str, Any], model: str, may_lack: Collection[str]) -> dict[str, tuple[str, str]]:
    """Library and class of each part that is to be loaded, by its name."""
    found = {}
    for part, parameter in inspect.signature(kind.__init__).parameters.items():
        how = index.get(part)
        if part in _LEFT_OUT or part == "self" or not (parameter.default is inspect.Parameter.empty or how):
            continue
        if how is not None and _is_setting(how):
            continue
        if not how or how[0] is None:
            if part in may_lack or parameter.default is not inspect.Parameter.empty:
                continue
            raise ModelUnavailable(
                f"{model} has no {part.replace('_', ' ')}, which a {kind.__name__} needs ({INDEX} names none)", _AGAIN
            )
        if len(how) != 2 or how[0] not in _LIBRARIES or not isinstance(how[1], str):
            raise ModelUnavailable(
                f"{model}: its {part} is of {'.'.join(map(str, how))[:100]!r}, and only classes of diffusers and "
                "transformers are used",
                "name another model",
            )
        found[part] = (how[0], how[1])
    return found


def _is_setting(value: Any) -> bool:
    """Whether what an index says of a name is the pipeline's own, and not library and class of a part."""
    numbers = isinstance(value, list) and bool(value) and all(isinstance(one, int | float) for one in value)
    return numbers or not isinstance(value, list)


def _part(
    folder: Path, part: str, how: tuple[str, str], model: str, dtype: Any, variant: str | None, allow_pickle: bool
) -> Any:
    """One part of the model, loaded."""
    import diffusers
    import transformers

    library, name = how
    kind: Any = getattr(diffusers if library == "diffusers" else transformers, name, None)
    if not inspect.isclass(kind):
        raise ModelUnavailable(f"{model}: the installed {library} has no {name}, its {part}", _upgrade())
    if not folder.is_dir():
        raise ModelUnavailable(f"{model} has no folder {part}, where its {part.replace('_', ' ')} is", _AGAIN)
    networks: Any = (diffusers.ModelMixin, transformers.PreTrainedModel)
    if issubclass(kind, networks):
        network = load_part(
            kind,
            folder,
            _STEMS[library],
            model,
            part=part,
            dtype=dtype,
            variant=variant,
            allow_pickle=allow_pickle,
        )
        return network.eval().requires_grad_(False)
    reader: Any = kind
    made = reader.from_pretrained(str(folder), local_files_only=True)
    words = getattr(made, "tokenizer", made)
    if isinstance(words, transformers.PreTrainedTokenizerBase):
        check_vocabulary(words, model)
    return made


def _all_parts(kind: Any, parts: Mapping[str, Any], index: Mapping[str, Any]) -> dict[str, Any]:
    """What the constructor is given: the `parts`, the index's own settings, nothing for what was left out."""
    made: dict[str, Any] = {}
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        if name in parts:
            made[name] = parts[name]
        elif name == "requires_safety_checker":
            made[name] = False
        elif name in index and _is_setting(index[name]):
            made[name] = index[name]
        elif name != "self" and parameter.default is inspect.Parameter.empty:
            made[name] = None
    return made
