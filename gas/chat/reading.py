"""Reads a model's reply as data: the one object that it is about, cleaned, with a word on what was salvaged.

A reply is parsed within bounds (`lenient_json`), checked, freed of thoughts and hidden characters, and never executed.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from gas.chat.lenient_json import Unreadable, check_length, objects_in, shown
from gas.chat.thoughts import split
from gas.validation import explain


def reply_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a reply as strict modes want it: no references, every field required, no others allowed.

    `model` has no default values and forbids unknown keys.
    """
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def inlined(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return inlined(definitions[node["$ref"].rpartition("/")[2]])
            # Titles say nothing, and the classes' descriptions are for us.
            kept = {k: v for k, v in node.items() if not (k == "title" and isinstance(v, str))}
            if kept.get("type") == "object":
                kept.pop("description", None)
            return {k: inlined(v) for k, v in kept.items()}
        return [inlined(item) for item in node] if isinstance(node, list) else node

    return dict(inlined(schema))


@dataclass
class Reading:
    """A reply while it is read: `warnings` says what was salvaged and how."""

    warnings: list[str] = field(default_factory=list)

    def warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)


def without_thoughts(text: str) -> str:
    """`text` without the model's thoughts. Unreadable when it is longer than any reply, or ends within a thought."""
    check_length(text)
    found = split(text).recovered()
    if not found.ended:
        raise Unreadable("the reply is cut off in its thoughts", cut=True)
    return found.answer


def one_object(text: str, key: str) -> dict[str, Any] | None:
    """The one object in `text` that has `key`, itself or as the only value of a wrapper; None if there is none.

    Unreadable when there are two different ones, or text that no reading is certain for.
    """
    check_length(text)
    body = text.lstrip("\ufeff \t\r\n")
    if not body:
        raise Unreadable("it is empty")
    if re.match(r"(?:<\?xml[^>]{0,200}>\s*)?<(?:!doctype\s+html|html|head|body)\b", body, re.IGNORECASE):
        raise Unreadable("it is an HTML page, not an answer")
    found: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for candidate in objects_in(without_thoughts(body)):
        inner = candidate if key in candidate else next((v for v in candidate.values() if _has(v, key)), None)
        if inner is not candidate and inner is not None and len(candidate) > 1:
            raise Unreadable(f"the answer is one of several values in an object: {_keys(candidate)}")
        if inner is not None and inner not in found:
            found.append(inner)
        elif inner is None:
            others.append(candidate)
    if len(found) > 1:
        raise Unreadable(f"it holds {len(found)} different answers")
    if found:
        return found[0]
    for other in others:
        if "error" in other:
            raise Unreadable(f"it is an error message: {shown(other['error'])}")
    if others:
        raise Unreadable(f"its object has no {key!r}, but {_keys(others[0])}")
    return None


def complaint(error: ValidationError) -> Unreadable:
    """The first complaint about a reply, in one line of printable characters."""
    text = explain(error)
    return Unreadable(clean(text, Reading(), "")[:300])


def clean(text: str, reading: Reading, where: str) -> str:
    """`text` on one line, with single spaces and without control, bidirectional and other invisible characters."""
    if text.isprintable():
        return " ".join(text.split())
    kept = []
    for character in text:
        category = unicodedata.category(character)
        if character in _SPACES:
            kept.append(" ")
        elif category in _HIDDEN and character not in _JOINERS:
            reading.warn(f"hidden characters were removed from the reply's {where}")
        else:
            kept.append(character)
    return " ".join("".join(kept).split())


_SPACES = "\t\n\r\v\f\u0085\u2028\u2029"
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # scripts and emoji need them


def _has(value: Any, key: str) -> bool:
    return isinstance(value, dict) and key in value


def _keys(value: dict[str, Any]) -> str:
    return ", ".join(shown(key) for key in list(value)[:6]) or "no keys"
