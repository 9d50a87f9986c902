"""What can be chosen in Settings: backends with their state, and a backend's options as the fields of a form."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gas.backends.roles import CHOSEN, EDITORS, PROFILES, VERIFIERS, find_role
from gas.errors import GasError
from gas.notes import plain
from gas.settings.catalogue import profile_names
from gas.settings.settings import Values

if TYPE_CHECKING:
    from gas.backends.registry import Registry
    from gas.interfaces import Options
    from gas.run.session import Session


def choices(registry: Registry) -> dict[str, Any]:
    """The backends of every role that is chosen, third parties' too, and the profiles; what is broken beside them."""
    found: dict[str, Any] = {
        role.setting: [
            {
                "name": entry.spec.name,
                "summary": plain(entry.spec.summary),
                "ready": not entry.missing,
                "install": entry.install if entry.missing else None,
                "from": None if entry.plugin.builtin else f"{entry.plugin.distribution} {entry.plugin.version}".strip(),
                "licence": entry.spec.licence,
            }
            for entry in registry.entries(role.plural)
        ]
        for role in CHOSEN
    }
    summaries = {entry.spec.name: plain(entry.spec.summary) for entry in registry.entries(PROFILES.plural)}
    found["profile"] = [
        {"name": name, "summary": summaries.get(name, "your own"), "ready": True} for name in profile_names(registry)
    ]
    found["broken"] = [plain(str(fault)) for fault in registry.broken]
    return found


OF_THE_EDITOR = {"model", "lora"}
"""The settings that are options of the editor, and stand in its form."""
ELSEWHERE = OF_THE_EDITOR | {"profile", "seed", "grounded", "verify", "tries", "retry_editors", "options"}
"""The settings with a place of their own on the page, beside the roles' own."""
NO_FLAGS = {"offline", "cache_size"}
"""What `gas edit` has no flag of its own for."""


def settings_form(session: Session, flags: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The other settings as fields, from the schema of `Values`: whatever `gas.toml` may say can be said here. `value`
    is what holds, `chosen` what was chosen on the page."""
    schema = Values.model_json_schema()
    settings = session.settings
    held = {name: (value, origin) for name, value, origin in settings.describe()}
    fields = []
    for name, info in Values.model_fields.items():
        if name in ELSEWHERE | NO_FLAGS or name in {role.setting for role in CHOSEN}:
            continue
        value, origin = held[name]
        described = schema["properties"][name]
        # Its examples are all that is usual; what else may be typed is for the command line.
        usual = {"kind": "choice", "choices": described["examples"]} if "examples" in described else {}
        fields.append(
            {
                "name": name,
                "title": described.get("title", name),
                "description": plain(info.description or ""),
                "value": typed(value),
                "default": typed(value),
                "chosen": typed(flags[name]) if name in flags else None,
                "origin": origin,
                **_kind(described, schema.get("$defs", {})),
                **usual,
                "optional": False,
            }
        )
    return fields


def in_use(session: Session) -> dict[str, list[str]]:
    """For each role, by its name, the backends whose options count: the chosen ones and those that they ask."""
    settings = session.settings
    used = {role.name: list(role.names(settings)) for role in CHOSEN}
    with contextlib.suppress(GasError):
        used[EDITORS.name] += session.helpers()
    if settings.tries > 1:
        used[EDITORS.name] += settings.retry_editors
    with contextlib.suppress(GasError):
        used[VERIFIERS.name] += session.verifiers()
    return {role: list(dict.fromkeys(names)) for role, names in used.items()}


def form(session: Session, role: str, name: str) -> dict[str, Any]:
    """The options of a backend as fields, from the schema of its own Options: kind, limits, default, the value that
    holds and where it came from; and its presets. Errors as `Registry.load`."""
    plural = next(one.plural for one in CHOSEN if one.setting == role or one.name == role)
    find_role(plural)
    options_type = session.registry.load(plural, name).options_type
    settled = session.settled(plural, name)
    schema = options_type.model_json_schema()
    values = settled.options.model_dump(mode="json")
    return {
        "role": role,
        "name": name,
        "presets": list(options_type.presets),
        "preset": settled.preset,
        "fields": [
            {
                "name": field,
                "description": plain(info.description or ""),
                "value": typed(values[field]),
                "default": typed(_default(options_type, field)),
                "origin": settled.origins[field],
                **_kind(schema["properties"].get(field, {}), schema.get("$defs", {})),
            }
            for field, info in options_type.model_fields.items()
        ],
    }


def typed(value: Any) -> str:
    """An option's value as it is typed into a field, and after `-o name=`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple) and not any(isinstance(one, list | tuple | dict) for one in value):
        return ",".join(map(typed, value))
    return value if isinstance(value, str) else json.dumps(value)


def _default(options_type: type[Options], field: str) -> Any:
    value = options_type.model_fields[field].get_default(call_default_factory=True)
    return options_type.model_construct(**{field: value}).model_dump(mode="json", warnings=False, include={field})[
        field
    ]


def _kind(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The kind of a field: "flag", "whole", "number", "choice" with its values, "list" or "text", with limits."""
    if "$ref" in schema:
        return _kind(definitions.get(schema["$ref"].rpartition("/")[2], {}), definitions)
    parts = [part for key in ("anyOf", "oneOf", "allOf") for part in schema.get(key, ())]
    if parts:
        kinds = [_kind(part, definitions) for part in parts if part.get("type") != "null"]
        optional = len(kinds) < len(parts)
        return {**kinds[0], "optional": optional} if len(kinds) == 1 else {"kind": "text", "optional": optional}
    if "enum" in schema or "const" in schema:
        return {"kind": "choice", "choices": [typed(one) for one in schema.get("enum", [schema.get("const")])]}
    named = {"boolean": "flag", "integer": "whole", "number": "number", "array": "list"}
    kind = named.get(str(schema.get("type")), "text")
    limits = {"exclusiveMinimum": "above", "minimum": "least", "exclusiveMaximum": "below", "maximum": "most"}
    return {"kind": kind, **{word: schema[key] for key, word in limits.items() if key in schema}}
