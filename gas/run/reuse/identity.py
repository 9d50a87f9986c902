"""All that decides what a backend answers, as plain values: the keys of the cache are hashes of it.

Rather too much than too little: another version, another file of a package, another machine or number of cores is
another key, for their numbers may differ in the last bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gas.bands import bands
from gas.errors import ModelUnavailable, UsageError
from gas.models.cache import snapshot
from gas.models.kind import folders_of
from gas.models.manifest import ModelFiles, models_of, resolve_model
from gas.run.record import Model, library_versions
from gas.version import __version__

if TYPE_CHECKING:
    from gas.backends.roles import Role
    from gas.interfaces import Backend
    from gas.run.session import Session
    from gas.types import EditPlan, Region

_ENVIRONMENT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
MOST_FILES = 10_000
"""The files of a package, or of a folder that an option names, that are looked at."""


class Unknown(Exception):
    """What decides the answer cannot be named, so nothing is kept."""


def key(**parts: Any) -> str:
    """The SHA-256 of parts that are plain JSON values, as hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def of_backend(session: Session, role: Role, name: str, *, service: bool = False) -> dict[str, Any]:
    """What decides the answers of the session's backend `name`: code, options, the files that they name, models,
    device. `service`: its model is a service's, which a name alone stands for.

    Unknown for a model that is not here or whose revision cannot be told.
    """
    backend: Backend = session.backend(role.plural, name)
    found = session.registry.find(role.plural, name)
    options = backend.options.model_dump(mode="json")
    return {
        "role": role.name,
        "name": name,
        "target": found.spec.target,
        "plugin": [found.plugin.distribution, found.plugin.version],
        "code": [code_stamp("gas"), code_stamp(found.spec.module.partition(".")[0])],
        "options": options,
        "models": [(option, _model(model, service)) for option, model in models_of(options)],
        "files": _files(options, {option for option, _ in models_of(options)}),
        "device": [session.runtime.device, session.runtime.dtype, session.runtime.memory],
        "machine": machine(),
    }


def of_plan(plan: EditPlan) -> dict[str, Any]:
    """What of a plan may decide what is made of it: not where it came from, nor how its maker explains it."""
    return {
        "subtasks": [subtask.model_dump(mode="json") for subtask in plan.subtasks],
        "prompts": [plan.source_prompt, plan.target_prompt],
        "preserve_shape": plan.preserve_shape,
    }


def of_regions(regions: Sequence[Region]) -> list[Any]:
    """Regions with the hashes of their masks."""
    return [
        [
            one.phrase,
            None if one.box is None else [float(side) for side in one.box],
            None if one.mask is None else of_array(one.mask),
            None if one.score is None else float(one.score),
            one.subtask,
            one.given,
            one.count,
            None if one.point is None else [float(side) for side in one.point],
        ]
        for one in regions
    ]


def of_array(array: np.ndarray) -> str:
    """The SHA-256 of an array's type, shape and numbers as hexadecimal digits."""
    digest = hashlib.sha256(f"{array.dtype}{array.shape}".encode())
    for rows in bands(*array.shape[:2]):
        digest.update(np.ascontiguousarray(array[rows]).data)
    return digest.hexdigest()


def machine() -> dict[str, Any]:
    """The versions and the machine on which numbers are repeatable."""
    return {
        "gas": __version__,
        "libraries": _libraries(),
        "host": [platform.node(), platform.machine()],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "environment": [os.environ.get(name) for name in _ENVIRONMENT],
    }


@lru_cache
def code_stamp(package: str) -> str:
    """A hash of the names, sizes and times of all files of an importable package or module, which is not imported.

    A version alone would not do: a package that is installed for development keeps it while its code changes.
    """
    try:
        spec = find_spec(package)
    except ValueError:  # a module without a place, such as a program that is run
        spec = None
    if spec is None:
        raise Unknown(f"where the package {package!r} is cannot be told")
    places = spec.submodule_search_locations
    roots = [Path(place) for place in places] if places else [Path(spec.origin or package)]
    return hashlib.sha256(json.dumps([_stamps(root) for root in roots]).encode()).hexdigest()


@lru_cache
def _libraries() -> dict[str, str]:
    return library_versions()


def _stamps(root: Path) -> list[Any]:
    """Name, size and time of a file, or of all files in a folder."""
    if not root.is_dir():
        return [_stamp(root, root.parent)]
    found = (path for path in root.rglob("*") if "__pycache__" not in path.parts and path.is_file())
    files = list(islice(found, MOST_FILES + 1))
    if len(files) > MOST_FILES:
        raise Unknown(f"{root} has too many files to look at")
    return [_stamp(path, root) for path in sorted(files)]


def _stamp(path: Path, root: Path) -> list[Any]:
    told = path.stat()
    return [path.relative_to(root).as_posix(), told.st_size, told.st_mtime_ns]


def _model(name: str, service: bool) -> dict[str, Any]:
    """The model's files by their hashes, or its commit on the hub."""
    try:
        source = resolve_model(name)
    except (ModelUnavailable, UsageError) as error:
        if service:
            return {"name": name}
        raise Unknown(error.message) from None
    if source.local:
        places = folders_of(Path(source.location)) if Path(source.location).is_dir() else [source.location]
        return {"files": [Model.of(place).model_dump(mode="json") for place in places]}
    folder = snapshot(ModelFiles(id=source.location, revision=source.revision))
    if folder is None and not service:
        raise Unknown(f"which commit {name!r} is cannot be told")
    return {"id": source.location, "revision": source.revision if folder is None else folder.name}


def _files(options: Mapping[str, Any], models: Collection[str]) -> dict[str, Any]:
    """The files and folders that other options name, with the times of what is in them."""
    found = {}
    for text in _texts({name: value for name, value in options.items() if name not in models}):
        path = Path(text).expanduser() if 0 < len(text) < 4096 and "\0" not in text else None
        if path is not None and os.path.exists(path):
            found[text] = _stamps(path.resolve())
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
