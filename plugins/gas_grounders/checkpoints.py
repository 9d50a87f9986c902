"""Checkpoint files of the `.pt`/`.pth` kind: tensors and plain values only, never what could run."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from gas.errors import ModelUnavailable
from gas.models.manifest import resolve_model


def read_tensors(model: str) -> Any:
    """What is in the file `model` (a path or package:PACKAGE/FILE), on the CPU, read with `weights_only=True`.

    ModelUnavailable (exit 6) when it is not a local file, is damaged, or holds anything but tensors and plain values:
    such a file could run a program while it is read.
    """
    source = resolve_model(model)
    path = Path(source.location)
    if not source.local or not path.is_file():
        raise ModelUnavailable(f"checkpoint {model!r} is not a file", "give the path of a .pth file")
    return unpickled(path, model)


def unpickled(path: Path, name: str) -> Any:
    """What is in the file at `path`, as `read_tensors`; `name` is what errors call it."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise ModelUnavailable(
            f"{name} holds more than tensors, which could be a program, and was not read",
            "use the file that its authors publish, or a model with .safetensors files",
        ) from None
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelUnavailable(f"{name} cannot be read: {first}", "download it again") from None
