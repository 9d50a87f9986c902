"""The state of an unfinished run in one file: tensors, plain numbers, and the record of what was being done.

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
from gas.remedies import Remedy, Setting

SUFFIX = ".gas-state"
_VERSION = 1


def run_digest(**parts: Any) -> str:
    """Hex digest of everything that must be the same for a run to be gone on with.

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


def save_state(path: Path, state: Mapping[str, Any], *, digest: str, record: str) -> None:
    """Writes `state` (tensors and plain values) with the run's digest and its record (JSON text), atomically."""
    import torch
    from safetensors.torch import save

    from gas.files import write_bytes

    tensors = {name: value.contiguous() for name, value in state.items() if isinstance(value, torch.Tensor)}
    plain = {name: value for name, value in state.items() if name not in tensors}
    header = {"version": _VERSION, "digest": digest, "plain": plain}
    write_bytes(path, save(tensors, metadata={"gas": json.dumps(header), "record": record}), overwrite=True)


def load_record(path: Path) -> str:
    """The JSON text of the record inside a state file. InputRefused when the file is not one."""
    return _metadata(path)["record"]


def load_state(path: Path, *, digest: str) -> dict[str, Any]:
    """The state saved in `path`. InputRefused when it belongs to another run (`digest` differs) or version."""
    from safetensors.torch import load_file

    header = json.loads(_metadata(path)["gas"])
    if header.get("version") != _VERSION:
        raise InputRefused(
            f"{path.name} was written by another version of gas (state version {header.get('version')!r})",
            _ANEW,
        )
    if header.get("digest") != digest:
        raise InputRefused(
            f"{path.name} belongs to another run: the picture, plan, regions, editor, options or seed differ",
            _ANEW,
        )
    return {**load_file(path), **header["plain"]}


_ANEW = Remedy("start_anew", "start the edit again without {resume}", resume=Setting("resume"))


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise InputRefused(
            f"cannot read the saved state {path.name}: {error}", "check the file that is to be resumed"
        ) from None
    if not {"gas", "record"} <= metadata.keys():
        raise InputRefused(f"{path.name} is not a saved state of gas", "give the file that ends in " + SUFFIX)
    return metadata
