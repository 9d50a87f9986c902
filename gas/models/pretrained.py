"""Networks of transformers from a folder or the hub's cache: safetensors first, errors with a remedy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from gas.errors import ModelUnavailable
from gas.models.account import check_weights
from gas.models.hub import require_snapshot
from gas.models.manifest import resolve_model
from gas.models.quiet import no_bars
from gas.process import loading_models

if TYPE_CHECKING:
    import torch


def model_folder(
    model: str, *, config: str | tuple[str, ...] | None, weights: bool = True, allow_pickle: bool = False
) -> Path:
    """The local folder of `model`, as `resolve_model` reads it; a hub id must be in the hub's cache.

    `config` is the `model_type` (or several) that its `config.json` must have ("owlv2"); None takes any. Without
    `weights` none are needed; `.bin` weights (of which only tensors are read) are enough with `allow_pickle`.
    ModelUnavailable (exit 6): missing, not in the cache, of another kind.
    """
    source = resolve_model(model)
    folder = Path(source.location) if source.local else require_snapshot(source)
    if config is not None:
        _check_kind(folder, model, config)
    if weights:
        _check_weights(folder, model, allow_pickle)
    return folder


def load_network(
    kind: Any,
    folder: Path,
    name: str,
    device: torch.device,
    dtype: torch.dtype | None = None,
    *,
    unused: tuple[str, ...] = (),
) -> Any:
    """The frozen network of class `kind` in `folder`, in `dtype` (else fp32) on `device`; errors call it `name`.
    `unused` is how the names of weights begin that the file may have too many of.

    ModelUnavailable (exit 6) when it cannot be read, or when its file does not fill it exactly
    (`gas.models.account`): transformers would only say so in its log.
    """
    import torch

    with loading(name):
        network, report = kind.from_pretrained(
            str(folder),
            local_files_only=True,
            use_safetensors=bool(_weights(folder, "safetensors")),
            dtype=dtype or torch.float32,
            output_loading_info=True,
        )
    check_weights(report, name, f"name a model that was saved as {kind.__name__}", unused=unused)
    return network.to(device).eval().requires_grad_(False)


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Within it, what libraries raise for a broken model is ModelUnavailable; bars as in `no_bars`."""
    from safetensors import SafetensorError
    from transformers.utils import logging

    with loading_models(), no_bars(logging):
        try:
            yield
        except UnpicklingError:
            raise ModelUnavailable(
                f"{name}: its weights file holds more than tensors, which could be a program",
                "use the file that its authors publish, or a model with .safetensors files",
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
            first = str(error).strip().partition("\n")[0][:300] or type(error).__name__
            raise ModelUnavailable(
                f"{name} cannot be loaded: {first}", "download it again, or name another one"
            ) from error


def _weights(folder: Path, ending: str) -> list[Path]:
    stem = "pytorch_model" if ending == "bin" else "model"
    return sorted(folder.glob(f"{stem}*.{ending}"))


def _check_kind(folder: Path, name: str, config: str | tuple[str, ...]) -> None:
    kinds = (config,) if isinstance(config, str) else config
    wanted = " or ".join(kinds)
    file = folder / "config.json"
    try:
        settings = json.loads(file.read_text("utf-8"))
        found = str(settings.get("model_type"))
    except (OSError, ValueError, AttributeError):
        raise ModelUnavailable(
            f"{name} is not a model of transformers: no readable config.json in it",
            f"name a hub id or a folder of the kind {wanted}",
        ) from None
    if found not in kinds:
        raise ModelUnavailable(f"{name} is of the kind {found!r}, not {wanted}", f"name a model of the kind {wanted}")


def _check_weights(folder: Path, name: str, allow_pickle: bool) -> None:
    if _weights(folder, "safetensors") or (allow_pickle and _weights(folder, "bin")):
        return
    if _weights(folder, "bin"):
        raise ModelUnavailable(
            f"{name} has weights as .bin only, a format that can hide programs", "use a model with .safetensors files"
        )
    raise ModelUnavailable(f"{name} has no weights (model.safetensors)", "download the model again")
