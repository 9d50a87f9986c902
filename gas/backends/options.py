"""Settles the options of a backend from layers of values, and remembers where each value came from."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from gas.errors import PluginBroken, UsageError
from gas.interfaces import Options
from gas.remedies import Command, Option, Remedy, Setting
from gas.validation import explain, nearest, unknown

PRESET = "preset"


@dataclass(frozen=True)
class Layer:
    """Values from one place, e.g. `Layer("gas.toml", {"steps": 200})`. Text is read as the option's type wants it.

    The reserved name `preset` stands for the values of that preset, beneath the layer's other values.
    """

    origin: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Settled:
    """An instance of a backend's Options, the origin of each value ("default" where nobody set it), and its preset."""

    options: Options
    origins: Mapping[str, str]
    preset: str | None


def settle(backend: str, options_type: type[Options], layers: Sequence[Layer]) -> Settled:
    """The options of `backend` from `layers`, of which later ones win over earlier ones and all over the defaults.

    UsageError for an unknown option or preset (with the nearest name) or a value that does not fit. PluginBroken when a
    preset of the backend itself does not fit.
    """
    values: dict[str, Any] = {}
    origins = dict.fromkeys(options_type.model_fields, "default")
    preset = None
    for layer in layers:
        name = layer.values.get(PRESET)
        if name is not None:
            preset = str(name)
            for key, value in preset_values(backend, options_type, preset).items():
                values[key], origins[key] = value, f"preset {preset}"
        for key, value in layer.values.items():
            if key == PRESET:
                continue
            values[key] = _read(backend, options_type, key, value, layer.origin)
            origins[key] = layer.origin
    try:
        return Settled(options_type(**values), origins, preset)
    except ValidationError as error:  # values that fit alone but not together
        raise UsageError(f"options of {backend}: {explain(error)}", _see(backend)) from None


def wrong_options(backend: type[Any]) -> str | None:
    """What is wrong with the options that a backend's class declares; None: nothing."""
    options_type: type[Options] = backend.options_type
    if hasattr(backend, "presets"):
        return f"{backend.__name__}.presets has no effect: presets belong to its options_type"
    if "presets" in options_type.model_fields:
        return f"presets of {options_type.__name__} is a field: write presets: ClassVar = {{…}}"
    try:
        options_type()
    except ValidationError as error:
        return f"{options_type.__name__} cannot be made of its defaults: {explain(error)}"
    presets: Any = options_type.presets
    if not isinstance(presets, Mapping):
        return f"presets of {options_type.__name__} must be a mapping of names to values"
    for name, values in presets.items():
        if not isinstance(name, str) or not isinstance(values, Mapping):
            return f"preset {name!r} of {options_type.__name__} must be a name with a mapping of options to values"
    return None


def preset_values(backend: str, options_type: type[Options], preset: str) -> Mapping[str, Any]:
    """The values that `preset` stands for."""
    if preset not in options_type.presets:
        raise unknown(f"preset of {backend}", preset, options_type.presets)
    values = options_type.presets[preset]
    try:
        options_type(**values)
    except ValidationError as error:
        raise PluginBroken(f"preset {preset!r} of {backend} does not fit its options: {explain(error)}") from None
    return values


def _read(backend: str, options_type: type[Options], name: str, value: Any, origin: str) -> Any:
    """`value` as the type of the option `name`."""
    if name == "model" and name not in options_type.model_fields:
        raise UsageError(
            f"{backend} has no model of its own, and {value!r} was named for it ({origin})",
            Remedy(
                "name_for_model",
                "name an editor that has one, or a profile for models of its kind: {editor}, {profile}; an editor that "
                "hands changes to others takes the model of each: {theirs}",
                profile=Setting("profile"),
                editor=Setting("editor"),
                theirs=Option({"model": value}, "EDITOR"),
            ),
        )
    if name not in options_type.model_fields:
        known = sorted([*options_type.model_fields, *([PRESET] if options_type.presets else [])])
        guess = nearest(name, known)
        raise UsageError(
            f"{backend} has no option {name!r} ({origin})" + (f"; did you mean {guess!r}?" if guess else ""),
            Remedy(
                "know_options",
                "its options: {known}; see: {show}",
                known=", ".join(known) or "none",
                show=_show(backend),
            ),
        )
    adapter = _adapter(options_type, name)
    complaint: ValidationError | None = None
    for candidate in _candidates(value):
        try:
            return adapter.validate_python(candidate)
        except ValidationError as error:
            if complaint is None or (_only_of_its_type(complaint) and not _only_of_its_type(error)):
                complaint = error
    assert complaint is not None
    raise UsageError(f"option {name}={value!r} of {backend} ({origin}): {explain(complaint)}", _see(backend)) from None


def _only_of_its_type(error: ValidationError) -> bool:
    """Whether a candidate could not be read as the option's type, so that the complaint says nothing of its values."""
    return all(one["type"].endswith(("_type", "_parsing", "missing")) for one in error.errors(include_url=False))


def _candidates(value: Any) -> Iterator[Any]:
    """`value`, and when it is text also what it may stand for: JSON (`[100, 700]`, `null`), or a list (`100,700`)."""
    yield value
    if isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):
            yield json.loads(value)
        if value.strip().lower() == "none":
            yield None
        yield [part.strip() for part in value.split(",")] if value.strip() else []


@lru_cache(maxsize=512)
def _adapter(options_type: type[Options], name: str) -> TypeAdapter[Any]:
    info = options_type.model_fields[name]
    annotation: Any = info.annotation
    return TypeAdapter(
        Annotated[(annotation, *info.metadata)] if info.metadata else annotation, config=options_type.model_config
    )


def _see(backend: str) -> Remedy:
    return Remedy("see_options", "see: {show}", show=_show(backend))


def _show(backend: str) -> Command:
    return Command("backends show", backend)
