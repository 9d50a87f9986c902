"""Models of the Hugging Face hub, as local folders in its cache. Nothing is downloaded here: see `downloads`."""

from __future__ import annotations

from pathlib import Path

from gas.errors import ModelUnavailable
from gas.models import cache
from gas.models.manifest import ModelFiles, ModelSource, resolve_model
from gas.remedies import Command, Remedy


def local_files(model: str) -> Path:
    """The folder, or single file, on this machine that `model` means, as `resolve_model` reads it. Errors as there, and
    as `require_snapshot`."""
    source = resolve_model(model)
    return Path(source.location) if source.local else require_snapshot(source)


def require_snapshot(source: ModelSource) -> Path:
    """The folder of a hub repository in the hub's cache. ModelUnavailable (exit 6) when it is not there, and how to get
    it: a model of gigabytes comes only when it was asked for by name."""
    files = ModelFiles(id=source.location, revision=source.revision)
    folder = cache.snapshot(files)
    if folder is None:
        raise ModelUnavailable(
            f"model {files.model!r} has not been downloaded",
            Remedy(
                "pull_first",
                "{pull}, or name a local folder",
                pull=Command("models pull", files.model),
            ),
        )
    return folder
