"""What to do about an error, as data: each way of use words it as its user would type it.

A remedy names what is to be set, given or run; `gas.errors.GasError.remedy` words it for Python, the command line with
its flags, and another front may do so in its own way.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

Value = str | int | float | bool | tuple[str, ...] | None
Drawing = Literal["box", "mask", "masks"]


@dataclass(frozen=True)
class Setting:
    """A setting of a run: the flag `--dtype fp32` of the command line, the argument `dtype="fp32"` in Python.

    `name` is the argument's name. Without a `value` the setting alone is meant. True is a flag that is set, False one
    that is turned off, a tuple (of a name in the plural) a flag that is given several times. `python` says it in
    Python's words where no argument has this name.
    """

    name: str
    value: Value = None
    python: str = ""


@dataclass(frozen=True)
class Option:
    """Options of one backend, by name: `-o steps=60`, in Python `options={"dds": {"steps": 60}}`.

    None stands for a value that the user must know. `backend` may be left out where the code does not know it: the
    registry fills it in when the error leaves a backend (`Remedy.of`).
    """

    values: Mapping[str, Value]
    backend: str | None = None


@dataclass(frozen=True)
class Given:
    """A region drawn by hand, in one of the ways `how`: `--box 'dog=x0,y0,x1,y1'`, in Python `regions=[...]`.

    `phrase` names the thing; empty: any.
    """

    phrase: str = ""
    how: tuple[Drawing, ...] = ("box", "mask", "masks")


@dataclass(frozen=True)
class Command:
    """A command that is typed in a shell, whatever the way of use: `Command("models pull", "sd15")`."""

    name: str
    arguments: tuple[str, ...] = ()

    def __init__(self, name: str, *arguments: str) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "arguments", arguments)


@dataclass(frozen=True)
class Install:
    """A package that pip installs, e.g. `gas-edit[diffusion]`; `upgrade` asks for its newest version."""

    requirement: str
    upgrade: bool = False


Kind = Setting | Option | Given | Command | Install
Part = Kind | str | int | float
Words = Callable[[Kind], str]

_GAP = re.compile(r"\{(\w+)\}")
_EXTRAS = re.compile(r"[\w.-]+\[[\w.,-]+\]")


@dataclass(frozen=True, init=False)
class Remedy:
    """What to do: a sentence with gaps, `{name}`, and what stands in each.

    `code` is the stable name of this advice, for programs; `parts` are the gaps' contents, where text and numbers stand
    for themselves. What is not known when the code is written (a file's name, a service's words) belongs into a part.
    """

    code: str
    template: str
    parts: Mapping[str, Part]

    def __init__(self, code: str, template: str, /, **parts: Part) -> None:
        if code and set(_GAP.findall(template)) != parts.keys():
            raise ValueError(f"remedy {code}: the gaps of {template!r} are not {', '.join(parts) or 'none'}")
        object.__setattr__(self, "code", code)
        object.__setattr__(self, "template", template)
        object.__setattr__(self, "parts", MappingProxyType(parts))

    def worded(self, words: Words) -> str:
        """The sentence with every gap filled; `words` says a `Kind` as its user types it."""

        def fill(gap: re.Match[str]) -> str:
            if gap[1] not in self.parts:
                return gap[0]
            part = self.parts[gap[1]]
            return words(part) if isinstance(part, Kind) else str(part)

        return _GAP.sub(fill, self.template)

    def __str__(self) -> str:
        return self.worded(python_words)

    def of(self, backend: str) -> Remedy:
        """The same where options without a backend belong to `backend`."""
        parts = {
            name: replace(part, backend=backend) if isinstance(part, Option) and part.backend is None else part
            for name, part in self.parts.items()
        }
        return Remedy(self.code, self.template, **parts)

    def with_text(self, change: Callable[[str], str]) -> Remedy:
        """The same with `change` applied to all text that is not a `Kind`, e.g. to hide a secret."""
        parts = {name: change(part) if isinstance(part, str) else part for name, part in self.parts.items()}
        return Remedy(self.code, self.template if self.code else change(self.template), **parts)

    def arguments(self) -> dict[str, Any]:
        """The parts as values of JSON; of a `Kind` its fields, and its class as `kind`."""
        return {
            name: {"kind": type(part).__name__.lower(), **_fields(part)} if isinstance(part, Kind) else part
            for name, part in self.parts.items()
        }


def remedy_from(code: str, template: str, arguments: Mapping[str, Any]) -> Remedy:
    """The remedy whose `code`, `template` and `arguments()` these are: as it came from another process."""
    kinds: dict[str, Callable[..., Kind]] = {
        "setting": Setting,
        "option": Option,
        "given": Given,
        "command": lambda name, arguments: Command(name, *arguments),
        "install": Install,
    }
    parts: dict[str, Part] = {}
    for name, part in arguments.items():
        if not isinstance(part, Mapping):
            parts[name] = part
            continue
        fields = {field: tuple(value) if isinstance(value, list) else value for field, value in part.items()}
        parts[name] = kinds[str(fields.pop("kind"))](**fields)
    return Remedy(code, template, **parts)


def remedy_of(remedy: str | Remedy) -> Remedy:
    """`remedy` itself, or the one that says a plain sentence, whose code is empty."""
    return remedy if isinstance(remedy, Remedy) else Remedy("", remedy)


def python_words(kind: Kind) -> str:
    """`kind` as it is written in a Python program that calls gas."""
    match kind:
        case Setting(name=name, value=value, python=python):
            return python or (name if value is None else f"{name}={_python(value)}")
        case Option(values=values, backend=backend):
            return _python_options(values, backend)
        case Given(phrase=phrase, how=how):
            name = _python(phrase) if phrase else "..."
            first, *more = dict.fromkeys("box=(x0, y0, x1, y1)" if way == "box" else "mask=..." for way in how)
            return f"regions=[gas.Region({name}, {first})]" + "".join(f" or {other}" for other in more)
        case Command() | Install():
            return shell_words(kind)


def shell_words(kind: Command | Install) -> str:
    """What is typed in a shell, whatever the way of use."""
    if isinstance(kind, Command):
        return " ".join(["gas", kind.name, *map(shlex.quote, kind.arguments)])
    plain = _EXTRAS.fullmatch(kind.requirement)  # in double quotes, which every system's shell takes
    requirement = f'"{kind.requirement}"' if plain else shlex.quote(kind.requirement)
    return f"pip install {'-U ' if kind.upgrade else ''}{requirement}"


def _fields(kind: Kind) -> dict[str, Any]:
    if isinstance(kind, Option):  # asdict copies, which a read-only mapping does not allow
        return {"values": dict(kind.values), "backend": kind.backend}
    return asdict(kind)


def _python_options(values: Mapping[str, Value], backend: str | None) -> str:
    if backend is None:
        named = (name if value is None else f"{name}={_python(value)}" for name, value in values.items())
        return f"the option{'s' if len(values) > 1 else ''} {' and '.join(named)}"
    table = ", ".join(
        f"{_python(name)}: {'...' if value is None else _python(value)}" for name, value in values.items()
    )
    return f"options={{{_python(backend)}: {{{table}}}}}"


def _python(value: Value) -> str:
    """`value` as Python writes it, with double quotes where that is possible."""
    text = repr(value)
    if isinstance(value, tuple):
        return f"({', '.join(_python(one) for one in value)}{',' if len(value) == 1 else ''})"
    return f'"{text[1:-1]}"' if text.startswith("'") and '"' not in text and "\\'" not in text else text


# Advice that several places give.

USE_FP32 = Remedy("use_fp32", "try {dtype}, or another model", dtype=Setting("dtype", "fp32"))
USE_BF16 = Remedy("use_bf16", "try {dtype}, or a smaller picture", dtype=Setting("dtype", "bf16"))
USE_CPU = Remedy("use_cpu", "use {device}", device=Setting("device", "cpu"))
OTHER_SEED = Remedy("other_seed_or_fp32", "try another seed, or {dtype}", dtype=Setting("dtype", "fp32"))
GIVE_REGIONS = Remedy("give_regions", "give {regions}", regions=Given())
GIVE_OR_GROUND = Remedy("give_or_ground", "give {regions}, or name a grounder", regions=Given(how=("box", "mask")))


def give_region(phrase: str) -> Remedy:
    """Advice to draw the region of `phrase`."""
    return Remedy("give_region", "give {region}", region=Given(phrase, ("box",)))


def install(requirement: str, *, upgrade: bool = False) -> Remedy:
    """Advice to install a package, or its newest version."""
    return Remedy("upgrade" if upgrade else "install", "{install}", install=Install(requirement, upgrade))
