"""What a model that edits by instruction is told of a subtask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from gas.types import Subtask


def instruction_of(subtask: Subtask, wording: Literal["request", "template"] = "request") -> str:
    """What a model is told to do for `subtask`: its own instruction if it has one, else (or as a "template") "turn A
    into B", "add B to C", "remove A from C" (Ground-A-Score's own wording for InstructPix2Pix is the first)."""
    own = subtask.instruction.strip()
    if own and wording == "request":
        return own
    anchor = (subtask.anchor or "").strip()
    if subtask.action == "add":
        return f"add {subtask.target} to {anchor}" if anchor else f"add {subtask.target}"
    if subtask.action == "remove":
        return f"remove {subtask.source} from {anchor}" if anchor else f"remove {subtask.source}"
    return f"turn {subtask.source} into {subtask.target}"
