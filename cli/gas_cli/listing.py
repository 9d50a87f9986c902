"""`gas backends` and `gas backends show`: what is installed, what is broken, what is known but needs something."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gas.backends.registry import Registered, Registry
from gas.backends.roles import PLURALS, PROFILES, find_role
from gas.errors import ModelUnavailable
from gas.validation import unknown
from gas_cli.output import output_console, people, print_json, print_table

if TYPE_CHECKING:
    from gas.interfaces import Options
    from gas.settings.settings import Settings


def backends_data(registry: Registry, role: str | None = None) -> dict[str, Any]:
    """The backends of `role` (None: of all roles) and everything that is wrong with plugins, as plain JSON values."""
    entries = [entry for each in ([role] if role else PLURALS) for entry in registry.entries(each)]
    return {"backends": [_entry(entry) for entry in entries], "broken": [asdict(fault) for fault in registry.broken]}


def print_backends(registry: Registry, role: str | None = None, *, as_json: bool = False) -> None:
    """Prints the backends to standard output, and below them what is broken to standard error."""
    data = backends_data(registry, role)
    if as_json:
        print_json("backends", data)
        return
    for each in PLURALS:
        rows = [entry for entry in data["backends"] if entry["role"] == each]
        if rows:
            print_table(each, ("name", "state", "summary", "licence"), [_row(entry) for entry in rows])
        elif role == each:
            people().print(f"no {each} are installed")
    console = people()
    for fault in registry.broken:
        console.print("[red]broken:[/] ", end="")
        console.print(str(fault), markup=False, soft_wrap=True)


def show_data(registry: Registry, name: str, settings: Settings) -> list[dict[str, Any]]:
    """Everything about the backends called `name`, one for each role that has one, as plain JSON values.

    Options come with type, default, the value that holds under `settings`, and that value's origin.
    """
    found = [entry for role in PLURALS for entry in registry.entries(role) if entry.spec.name == name]
    if not found:
        for role in PLURALS:
            if any((fault.role, fault.name) == (role, name) for fault in registry.broken):
                registry.find(role, name)  # raises PluginBroken with the reason
        known = [entry.spec.name for role in PLURALS for entry in registry.entries(role)]
        raise unknown("backend", name, known, "see: gas backends")
    return [_details(registry, entry, settings) for entry in found]


def print_show(registry: Registry, name: str, settings: Settings, *, as_json: bool = False) -> None:
    """Prints one backend with its options, presets, licences and origin to standard output."""
    data = show_data(registry, name, settings)
    if as_json:
        print_json("backends show", data)
        return
    for entry in data:
        _print_details(entry)


def _entry(entry: Registered) -> dict[str, Any]:
    return {
        "role": entry.role,
        **asdict(entry.spec),
        "distribution": entry.plugin.distribution,
        "version": entry.plugin.version,
        "builtin": entry.plugin.builtin,
        "missing": entry.missing,
        "install": entry.install,
    }


def _row(entry: dict[str, Any]) -> tuple[str, str, str, str]:
    state = f"needs: {entry['install']}" if entry["missing"] else "ready"
    source = "" if entry["builtin"] else f" ({entry['distribution']} {entry['version']})".rstrip()
    licences = [entry["licence"] or "", f"weights: {entry['weights']}" if entry["weights"] else ""]
    return entry["name"], state, entry["summary"] + source, ", ".join(filter(None, licences))


def _details(registry: Registry, entry: Registered, settings: Settings) -> dict[str, Any]:
    data = _entry(entry)
    if entry.role == PROFILES.plural:
        profile = registry.profile(entry.spec.name)
        return {**data, "profile": profile.model_dump(mode="json")}
    name = entry.spec.name
    try:
        options_type = registry.load(entry.role, name).options_type
    except ModelUnavailable:
        if not entry.missing:
            raise
        return {**data, "options": None, "preset": None, "presets": {}}
    settled = registry.settle(entry.role, name, {}, settings.option_layers(entry.role, name))
    values = settled.options.model_dump(mode="json")
    defaults = {key: field.get_default(call_default_factory=True) for key, field in options_type.model_fields.items()}
    plain = options_type.model_construct(**defaults).model_dump(mode="json", warnings=False)
    options = [
        {
            "name": key,
            "type": option_type(options_type, key),
            "default": plain[key],
            "value": values[key],
            "origin": settled.origins[key],
            "description": options_type.model_fields[key].description or "",
        }
        for key in options_type.model_fields
    ]
    presets = {preset: dict(chosen) for preset, chosen in options_type.presets.items()}
    return {**data, "options": options, "preset": settled.preset, "presets": presets}


def option_type(options_type: type[Options], name: str) -> str:
    """An option's type and limits, for people: `number > 0`, `one of mean, sum`."""
    schema = options_type.model_json_schema()
    return _schema_type(schema["properties"].get(name, {}), schema.get("$defs", {}))


def _schema_type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _schema_type(definitions.get(schema["$ref"].rpartition("/")[2], {}), definitions)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_schema_type(part, definitions) for part in schema[key]))
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    kind = str(schema.get("type", "any"))
    if kind == "array":
        parts = schema.get("prefixItems")
        if parts:
            return "(" + ", ".join(_schema_type(part, definitions) for part in parts) + ")"
        return f"list of {_schema_type(schema.get('items', {}), definitions)}"
    limits = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    words = {"null": "none", "string": "text", "boolean": "true or false", "object": "table"}
    shown = [f"{sign} {schema[key]:g}" for key, sign in limits.items() if key in schema]
    return " ".join([words.get(kind, kind), *shown])


def _print_details(entry: dict[str, Any]) -> None:
    console = output_console(soft_wrap=True, markup=False)
    console.print(f"{entry['name']} ({find_role(entry['role']).name}): {entry['summary']}")
    console.print(f"from {entry['distribution']} {entry['version']}, {entry['target']}")
    for label in ("licence", "weights"):
        if entry[label]:
            console.print(f"{label}: {entry[label]}")
    if entry["missing"]:
        console.print(f"missing: {', '.join(entry['missing'])}; {entry['install']}")
    if "profile" in entry:
        import json

        for key, value in entry["profile"].items():
            if key not in {"name", "summary"}:
                console.print(f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
        return
    if entry["options"] is None:
        console.print("its options can be listed once that is installed")
        return
    rows = [
        (o["name"], o["type"], shown(o["value"]), shown(o["default"]), o["origin"], o["description"])
        for o in entry["options"]
    ]
    if rows:
        print_table("options", ("-o name", "type", "value", "default", "value from", "meaning"), rows)
    for preset, values in entry["presets"].items():
        console.print(f"-o preset={preset}: " + ", ".join(f"{k}={shown(v)}" for k, v in values.items()))


def shown(value: Any) -> str:
    """An option's value as it is typed after `-o name=`."""
    if isinstance(value, list | tuple):
        return ",".join(map(shown, value))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
