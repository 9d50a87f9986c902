"""What a plugin registers: specs that name classes as strings, and what was found of a plugin."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

GROUP = "gas"


API_VERSION = 1
"""The version of what backends are given and give back; a new one is what an older backend cannot be used with."""


OWN_DISTRIBUTION = "gas-edit"


_NAME = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")


_TARGET = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<attribute>[A-Za-z_]\w*|[\w./-]+\.toml)")


@dataclass(frozen=True)
class BackendSpec:
    """Names a backend without importing it.

    * `name`: what users type to choose it: lower-case letters, digits, `-` and `_`;
    * `target`: `"module:Class"`; for a profile `"package:file.toml"`;
    * `summary`: one line for the listing;
    * `extra`: the extra of its distribution that installs what it needs, as in `pip install "gas-edit[openai]"`;
    * `licence`, `weights`: licences of code and of weights where they differ from the distribution's; for the listing;
    * `api`: the version of the interface that it was written for (`API_VERSION`); one of another version is listed as
      broken and not used.

    Raises ValueError or TypeError for what cannot be used.
    """

    name: str
    target: str
    summary: str
    extra: str | None = None
    licence: str | None = None
    weights: str | None = None
    api: int = 1

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "api":
                if type(value) is not int or value < 1:
                    raise TypeError(f"api of a BackendSpec must be a whole number of 1 or more, not {value!r}")
                continue
            optional = f.name in {"extra", "licence", "weights"}
            if not isinstance(value, str) and not (optional and value is None):
                raise TypeError(f"{f.name} of a BackendSpec must be text, not {value!r}")
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"backend name {self.name!r} must be lower-case letters, digits, '-' and '_'")
        if not _TARGET.fullmatch(self.target):
            raise ValueError(f"target {self.target!r} of {self.name!r} must be 'module:Class' or 'package:file.toml'")

    @property
    def module(self) -> str:
        """The module, or package, of the target."""
        return self.target.partition(":")[0]

    @property
    def attribute(self) -> str:
        """The class, or file, of the target."""
        return self.target.partition(":")[2]


@dataclass(frozen=True)
class BrokenPlugin:
    """Something wrong with a plugin. `role` and `name` say which backend cannot be used, where it is a single one."""

    distribution: str
    version: str
    plugin: str
    reason: str
    role: str | None = None
    name: str | None = None

    def __str__(self) -> str:
        which = f"{self.role} {self.name!r}: " if self.name else ""
        origin = f"{self.distribution} {self.version}".rstrip()
        return f"plugin {self.plugin!r} of {origin}: {which}{self.reason}"


@dataclass(frozen=True)
class Plugin:
    """An entry point of the group `gas`: the module that it names, and the distribution that it came with."""

    name: str
    module: str
    distribution: str
    version: str

    @property
    def builtin(self) -> bool:
        return self.distribution == OWN_DISTRIBUTION

    def broken(self, reason: str, role: str | None = None, name: str | None = None) -> BrokenPlugin:
        return BrokenPlugin(self.distribution, self.version, self.name, reason, role, name)


@dataclass(frozen=True)
class Contents:
    """What a plugin registers, by role, and what is wrong with it."""

    plugin: Plugin
    specs: tuple[tuple[str, BackendSpec], ...] = ()
    broken: tuple[BrokenPlugin, ...] = ()
