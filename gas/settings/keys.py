"""Keys of services: from the environment, else from one file that only its owner may read. They are kept nowhere else.

A key has a name, e.g. `openai`; its environment variable is OPENAI_API_KEY, and it comes first. `gas keys set openai`
writes the file. Keys are never options or settings, for those are printed, recorded and shared.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from gas.errors import UsageError
from gas.folders import config_folder
from gas.remedies import Command, Remedy

FILE = "keys.json"
MAX_FILE_BYTES = 100_000
MAX_KEY_LENGTH = 4096
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_VALUE = re.compile(
    r"[!#-&(-\[\]-~]+"
)  # printable ASCII without spaces, quotes and backslash: what a header can carry as it is


def keys_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The path of the key file, whether or not it is there."""
    return config_folder(environ) / FILE


def variable(name: str) -> str:
    """The environment variable of the key `name`: "openai" → OPENAI_API_KEY."""
    return f"{_checked(name).upper().replace('-', '_')}_API_KEY"


def find(name: str, environ: Mapping[str, str] = os.environ) -> SecretStr | None:
    """The key `name`, from its environment variable or else from the file; None when neither has it.

    UsageError (2) when the variable or the file holds what cannot be a key, or others may read the file.
    """
    if value := environ.get(variable(name), "").strip():
        return _secret(value, f"the environment variable {variable(name)}")
    return _read(environ).get(name)


def origin(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Where `find` takes the key from, for people: "$OPENAI_API_KEY", the file's path, or None. Never the key."""
    if environ.get(variable(name), "").strip():
        return f"${variable(name)}"
    return str(keys_file(environ)) if name in _read(environ) else None


def names(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The names of the keys in the file, sorted."""
    return sorted(_read(environ))


def set(name: str, value: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The file, after `value` was written to it as the key `name`, over an earlier one. Surrounding space is dropped.

    The file belongs to its owner alone (0600) from its first byte on, and is replaced as a whole. UsageError (2) for a
    name or a value that cannot be one.
    """
    _checked(name)
    return _write({**_read(environ), name: _secret(value.strip(), f"the key {name!r}")}, environ)


def remove(name: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The file, after the key `name` was taken out. UsageError (2) when it was not there."""
    known = _read(environ)
    if name not in known:
        raise UsageError(
            f"there is no key {name!r} in {keys_file(environ)}", f"known: {', '.join(sorted(known)) or 'none'}"
        )
    return _write({k: v for k, v in known.items() if k != name}, environ)


def redact(text: str, secrets: list[SecretStr]) -> str:
    """`text` with every secret replaced: for what a service says, which may quote the key that it was given."""
    for secret in secrets:
        if value := secret.get_secret_value():
            text = text.replace(value, "[key]")
    return text


def _read(environ: Mapping[str, str]) -> dict[str, SecretStr]:
    path = keys_file(environ)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
                raise UsageError(f"{path} can be read by others (mode {stat.S_IMODE(mode):o})", f"chmod 600 {path}")
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}", "repair or remove that file") from None
    broken = UsageError(
        f"{path} is not a key file",
        Remedy("set_key_again", "remove it and use {keys} again", keys=Command("keys set", "NAME")),
    )
    try:
        content = json.loads(data) if len(data) <= MAX_FILE_BYTES else None
    except (ValueError, RecursionError):  # the parser's message would quote the file
        raise broken from None
    if not isinstance(content, dict) or not all(isinstance(v, str) and _NAME.fullmatch(k) for k, v in content.items()):
        raise broken
    return {name: _secret(value, f"the key {name!r} in {path}") for name, value in content.items()}


def _write(keys: Mapping[str, SecretStr], environ: Mapping[str, str]) -> Path:
    path = keys_file(environ)
    data = (
        json.dumps({name: secret.get_secret_value() for name, secret in sorted(keys.items())}, indent=2).encode()
        + b"\n"
    )
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(prefix=".keys-", dir=path.parent)  # mkstemp makes it 0600
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror or error}", "set GAS_HOME to a folder of yours"
        ) from None
    finally:
        if temporary is not None:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
    return path


def _checked(name: str) -> str:
    if len(name) > 40 or not _NAME.fullmatch(name):
        raise UsageError(
            "the name of a key is lower-case letters and digits, at most 40, e.g. openai",
            Remedy("name_key", "usage: {keys}", keys=Command("keys set", "NAME")),
        )  # the name is not shown: it may be the key, typed in the wrong place
    return name


def _secret(value: str, what: str) -> SecretStr:
    if not value or len(value) > MAX_KEY_LENGTH or not _VALUE.fullmatch(value):
        raise UsageError(
            f"{what} is empty, too long, or has characters that no key has", "copy the key again, without quotes"
        )
    return SecretStr(value)
