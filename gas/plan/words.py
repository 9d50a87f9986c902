"""A subtask in words: what it asks for, as a noun."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gas.types import Subtask


def what(subtask: Subtask) -> str:
    """What a subtask asks for, as a noun: "a blue car in the place of a red car"."""
    if subtask.action == "remove":
        return f"{subtask.source} gone"
    if subtask.action == "add":
        return subtask.target + (f" at {subtask.anchor}" if subtask.anchor else "")
    if not subtask.source:
        return subtask.target
    return f"{subtask.target} in the place of {subtask.source}"
