"""Settings, options and regions as they are typed on the command line: for its own words, for records, and for whoever
shows the command that does the same."""

from __future__ import annotations

import shlex

from gas.backends.roles import CHOSEN
from gas.remedies import Command, Given, Install, Kind, Option, Setting, Value, shell_words

_DRAWN = {"box": "x0,y0,x1,y1", "mask": "FILE"}


def flag_words(kind: Kind) -> str:
    """`kind` as it is typed on the command line, quoted for a shell."""
    match kind:
        case Setting(name=name, value=value):
            return _setting("retry-editor" if name == "retry_editors" else name.replace("_", "-"), value)
        case Option(values=values, backend=backend):
            owner = f"{backend}." if backend else ""
            return " ".join(
                f"-o {owner}{name}" if value is None else f"-o {shlex.quote(f'{owner}{name}={_text(value)}')}"
                for name, value in values.items()
            )
        case Given(phrase=phrase, how=how):
            ways = [_drawn(way, phrase) for way in how]
            return f"{', '.join(ways[:-1])} or {ways[-1]}" if len(ways) > 1 else ways[0]
        case Command() | Install():
            return shell_words(kind)


def setting_words(name: str) -> str:
    """The flag that sets the setting `name`."""
    singular = {role.setting: role.name for role in CHOSEN}
    if name == "options":
        return "-o"
    return f"--{singular.get(name, name.removesuffix('s') if name == 'retry_editors' else name).replace('_', '-')}"


def _setting(flag: str, value: Value) -> str:
    if value is None or value is True:
        return f"--{flag}"
    if value is False:
        return f"--no-{flag}"
    if isinstance(value, tuple):
        return " ".join(f"--{flag.removesuffix('s')} {shlex.quote(one)}" for one in value)
    return f"--{flag} {shlex.quote(_text(value))}"


def _drawn(way: str, phrase: str) -> str:
    if way not in _DRAWN:
        return f"--{way} DIR"
    # Quoted though there may be no need: the next phrase that is put in may have two words.
    text = f"{phrase}={_DRAWN[way]}".replace("'", "'\"'\"'")
    return f"--{way} '{text}'" if phrase else f"--{way}"


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
