"""Errors in the words of the page: what to press or to draw, instead of flags."""

from __future__ import annotations

from typing import Any

from gas.errors import GasError
from gas.notes import plain
from gas.remedies import Command, Given, Install, Kind, Option, Setting, shell_words


def told(error: GasError) -> dict[str, Any]:
    """What the page shows of an error."""
    return {
        "message": plain(error.message),
        "remedy": plain(error.hint.worded(page_words)),
        "code": error.exit_code,
        "advice": error.hint.code,
    }


def page_words(kind: Kind) -> str:
    """`kind` as somebody does it on the page."""
    match kind:
        case Setting(name=name, value=value):
            return _setting(name.replace("_", " "), value)
        case Option(values=values, backend=backend):
            named = [name if value is None else f"{name} = {value}" for name, value in values.items()]
            return f"{' and '.join(named)} in Settings" + (f" of {backend}" if backend else "")
        case Given(phrase=phrase):
            return f"the region of {phrase!r}, drawn on the picture" if phrase else "a region, drawn on the picture"
        case Command() | Install():
            return f"{shell_words(kind)} in a terminal"


LABELS = {
    "grounded": "Each change in its own place",
    "verify": "Check each change",
    "retry_editors": "Who tries again what is not there",
}
"""What the page calls a setting, where that is not its name."""


def _setting(name: str, value: object) -> str:
    if name == "tries":
        return f"“Check each change” with {value or 'more'} tries, above Edit"
    name = LABELS.get(name, name)
    if value is None:
        return f"“{name}” in Settings"
    if isinstance(value, bool):
        return f"“{name}” switched {'on' if value else 'off'} in Settings"
    if isinstance(value, tuple):
        return f"{name} {', '.join(map(str, value))} in Settings"
    return f"{name} {value} in Settings"
