"""The state of an unfinished run in one file: tensors, arrays, plain values, and the record of what was being done.

The file is safetensors: nothing in it can run. It carries a digest of picture, plan, regions, editor and options, and
is refused for any other run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gas.errors import InputRefused
from gas.files import open_regular, write_bytes
from gas.remedies import Remedy, Setting
from gas.validation import load_json, shown

SUFFIX = ".gas-state"
MAX_HEADER_BYTES, MAX_HEADER_DEPTH = 64 * 2**20, 64
_VERSION = 2


def run_digest(**parts: Any) -> str:
    """Hex digest of everything that must be the same for a run to be resumed.

    Parts are bytes or plain JSON values.
    """
    digest = hashlib.sha256()
    for name in sorted(parts):
        value = parts[name]
        data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
        digest.update(f"{name}:{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()


@contextmanager
def of_this_run(*more: type[Exception]) -> Iterator[None]:
    """Within it, whatever a state lacks or has wrong (and the errors `more`) is InputRefused: it is another run's."""
    refused: tuple[type[Exception], ...] = (KeyError, TypeError, ValueError, AttributeError, *more)
    try:
        yield
    except refused as error:
        raise InputRefused(
            f"the saved state does not belong to this run ({error})", "start it again from the beginning"
        ) from None


def prefixed(prefix: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """`state` as a part of a larger one: its names begin with `prefix`."""
    return {f"{prefix}{name}": value for name, value in state.items()}


def under(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The part of `state` whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def save_state(path: Path, state: Mapping[str, Any], *, digest: str, record: str) -> None:
    """Writes `state` (tensors, numpy arrays and plain JSON values by name) with the run's digest and its record (JSON
    text), atomically."""
    import numpy as np
    import torch
    from safetensors.torch import save

    arrays = [name for name, value in state.items() if isinstance(value, np.ndarray)]
    tensors = {name: value.contiguous() for name, value in state.items() if isinstance(value, torch.Tensor)}
    tensors |= {name: torch.from_numpy(np.ascontiguousarray(state[name])) for name in arrays}
    plain = {name: value for name, value in state.items() if name not in tensors}
    header = {"version": _VERSION, "digest": digest, "arrays": arrays, "plain": plain}
    write_bytes(path, save(tensors, metadata={"gas": json.dumps(header), "record": record}), overwrite=True)


def load_record(path: Path) -> str:
    """The JSON text of the record inside a state file. InputRefused when the file is not one."""
    return _metadata(path)["record"]


def load_state(path: Path, *, digest: str) -> dict[str, Any]:
    """The state saved in `path`, which may come from anybody. InputRefused (exit 3) when it is broken, or belongs to
    another run (`digest` differs) or version."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    header = _header(path)
    if header.get("version") != _VERSION:
        raise InputRefused(
            f"{path.name} was written by another version of gas (state version {shown(header.get('version'))})",
            _ANEW,
        )
    if header.get("digest") != digest:
        raise InputRefused(
            f"{path.name} belongs to another run: the picture, plan, regions, editor, options or seed differ",
            _ANEW,
        )
    try:
        tensors = load_file(path)
        arrays = {name: tensors.pop(name).numpy() for name in header["arrays"]}
        return {**tensors, **arrays, **header["plain"]}
    except (KeyError, TypeError, OSError, ValueError, SafetensorError):
        raise _broken(path) from None


_ANEW = Remedy("start_anew", "start the edit again without {resume}", resume=Setting("resume"))


def _header(path: Path) -> dict[str, Any]:
    """What is said of the state itself. InputRefused when that cannot be read."""
    text = _metadata(path)["gas"]
    try:
        header = load_json(text, "what it says of itself", max_bytes=MAX_HEADER_BYTES, max_depth=MAX_HEADER_DEPTH)
    except InputRefused as error:
        raise _broken(path, error.message) from None
    if not isinstance(header, dict):
        raise _broken(path)
    return header


def _broken(path: Path, why: str = "it holds no values") -> InputRefused:
    return InputRefused(f"the saved state {path.name} is damaged: {why}", _ANEW)


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with open_regular(path):  # no device or pipe, of which reading has no end
            pass
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, ValueError, SafetensorError) as error:
        raise InputRefused(
            f"cannot read the saved state {path.name}: {error}", "check the file that is to be resumed"
        ) from None
    if not {"gas", "record"} <= metadata.keys():
        raise InputRefused(f"{path.name} is not a saved state of gas", "give the file that ends in " + SUFFIX)
    return metadata
