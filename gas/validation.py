"""Turns what somebody wrote wrongly, in a file or on a command line, into errors that name the value and the remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gas.errors import InputRefused, UsageError
from gas.remedies import Command, Remedy

MAX_TOML_BYTES = 1_000_000


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None when none is like it."""
    from difflib import get_close_matches

    known = list(known)
    exact = {k.lower().replace("_", "-"): k for k in known}
    if (same := exact.get(name.lower().replace("_", "-"))) is not None:
        return same
    return next(iter(get_close_matches(name, known, n=1, cutoff=0.6)), None)


def unknown(kind: str, name: str, known: Iterable[str], remedy: str = "") -> UsageError:
    """A UsageError for a name that nobody knows: the nearest known one, and the list of all."""
    known = sorted(set(known))
    guess = nearest(name, known)
    listed = f"known: {', '.join(known)}" if known else "there are none"
    return UsageError(
        f"unknown {kind} {name!r}" + (f"; did you mean {guess!r}?" if guess else ""),
        f"{listed}; {remedy}" if remedy else listed,
    )


def explain(error: ValidationError) -> str:
    """The first complaint of `error` in one line: where, what is wrong, and the value."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    text = first["msg"].removeprefix("Value error, ")
    complaint = text[:1].lower() + text[1:]
    value = first["input"]
    whole = first["type"] == "value_error" and isinstance(value, dict)  # such a complaint names the part that is wrong
    shown = "" if whole or first["type"] in {"missing", "extra_forbidden"} else f", not {repr(value)[:80]}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {complaint}{shown}{more}" if where else f"{complaint}{shown}{more}"


def read_toml(path: Path) -> dict[str, Any]:
    """The content of the TOML file `path`. UsageError naming the file, and the line where it is malformed."""
    import tomllib

    try:
        if path.stat().st_size > MAX_TOML_BYTES:
            raise UsageError(f"{path} is larger than {MAX_TOML_BYTES} bytes", "name a settings file")
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}", "check the path") from None
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # The parser says "... (at line 3, column 5)", or "(at end of document)".
        place = str(error).replace("(at end of document)", f"(at line {text.count(chr(10)) + 1}, end of file)")
        raise UsageError(f"{path}: malformed TOML: {place or 'nested too deeply'}", "correct that line") from None


_SECRET_WORDS = {"key", "apikey", "token", "secret", "password", "passwd", "credential", "credentials"}


def refuse_secrets(content: dict[str, Any], path: Path) -> None:
    """UsageError when a key anywhere in `content` of the settings file `path` is named like a secret."""
    for key, value in content.items():
        words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower())
        if _SECRET_WORDS & set(words):
            raise UsageError(
                f"{path}: {key!r} looks like a secret, and settings files are shared and recorded",
                Remedy(
                    "keep_key",
                    "remove it; keep keys with: {keys}, or in the environment",
                    keys=Command("keys set", "NAME"),
                ),
            )
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                refuse_secrets(inner, path)


PLAN_REMEDY = Remedy(
    "new_plan",
    "correct it (docs/plan.schema.json says what a plan may hold), or write a new one with {plan}",
    plan=Command("plan"),
)


_STRINGS = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


class _Refused(ValueError):
    """Raised inside the JSON parser, with a message for the user."""


def load_json(data: bytes | str, origin: str, *, max_bytes: int, max_depth: int) -> Any:
    """The JSON value in `data`, read as from a stranger. Raises InputRefused (3) naming `origin` and the place.

    Refused besides malformed JSON: more than `max_bytes`, nesting deeper than `max_depth`, repeated keys, NaN.
    """
    size = len(data) if isinstance(data, bytes) else len(data.encode("utf-8", "surrogatepass"))
    if size > max_bytes:
        raise InputRefused(f"{origin} is larger than {max_bytes} bytes", PLAN_REMEDY)
    if isinstance(data, bytes):
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputRefused(f"{origin} is not UTF-8 text (byte {error.start})", PLAN_REMEDY) from None
    else:
        text = data.removeprefix("\ufeff")
    if _depth(text) > max_depth:
        raise InputRefused(f"{origin} is nested deeper than {max_depth} levels", PLAN_REMEDY)
    try:
        return json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise InputRefused(
            f"{origin}: malformed JSON: {error.msg.lower()} (line {error.lineno}, column {error.colno})", PLAN_REMEDY
        ) from None
    except _Refused as error:
        raise InputRefused(f"{origin}: {error}", PLAN_REMEDY) from None
    except ValueError:  # an integer of more digits than Python converts
        raise InputRefused(f"{origin} holds a number with too many digits", PLAN_REMEDY) from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Refused(f"the key {shown(key)} is there twice")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise _Refused(f"{name} is not a number that a plan can hold")


def _depth(text: str) -> int:
    """The deepest nesting of brackets outside strings. Looked at first: the parser itself recurses."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", _STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def shown(value: Any) -> str:
    """A short, printable form of an untrusted value."""
    return ascii(value) if len(ascii(value)) <= 60 else f"{ascii(value)[:57]}...'"
