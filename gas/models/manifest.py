"""Which files a model needs, and where a model that somebody names is: folder, file, package, hub or cache."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gas.errors import ModelUnavailable, UsageError
from gas.folders import models_folder
from gas.remedies import Command, Remedy

PACKAGE_PREFIX = "package:"


CACHE_PREFIX = "cache:"


_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")


_REVISION = re.compile(r"(?!.*\.\.)[\w./-]{1,100}")


_FILES_OF_WEIGHTS = {".safetensors", ".ckpt", ".gguf"}
_FILE = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")


class ModelFiles(BaseModel):
    """A model that a profile uses: what for, where it comes from, under which licence, and how large it is.

    On the hub (`owner/name`) it is the `files` of a `revision`. A file that is published elsewhere has an `url` and the
    id `cache:NAME`, its name in the toolkit's own folder, and is believed by its `sha256`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str = Field(min_length=1, description="hub id, cache:NAME, folder, or package:PACKAGE/FOLDER")
    use: str = Field(default="", description="what for: editor, grounder grounding-dino, ...")
    revision: str | None = Field(default=None, description="commit of the hub's repository")
    files: tuple[str, ...] = Field(
        default=(),
        description="names of the files that are needed, or patterns; empty: the usual ones",
    )
    url: str | None = Field(default=None, pattern=r"^https://[^\s@]+$", description="where cache:NAME comes from")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$", description="of the file behind `url`")
    licence: str = ""
    commercial: bool = Field(default=True, description="whether its licence allows commercial use")
    gated: bool = Field(default=False, description="whether its licence must be accepted on its page first")
    size_mb: float | None = Field(default=None, gt=0, description="to download, in units of 10^6 bytes")

    @model_validator(mode="after")
    def _fits(self) -> ModelFiles:
        cached = self.id.startswith(CACHE_PREFIX)
        if cached and not _FILE.fullmatch(self.id.removeprefix(CACHE_PREFIX)):
            raise ValueError(f"{self.id!r} is no plain file name after {CACHE_PREFIX}")
        if cached != (self.url is not None):
            raise ValueError(f"an url and an id {CACHE_PREFIX}NAME belong together")
        if cached and (self.revision or self.files):
            raise ValueError("a single file has neither revision nor files")
        if self.sha256 and not cached:
            raise ValueError("sha256 is for the file behind an url; a hub's revision fixes its files")
        return self

    @property
    def model(self) -> str:
        """What an option `model` says to get this one: `id@revision`, or the id alone."""
        return f"{self.id}@{self.revision}" if self.revision else self.id


class ModelSource(NamedTuple):
    """Where a model is: `location` is an absolute local path or a hub id; `revision` is the hub's commit, if pinned."""

    location: str
    revision: str | None
    local: bool


def resolve_model(model: str) -> ModelSource:
    """Where `model` is. It may say

    * `package:gas_diorama/weights/sd`: a folder or file inside an installed Python package (which is not imported);
    * `cache:NAME`: a file that `gas models pull` has put into the toolkit's own folder, after checking it;
    * a path: one that exists, or starts with `/`, `./`, `../` or `~`, or ends as a file of weights does;
    * `owner/name` or `owner/name@revision`: a repository of the Hugging Face hub.

    Nothing is downloaded. ModelUnavailable when a local file is not there; UsageError for what is none of these.
    """
    text = model.strip()
    if text.startswith(PACKAGE_PREFIX):
        package, _, inside = text.removeprefix(PACKAGE_PREFIX).partition("/")
        return ModelSource(str(package_path(package, inside)), None, True)
    if text.startswith(CACHE_PREFIX):
        name = text.removeprefix(CACHE_PREFIX)
        if not _FILE.fullmatch(name):
            raise UsageError(f"{text!r} is malformed", f"write {CACHE_PREFIX}NAME, a plain file name")
        path = models_folder() / name
        if not path.is_file():
            raise ModelUnavailable(
                f"model {text!r} has not been downloaded",
                Remedy(
                    "pull_or_put",
                    "{pull}, or put it into {folder} if {ls} does not list it",
                    pull=Command("models pull", text),
                    ls=Command("models ls"),
                    folder=str(path.parent),
                ),
            )
        return ModelSource(str(path.resolve()), None, True)
    path = Path(text).expanduser()
    named = path.is_absolute() or path.suffix in _FILES_OF_WEIGHTS or re.match(r"\.{1,2}([/\\]|$)|~", text)
    if text and (path.exists() or named):
        if not path.exists():
            raise ModelUnavailable(f"model {model!r} is not there", "check the path")
        return ModelSource(str(path.resolve()), None, True)
    name, at, revision = text.partition("@")
    if not _HUB_ID.fullmatch(name) or (at and not _REVISION.fullmatch(revision)):
        raise UsageError(
            f"model {model!r} is neither a file that exists nor a hub id",
            "give a folder, owner/name, or owner/name@revision",
        )
    return ModelSource(name, revision or None, False)


class Lora(NamedTuple):
    """A LoRA as a user names it: `model` as for `resolve_model`, and the weight that it is merged with."""

    model: str
    weight: float


def lora_of(text: str) -> Lora:
    """The LoRA that `FILE` or `FILE=WEIGHT` names. UsageError (exit 2) for a weight that is none."""
    model, sign, number = text.strip().rpartition("=")
    if not sign:
        return Lora(text.strip(), 1.0)
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not model or not math.isfinite(weight) or abs(weight) > 100:
        raise UsageError(f"LoRA {text!r}: {number!r} is not a weight from -100 to 100", "write FILE or FILE=0.8")
    return Lora(model, weight)


def models_of(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The models that a backend's `options` name, each with its option: those called `model`, or `..._model`, and the
    files of `lora`."""
    found = []
    for option, value in options.items():
        if option == "lora" and isinstance(value, list | tuple):
            found += [(option, lora_of(str(one)).model) for one in value]
        elif isinstance(value, str) and value and (option == "model" or option.endswith("_model")):
            found.append((option, value))
    return found


def package_path(package: str, inside: str) -> Path:
    """The path of a file or folder in an installed package, found without importing the package."""
    parts = inside.split("/")
    if not package.isidentifier() or not inside or any(part in {"", ".", ".."} for part in parts):
        raise UsageError(f"'{PACKAGE_PREFIX}{package}/{inside}' is malformed", "write package:PACKAGE/FOLDER")
    found = find_spec(package)
    for folder in (found.submodule_search_locations or ()) if found else ():
        path = Path(folder, *parts)
        if path.exists():
            return path.resolve()
    missing = f"has no {inside!r}" if found else "is not installed"
    raise ModelUnavailable(f"package {package!r} {missing}", "reinstall it, or name another model")
