"""Profiles: a named set of planner, grounders, editor, their options and their models, each a readable TOML file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gas.backends.options import Layer
from gas.errors import ModelUnavailable, PluginBroken, UsageError
from gas.folders import config_folder
from gas.models.manifest import PACKAGE_PREFIX, ModelFiles, package_path
from gas.validation import explain, read_toml, refuse_secrets

Rung = Literal["all", "offload", "lowest"]
ProfileName = Annotated[str, Field(pattern=r"^[a-z0-9]+(?:[-_][a-z0-9]+)*$", max_length=200)]


class Example(BaseModel):
    """A picture to try a profile with, `package:PACKAGE/FILE`, and a request for it. `path` says where it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture: str = Field(pattern=rf"^{PACKAGE_PREFIX}\w+/[\w./-]+$", max_length=2000)
    request: str = Field(min_length=1, max_length=2000)

    @property
    def path(self) -> Path:
        """The picture's file. ModelUnavailable (exit 6) where it is not."""
        package, _, inside = self.picture.removeprefix(PACKAGE_PREFIX).partition("/")
        return package_path(package, inside)


class Profile(BaseModel):
    """A named set of backends, their options and models. `options` maps a backend's name to values of its options.

    What it says of itself decides whether it is used where nobody has chosen a profile (`gas.settings.catalogue`): of
    those whose `models` are all here the one of the highest `rank`. A profile that sends pictures away, or has a model
    that may not be used commercially, has no rank.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: ProfileName
    summary: str = ""
    planner: str = "auto"
    grounders: tuple[str, ...] = ()
    editor: str
    grounded: bool | None = None
    verifier: str = "combined"
    verify: bool | None = None
    tries: int | None = Field(default=None, ge=1, le=10)
    retry_editors: tuple[str, ...] = Field(
        default=(), description="in order: who tries a subtask that the editor did not get done"
    )
    options: Mapping[str, Mapping[str, Any]] = {}
    models: tuple[ModelFiles, ...] = ()
    examples: tuple[Example, ...] = Field(default=(), description="pictures to try it with, for `gas ui`")
    pipelines: tuple[str, ...] = Field(
        default=(), description="diffusers' pipelines whose models its options are for: the default for such a folder"
    )
    memory_gb: Mapping[Rung, float] = Field(
        default={},
        description="GB of the device's memory that it needs by rung, an estimate: weights in 16 bits and room to work",
    )
    rank: int = Field(default=0, ge=0, description="among the profiles that may be the default; 0: it never is")
    photographs: bool = Field(default=False, description="whether it edits photographs of any kind")
    remote: bool = Field(default=False, description="whether its planner, a grounder or its editor sends pictures away")
    accepts: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
        description="module:function that tells quickly whether a picture is of the only kind that it edits",
    )
    refuses: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
        description="module:function that tells quickly that a picture is surely of another kind than its models edit",
    )

    @model_validator(mode="after")
    def _may_have_its_rank(self) -> Profile:
        if self.rank and self.remote:
            raise ValueError("a profile that sends pictures away is never a default: its rank is 0")
        if self.rank and (model := next((model for model in self.models if not model.commercial), None)):
            raise ValueError(f"{model.id} may not be used commercially, so the profile's rank is 0")
        return self

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Profile:
        """The profile in the file `path`, named after it unless it says another name. UsageError names file and key."""
        path = Path(path).expanduser()
        content = read_toml(path)
        refuse_secrets(content, path)
        try:
            return cls.model_validate({"name": path.stem.lower(), **content})
        except ValidationError as error:
            raise UsageError(f"{path}: {explain(error)}", f"keys of a profile: {', '.join(cls.model_fields)}") from None

    @classmethod
    def from_package(cls, package: str, file: str) -> Profile:
        """The profile in `file` inside `package`, which is not imported. PluginBroken when it cannot be read."""
        try:
            return cls.from_toml(package_path(package, file))
        except (UsageError, ModelUnavailable) as error:
            raise PluginBroken(f"profile {package}:{file} cannot be used: {error.message}") from error

    def layer(self, backend: str) -> Layer:
        """The values that this profile gives to the options of `backend`."""
        return Layer(f"profile {self.name}", self.options.get(backend, {}))


def user_profiles() -> dict[str, Path]:
    """The user's own profile files by name: `profiles/*.toml` in the folder of the user's settings."""
    folder = config_folder() / "profiles"
    return {path.stem.lower(): path for path in sorted(folder.glob("*.toml"))}
