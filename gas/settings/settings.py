"""Settings from flags, environment, profile and files, each value with where it came from.

From the highest to the lowest: a flag, a `GAS_*` variable, the profile that one of these names, `gas.toml` in the
current folder, the user's own `config.toml`, the default. A profile that only a file names lies just beneath that file,
so that the file can adjust what it has chosen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gas.backends.options import Layer
from gas.backends.roles import CHOSEN, find_role
from gas.cache.limit import DEFAULT, PATTERN
from gas.errors import InputRefused, ModelUnavailable, UsageError
from gas.folders import config_folder
from gas.placement import MemorySetting
from gas.remedies import Option, Remedy, Setting
from gas.validation import explain, nearest, read_toml, refuse_secrets, shown

if TYPE_CHECKING:
    from gas.backends.profiles import Profile

PROJECT_FILE = "gas.toml"
USER_FILE = "config.toml"
_ADDRESSES = {"url", "host", "endpoint", "server"}


DefaultProfile = Callable[[str | None], tuple[str, str]]
"""Gives the name of the profile where nobody has chosen one, and why: `gas.settings.catalogue.default_profile`. It is
told the model that was chosen, if one was."""

THE_RECORD = "the record"
"""The origin of what a run that is made again takes from its record."""

THE_MANIFEST = "the manifest"
"""The origin of what a row of a batch's manifest says."""


class Values(BaseModel):
    """What can be set, in `gas.toml` and `config.toml` by these names, in the environment as GAS_PROFILE and so on."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    profile: str | None = Field(
        default=None, min_length=1, description="a profile's name, or the path of its TOML file"
    )
    planner: str | None = Field(default=None, min_length=1)
    grounders: tuple[str, ...] | None = Field(default=None, description="in order; GAS_GROUNDERS: with commas, or none")
    editor: str | None = Field(default=None, min_length=1)
    verifier: str | None = Field(default=None, min_length=1)
    device: str | None = Field(
        default=None,
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="where networks run: auto, cpu (slower, needs no GPU memory), mps, cuda or cuda:N",
        examples=["auto", "cpu", "cuda", "mps"],
    )
    dtype: Literal["auto", "fp32", "fp16", "bf16"] | None = Field(
        default=None, title="number format", description="of networks: bf16 and fp16 take half the memory of fp32"
    )
    memory: MemorySetting | None = Field(
        default=None,
        title="networks on the device",
        description="all, offload (one at a time), lowest (one layer at a time, slow), or auto: by what is free",
    )
    seed: int | None = Field(default=None, ge=0, lt=2**31)
    model: str | None = Field(default=None, min_length=1, description="option `model` of the editor: folder or hub id")
    lora: tuple[str, ...] | None = Field(
        default=None, description="option `lora` of the editor: FILE or FILE=WEIGHT; GAS_LORA: with commas, or none"
    )
    offline: bool | None = Field(default=None, description="whether to stay off the network")
    grow: float | None = Field(
        default=None, ge=0, le=2, description="share of its size by which a found thing gets room to change its shape"
    )
    grounded: bool | None = Field(default=None, description="whether each subtask's edit is confined to its own region")
    detail: str | None = Field(
        default=None,
        min_length=1,
        description="who draws large places finer, after they were edited at the model's resolution: tiles, or off",
    )
    verify: bool | None = Field(default=None, description="whether it is verified that each subtask is done")
    tries: int | None = Field(default=None, ge=1, le=10, description="how often a subtask is tried that is not done")
    budget: str | None = Field(
        default=None,
        pattern=r"^\d{1,9}(\.\d{1,6})?\s*(s|rows)$",
        description="after how many seconds or network rows of an edit nothing is tried again: 60s, 500rows",
    )
    retry_editors: tuple[str, ...] | None = Field(
        default=None, description="who tries what is not done, in order; GAS_RETRY_EDITORS: with commas, or none"
    )
    cache: bool | None = Field(
        default=None, description="whether stages are kept on disk, and reused where all they depend on is the same"
    )
    cache_size: str | None = Field(
        default=None, pattern=PATTERN, description="how large what is kept may become: 500MB, 2GB"
    )
    options: Mapping[str, Mapping[str, Any]] = Field(
        default={}, description="a table of option values for each backend"
    )


_LISTS = {role.setting for role in CHOSEN if role.several} | {"retry_editors", "lora"}
OFF = "off"
"""The setting `detail` where nobody draws finer what was edited."""
_DEFAULTS = Values(
    device="auto",
    dtype="auto",
    memory="auto",
    offline=False,
    grow=0.15,
    grounded=False,
    detail=OFF,
    verify=False,
    tries=1,
    retry_editors=(),
    cache=False,
    cache_size=DEFAULT,
)
_OF_A_PERSON = _DEFAULTS.model_copy(update={"cache": True})
"""A program that a person runs keeps copies of pictures on disk; another program does so when it is told."""


@dataclass(frozen=True)
class _Source:
    """One layer: `name(key)` says where its value of `key` came from. `shared`: it may be somebody else's file; `own`:
    the user said it, and not a profile or the default."""

    name: Callable[[str], str]
    values: Values
    shared: bool = False
    own: bool = True


class Settings:
    """The settings that hold, and `origin(name)`, which says where each came from."""

    def __init__(
        self,
        sources: list[_Source],
        find_profile: Callable[[str], Profile],
        default_profile: DefaultProfile | None = None,
        row: Mapping[str, Any] | None = None,
    ) -> None:
        user = len(sources)
        if row is not None:
            sources = [*sources, _from_row(row)]
        chooser = max((i for i, source in enumerate(sources) if source.values.profile is not None), default=0)
        if (named := sources[chooser].values.profile) is not None:
            chosen, self._profile_origin = named, sources[chooser].name("profile")
        elif default_profile is not None:
            chosen, self._profile_origin = default_profile(
                next((one.values.model for one in reversed(sources) if one.values.model is not None), None)
            )
        else:
            raise UsageError("no profile is chosen", Remedy("name_profile", "name {one}", one=Setting("profile")))
        try:
            self.profile = find_profile(chosen)
        except UsageError as error:
            if self._profile_origin != THE_RECORD:
                raise
            raise ModelUnavailable(
                f"the record names the profile {shown(chosen)}, which is not known here",
                Remedy(
                    "strange_profile",
                    "install the plugin that has it, or make the edit again with {profile}",
                    profile=Setting("profile"),
                ),
            ) from error
        if sources[chooser].shared and chosen.endswith(".toml"):
            _refuse_addresses({"options": self.profile.options}, Path(chosen))
        from_profile = _Source(
            lambda _: f"profile {self.profile.name}",
            Values(
                **{role.setting: getattr(self.profile, role.setting) for role in CHOSEN},
                grounded=self.profile.grounded,
                verify=self.profile.verify,
                tries=self.profile.tries,
                retry_editors=self.profile.retry_editors or None,
                options=self.profile.options,
            ),
            own=False,
        )
        # Named by a flag or variable it lies beneath both, and above the files; named by a file beneath that file;
        # named by a manifest beneath the flags.
        place = max(min(chooser, user - 2), 1) if chooser < user else user - 1
        self._sources = [*sources[:place], from_profile, *sources[place:]]
        values = self._values = {name: self._highest(name)[0] for name in Values.model_fields if name != "options"}
        self.planner: str = values["planner"]
        self.grounders: tuple[str, ...] = values["grounders"]
        self.editor: str = values["editor"]
        self.device: str = values["device"]
        self.dtype: Literal["auto", "fp32", "fp16", "bf16"] = values["dtype"]
        self.memory: MemorySetting = values["memory"]
        self.seed: int | None = values["seed"]
        self.model: str | None = values["model"]
        self.lora: tuple[str, ...] | None = values["lora"]
        self.offline: bool = values["offline"]
        self.grow: float = values["grow"]
        self.grounded: bool = values["grounded"]
        self.detail: str = values["detail"]
        self.verifier: str = values["verifier"]
        self.verify: bool = values["verify"]
        self.tries: int = values["tries"]
        self.budget: str | None = values["budget"]
        self.retry_editors: tuple[str, ...] = values["retry_editors"]
        self.cache: bool = values["cache"]
        self.cache_size: str = values["cache_size"]

    @classmethod
    def of(
        cls,
        flags: Mapping[str, Any],
        *,
        find_profile: Callable[[str], Profile],
        default_profile: DefaultProfile | None = None,
        recorded: Mapping[str, Any] | None = None,
        row: Mapping[str, Any] | None = None,
    ) -> Settings:
        """The settings that `flags` alone make, as for a Python program: neither environment nor files are read.

        `row` is what one row of a manifest says. It lies above all else, and is not the user's own word either: with an
        address of a service, or a profile by its path, it is refused (InputRefused, exit 3).
        `recorded` are those of a run that is to be made again; they lie beneath the flags. A record may come from
        anybody: it is not the user's own word (`said_by_user`), and addresses of services in it are left out.
        """
        given = _check({k: v for k, v in flags.items() if v is not None}, str)
        sources = [_Source(lambda _: "default", _DEFAULTS, own=False), _Source(str, given)]
        if recorded is not None:
            then = _check({k: v for k, v in recorded.items() if v is not None}, lambda _: THE_RECORD)
            then = then.model_copy(update={"options": _without_addresses(then.options)})
            sources.insert(1, _Source(lambda _: THE_RECORD, then, shared=True, own=False))
        return cls(sources, find_profile, default_profile, row)

    @classmethod
    def load(
        cls,
        flags: Mapping[str, Any],
        *,
        find_profile: Callable[[str], Profile],
        environ: Mapping[str, str] = os.environ,
        folder: Path | None = None,
        default_profile: DefaultProfile | None = None,
        written: Callable[[str], str] = str,
        row: Mapping[str, Any] | None = None,
    ) -> Settings:
        """The settings for a run in `folder` (default: the current one); `flags` that are None were not given.

        `find_profile` gives the profile of a name, as `Registry.profile` does. Where nobody chose a profile
        `default_profile` is asked (without it one must be chosen). `written` says how the user wrote the
        setting of a name, for `origin` and errors. `row` as in `of`. UsageError names the file and its line, the
        variable or the flag that is wrong.
        """
        return cls(
            [
                _Source(lambda _: "default", _OF_A_PERSON, own=False),
                _from_file(config_folder(environ) / USER_FILE),
                _from_file((folder or Path.cwd()) / PROJECT_FILE, shared=True),
                _from_environment(environ),
                _Source(written, _check({k: v for k, v in flags.items() if v is not None}, written)),
            ],
            find_profile,
            default_profile,
            row,
        )

    def with_editor(self, name: str) -> Settings:
        """The same for the editor `name`, each subtask confined to its own region. For another editor than before the
        settings `model` and `lora` are gone, and whether the user chose it is whether he chose `retry_editors`."""
        made = copy(self)
        if name == self.editor:
            origin, own = self.origin("editor"), self.said_by_user("editor")
            made._sources = [*self._sources, _Source(lambda _: origin, Values(editor=name, grounded=True), own=own)]
            made._values, made.grounded = {**self._values, "grounded": True}, True
            return made
        without = [
            replace(one, values=one.values.model_copy(update={"model": None, "lora": None})) for one in self._sources
        ]
        origin, own = self.origin("retry_editors"), self.said_by_user("retry_editors")
        made._sources = [*without, _Source(lambda _: origin, Values(editor=name, grounded=True), own=own)]
        made._values = {**self._values, "editor": name, "grounded": True, "model": None, "lora": None}
        made.editor, made.grounded, made.model, made.lora = name, True, None, None
        return made

    def origin(self, name: str) -> str:
        """Where the setting `name` came from: a flag, a variable, a profile, a file's path, or "default"."""
        return self._profile_origin if name == "profile" else self._highest(name)[1]

    @property
    def profile_is_default(self) -> bool:
        """Whether nobody has chosen the profile."""
        return self._values["profile"] is None

    def said_by_user(self, name: str) -> bool:
        """Whether the user set `name`, by a flag, a variable or the own settings file: no profile, no folder's file."""
        for source in reversed(self._sources):
            if getattr(source.values, name) is not None:
                return source.own and not source.shared
        return False

    def option_layers(self, role: str, backend: str, *, model: bool = True) -> list[Layer]:
        """The values that are set for the options of `backend`, lowest layer first, for `Registry.create(below=...)`.

        For an editor the settings `model` and `lora` are its options of these names, beneath the other options of the
        same layer; not where `model` is False.
        """
        takes_model = find_role(role).takes_model and model
        layers = []
        for source in self._sources:
            named: dict[str, dict[str, Any]] = {}  # a file has one name for all of its values, each flag its own
            options = source.values.options.get(backend, {})
            for setting in ("model", "lora") if takes_model else ():
                if setting not in options and (given := getattr(source.values, setting)) is not None:
                    named.setdefault(source.name(setting), {})[setting] = given
            if options:
                named.setdefault(source.name("options"), {}).update(options)
            layers += [Layer(name, values) for name, values in named.items()]
        return layers

    def spoken(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The settings but options, in two parts that make the same again in another process: what the user said, for
        `flags` of `of`, and the rest, for its `recorded`."""
        chosen = self._values["profile"] or self.profile.name
        said: dict[str, Any] = {"profile": str(Path(chosen).absolute()) if chosen.endswith(".toml") else chosen}
        rest: dict[str, Any] = {}
        for name, value in self._values.items():
            if name != "profile" and value is not None:
                (said if self.said_by_user(name) else rest)[name] = value
        return said, rest

    def describe(self) -> list[tuple[str, Any, str]]:
        """All settings as (name, value, origin)."""
        named = {**self._values, "profile": self.profile.name}
        return [(name, value, self.origin(name)) for name, value in named.items()]

    def _highest(self, name: str) -> tuple[Any, str]:
        for source in reversed(self._sources):
            value = getattr(source.values, name)
            if value is not None:
                return value, source.name(name)
        return None, "default"


def environment_typos(environ: Mapping[str, str] = os.environ) -> list[str]:
    """A sentence for each GAS_ variable that is no setting but nearly has the name of one."""
    known = {_variable(name) for name in Values.model_fields} | {"GAS_HOME", "GAS_PLUGINS", "GAS_CACHE_FOLDER"}
    suspects = sorted(name for name in environ if name.startswith("GAS_") and name not in known)
    # Without the prefix, in which all are alike.
    shorter = {name.removeprefix("GAS_") for name in known}
    guesses = {name: nearest(name.removeprefix("GAS_"), shorter) for name in suspects}
    return [f"{name} is no setting; did you mean GAS_{guess}?" for name, guess in guesses.items() if guess]


def _from_file(path: Path, *, shared: bool = False) -> _Source:
    """The values in the file `path`, if it is there. A `shared` one may have come with somebody else's folder."""
    if not path.exists():
        return _Source(lambda _: str(path), Values())
    content = read_toml(path)
    refuse_secrets(content, path)
    if shared:
        _refuse_addresses(content, path)
    return _Source(lambda _: str(path), _check(content, lambda _: str(path)), shared)


def _refuse_addresses(content: Mapping[str, Any], path: Path) -> None:
    """A folder from somebody else must not send the user's key and pictures to a service of its own choice."""
    tables = content.get("options")
    for backend, values in tables.items() if isinstance(tables, Mapping) else ():
        for name in values if isinstance(values, Mapping) else ():
            if _is_address(name):
                raise UsageError(
                    f"{path}: options.{backend}.{name} is the address of a service, which a folder may not choose",
                    Remedy(
                        "address_by_hand",
                        "set it in {file}, or with {option}",
                        file=str(config_folder() / USER_FILE),
                        option=Option({name: None}, backend),
                    ),
                )


def _from_row(row: Mapping[str, Any]) -> _Source:
    """The values of a row of a manifest, which may come from anybody."""
    for backend, values in row.get("options", {}).items():
        for name in values:
            if _is_address(name):
                raise InputRefused(
                    f"options.{backend}.{name} is the address of a service, which a manifest may not choose",
                    Remedy("address_by_flag", "take it out, and give {option}", option=Option({name: None}, backend)),
                )
    if str(row.get("profile", "")).endswith(".toml"):
        raise InputRefused(
            f"{shown(row['profile'])} is a profile by its path, which a manifest may not choose",
            Remedy("profile_by_flag", "take it out, and give {profile}", profile=Setting("profile")),
        )
    return _Source(lambda _: THE_MANIFEST, _check(row, lambda _: THE_MANIFEST), shared=True, own=False)


def _without_addresses(options: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """`options` without those that say where a service is."""
    return {
        backend: {name: value for name, value in values.items() if not _is_address(name)}
        for backend, values in options.items()
    }


def _is_address(option: str) -> bool:
    return bool(_ADDRESSES & set(option.lower().split("_")))


def _from_environment(environ: Mapping[str, str]) -> _Source:
    given: dict[str, Any] = {}
    names: dict[str, str] = {}
    if text := environ.get("HF_HUB_OFFLINE"):
        given["offline"], names["offline"] = text, "HF_HUB_OFFLINE"
    for name in Values.model_fields:
        text = environ.get(_variable(name), "")
        if name == "options" or not text.strip():
            continue
        names[name] = _variable(name)
        given[name] = _names(text) if name in _LISTS else text.strip()
    return _Source(lambda name: names.get(name, _variable(name)), _check(given, lambda name: names.get(name, name)))


def _names(text: str) -> list[str]:
    return [] if text.strip().lower() == "none" else [name.strip() for name in text.split(",") if name.strip()]


def _check(given: Mapping[str, Any], source: Callable[[str], str]) -> Values:
    for name in given:
        if name not in Values.model_fields:
            guess = nearest(name, Values.model_fields)
            raise UsageError(
                f"{source(name)}: unknown setting {name!r}" + (f"; did you mean {guess!r}?" if guess else ""),
                f"settings: {', '.join(Values.model_fields)}",
            )
    try:
        return Values.model_validate(dict(given))
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise UsageError(f"{source(name)}: {explain(error)}", "correct or remove it") from None


def _variable(name: str) -> str:
    return f"GAS_{name.upper()}"
