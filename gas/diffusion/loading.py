"""What libraries raise for a broken model, in the toolkit's own errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

from gas.errors import ModelUnavailable
from gas.models.quiet import no_bars
from gas.process import loading_models
from gas.remedies import Option, Remedy


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Within it, what diffusers and transformers raise for a broken model `name` is ModelUnavailable (exit 6), and
    their progress bars are quiet."""
    from diffusers.utils import logging as diffusers_logging
    from safetensors import SafetensorError
    from transformers.utils import logging as transformers_logging

    try:
        with loading_models(), no_bars(diffusers_logging, transformers_logging):
            yield
    except UnpicklingError:
        raise ModelUnavailable(
            f"{name}: a weights file holds more than tensors, which could be a program",
            "use a model with .safetensors files",
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelUnavailable(f"{name} cannot be loaded: {first}", "download it again, or name another one") from error


def pipeline_of(folder: Path) -> str:
    """The pipeline that the index of a model's folder in diffusers' layout names; "" without one that can be read."""
    try:
        return str(json.loads((folder / "model_index.json").read_text("utf-8")).get("_class_name", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def has_safetensors(folder: Path, safe: str, pickle: str, name: str, allow_pickle: bool, *, place: str = "it") -> bool:
    """Whether the weights in `folder` are safetensors, in files that begin with `safe`. Errors speak of the model
    `name`, and of the `place` in it.

    ModelUnavailable (exit 6) when there are none, or only `.bin` files (which begin with `pickle`) and those are not
    allowed.
    """
    if any(folder.glob(f"{safe}*.safetensors")):
        return True
    if not any(folder.glob(f"{pickle}*.bin")):
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
