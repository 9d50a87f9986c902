"""The parts of a model, read by diffusers and transformers: what is wrong with one is the toolkit's own error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from gas.diffusion.memory import memory_named, no_room
from gas.errors import ModelUnavailable
from gas.models.account import check_weights
from gas.models.quiet import no_bars
from gas.process import check_loading, loading_models
from gas.remedies import Option, Remedy

if TYPE_CHECKING:
    import torch

_SHARD = re.compile(r"-\d+-of-\d+")


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Within it, what diffusers and transformers raise for a broken model `name` is ModelUnavailable (exit 6), and
    their progress bars are quiet. Memory that is short is OutOfMemory (exit 7)."""
    from diffusers.utils import logging as diffusers_logging
    from safetensors import SafetensorError
    from transformers.utils import logging as transformers_logging

    libraries = diffusers_logging, transformers_logging
    try:
        with loading_models(), no_bars(*libraries), memory_named(lambda: no_room(name)):
            yield
    except UnpicklingError:
        raise ModelUnavailable(
            f"{name}: a weights file holds more than tensors, which could be a program",
            "use a model with .safetensors files",
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        first = str(error).strip().partition("\n")[0][:300] or type(error).__name__
        raise ModelUnavailable(f"{name} cannot be loaded: {first}", "download it again, or name another one") from error


def load_part(
    kind: Any,
    folder: Path,
    stems: tuple[str, str],
    name: str,
    *,
    part: str = "",
    dtype: torch.dtype,
    variant: str | None = None,
    allow_pickle: bool = False,
    remedy: str = "download it again, or name another one",
    **options: Any,
) -> Any:
    """The network of class `kind`, of diffusers or transformers, in `folder`, in `dtype`, with every weight accounted
    for (`gas.models.account`). To be called within `explained`.

    * stems: how the names of its files begin, of safetensors and of `.bin`, which `allow_pickle` allows.
    * name: what errors call the model; `part`: this part of it ("unet"); `options` go to `from_pretrained`.
    * variant: the middle part of the files' names ("fp16"); a part without such files is read from its plain ones.

    Interrupted (exit 130) when the user has asked to stop.
    """
    check_loading()
    variant = variant if variant in variants(folder, stems) else None
    safe = has_safetensors(folder, *stems, name, allow_pickle, place=part or "it", variant=variant)
    network, report = kind.from_pretrained(
        str(folder),
        local_files_only=True,
        use_safetensors=safe,
        variant=variant,
        dtype=dtype,
        output_loading_info=True,
        **options,
    )
    check_weights(report, name, remedy, part)
    return network


def read_settings(file: Path, name: str) -> dict[str, Any]:
    """The settings in a JSON file of the model `name`. ModelUnavailable (exit 6) when they cannot be read."""
    try:
        settings = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelUnavailable(f"{name}: {file.name} cannot be read: {error}", "download the model again") from None
    if not isinstance(settings, dict):
        raise ModelUnavailable(f"{name}: {file.name} holds no settings", "download the model again")
    return settings


def pipeline_of(folder: Path, name: str) -> str:
    """The pipeline that the index of the model `name`, in diffusers' layout in `folder`, names; "" without an index.
    ModelUnavailable (exit 6) when it cannot be read."""
    index = folder / "model_index.json"
    return str(read_settings(index, name).get("_class_name", "")) if index.exists() else ""


def variants(folder: Path, stems: tuple[str, str]) -> set[str]:
    """The variants of the weights in `folder` whose names begin with one of `stems`: "fp16" of `model.fp16.safetensors`
    and `model-00001-of-00002.fp16.bin`; "" stands for plain files."""
    found = set()
    for stem, ending in zip(stems, (".safetensors", ".bin"), strict=True):
        for file in folder.glob(f"{stem}*{ending}"):
            middle = file.name.removeprefix(stem).removesuffix(ending)
            found.add(_SHARD.sub("", middle).removeprefix("."))
    return found


def check_variant(parts: Mapping[Path, tuple[str, str]], name: str, variant: str | None) -> None:
    """Refuses a `variant` that no part of the model `name` has, and none where some part has nothing else.

    `parts` are the folders of its weights with their `stems` (see `load_part`). ModelUnavailable (exit 6) names the
    variants that are there.
    """
    found = {folder: variants(folder, stems) for folder, stems in parts.items()}
    if variant and not any(variant in ones for ones in found.values()):
        there = sorted({one for ones in found.values() for one in ones if one})
        raise ModelUnavailable(
            f"{name} has no weights of the variant {variant!r}" + (f", but {', '.join(there)}" if there else ""),
            _take_variant(there[0]) if there else Remedy("no_variant", "leave {o} out", o=Option({"variant": None})),
        )
    for folder, ones in found.items():
        if ones and not ones & {"", variant}:
            raise ModelUnavailable(
                f"{name}: {folder.name} has weights of the variant {', '.join(sorted(ones))} only",
                _take_variant(min(ones)),
            )


def _take_variant(variant: str) -> Remedy:
    return Remedy("take_variant", "set {variant}", variant=Option({"variant": variant}))


def has_safetensors(
    folder: Path,
    safe: str,
    pickle: str,
    name: str,
    allow_pickle: bool,
    *,
    place: str = "it",
    variant: str | None = None,
) -> bool:
    """Whether the weights in `folder` are safetensors, in files that begin with `safe`; of `variant`, where one is
    named. Errors name the model `name`, and the `place` in it.

    ModelUnavailable (exit 6) when there are none, or only `.bin` files (which begin with `pickle`) and those are not
    allowed.
    """
    middle = f"*{variant}" if variant else ""
    if any(folder.glob(f"{safe}{middle}*.safetensors")):
        return True
    if not any(folder.glob(f"{pickle}{middle}*.bin")):
        raise ModelUnavailable(f"{name}: there are no weights in {place}", "download the model again")
    if not allow_pickle:
        raise ModelUnavailable(
            f"{name}: {place} has weights as .bin only, a format that can hide programs",
            Remedy(
                "allow_pickle",
                "use a model with .safetensors files, or set {allow} (only tensors are read)",
                allow=Option({"allow_pickle": True}),
            ),
        )
    return False
