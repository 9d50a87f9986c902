"""The models that profiles name: what is on this machine, what is missing, and whether it is undamaged.

Everything here looks at files only, without network, torch or huggingface_hub. `downloads` gets what is missing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, NamedTuple

from gas.errors import GasError, ModelUnavailable, UsageError
from gas.folders import hub_folder, models_folder
from gas.models.manifest import CACHE_PREFIX, ModelFiles, resolve_model
from gas.remedies import Command, Remedy

Source = Literal["hub", "file", "local"]
Presence = Literal["there", "partly", "missing"]
Condition = Literal["ok", "damaged", "missing", "unchecked"]
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


class Found(NamedTuple):
    """What of a model is on this machine: `state`, its folder or file, the missing names, the bytes that are there."""

    state: Presence
    path: Path | None
    missing: tuple[str, ...]
    bytes: int


class Checked(NamedTuple):
    """A file that was verified; `why` says what is wrong, or why nothing could be compared."""

    name: str
    condition: Condition
    why: str = ""


# Which there are


# What is here


def source_of(files: ModelFiles) -> Source:
    """Whether a model is a repository of the hub, a file behind an address, or a local folder or package."""
    if files.url is not None:
        return "file"
    try:
        return "local" if resolve_model(files.id).local else "hub"
    except UsageError:
        raise
    except GasError:  # a folder or package that is not there
        return "local"


def look(files: ModelFiles) -> Found:
    """What is here of a model, by name only: cheap enough for every start. See `verify` for the contents.

    ModelUnavailable (exit 6) when the folder cannot be read.
    """
    try:
        return _look(files)
    except OSError as error:
        where = error.filename or files.id
        raise ModelUnavailable(
            f"{str(where)[:200]} cannot be read: {error.strerror or error}",
            "correct its permissions, or name another folder with HF_HOME or GAS_HOME",
        ) from None


def _look(files: ModelFiles) -> Found:
    match source_of(files):
        case "file":
            path = cached_file(files)
            return Found("there", path, (), path.stat().st_size) if path.is_file() else _nothing(path.name)
        case "local":
            try:
                path = Path(resolve_model(files.id).location)
            except GasError:
                return _nothing(files.id)
            return Found("there", path, (), sum(p.stat().st_size for p in _files_in(path)))
    folder = snapshot(files)
    if folder is None:
        return _nothing(*(files.files or ("everything",)))
    names = [name for name in _names_in(folder) if is_wanted(name, files.files)]
    missing = [wanted for wanted in files.files if not any(fnmatch(name, wanted) for name in names)]
    if not files.files and not any(name.endswith(_WEIGHTS) for name in names):
        missing = ["weights"]
    size = sum((folder / name).stat().st_size for name in names)
    return Found("partly" if missing and names else "missing" if missing else "there", folder, tuple(missing), size)


def cached_file(files: ModelFiles) -> Path:
    """Where the file behind an address is, or will be."""
    return models_folder() / files.id.removeprefix(CACHE_PREFIX)


def snapshot(files: ModelFiles) -> Path | None:
    """The folder of a model's revision in the hub's cache (without one: of its branch `main`); None if not there."""
    repository = hub_folder() / f"models--{files.id.replace('/', '--')}"
    revision = files.revision or "main"
    named = repository / "refs" / revision
    commit = named.read_text("utf-8", errors="replace").strip() if named.is_file() else revision
    folder = repository / "snapshots" / commit
    return folder if folder.is_dir() else None


def is_wanted(name: str, wanted: Sequence[str]) -> bool:
    """Whether the file `name` of a repository is one of the names and patterns `wanted`; no patterns want all."""
    return not wanted or any(fnmatch(name, pattern) for pattern in wanted)


def _nothing(*missing: str) -> Found:
    return Found("missing", None, missing, 0)


def _files_in(path: Path) -> Iterator[Path]:
    """The files in a folder, also behind links, and without those whose link leads nowhere; or `path`, if a file."""
    yield from (p for p in (path.rglob("*") if path.is_dir() else [path]) if p.is_file())


def _names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in _files_in(folder))


# Whether it is undamaged


def verify(files: ModelFiles) -> Iterator[Checked]:
    """Each file of a model, read and compared with the checksum that was published with it.

    A file of the hub's cache bears its checksum in the name of what its link leads to: SHA-256 for large files, git's
    SHA-1 for small ones. Where the cache is without links, and for local folders, nothing is known to compare with.
    """
    match source_of(files):
        case "file":
            yield _checked_file(files)
            return
        case "local":
            found = look(files)
            if found.path is None:
                yield Checked(files.id, "missing", "reinstall the package or correct the path")
            else:
                root = found.path if found.path.is_dir() else found.path.parent
                for path in sorted(_files_in(found.path)):
                    yield Checked(path.relative_to(root).as_posix(), "unchecked", "no checksum is known")
            return
    folder = snapshot(files)
    if folder is None:
        yield Checked(files.model, "missing", "not in the cache")
        return
    dead = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() and not p.exists()}
    there = {name for name in {*_names_in(folder), *dead} if is_wanted(name, files.files)}
    for name in sorted(there):
        if name in dead:
            yield Checked(name, "missing", "its link leads nowhere")
        else:
            yield _checked_blob(name, folder / name)
    for wanted in files.files:
        if not any(fnmatch(name, wanted) for name in there):
            yield Checked(wanted, "missing", "not in the cache")


def remove_damaged(files: ModelFiles) -> list[str]:
    """The names of the damaged files, which are no longer there, so that they can be downloaded again."""
    folder = snapshot(files) if source_of(files) == "hub" else models_folder()
    removed = []
    for name in [one.name for one in verify(files) if one.condition == "damaged"]:
        if folder is None or source_of(files) == "local":
            continue
        path = folder / name
        links = _links(path)
        path.resolve().unlink(missing_ok=True)  # what the links lead to; two names may share it
        for link in links:
            link.unlink(missing_ok=True)
        removed.append(name)
    return removed


def remove(files: ModelFiles) -> int:
    """How many bytes are free now that the model is no longer here: of a hub repository the revision that `files` names
    (without one all of it), or a file of the toolkit's own folder. What other models share with it stays.

    UsageError (exit 2) for a local model, which is not the toolkit's to remove; ModelUnavailable (exit 6) when nothing
    of it is here.
    """
    source = source_of(files)
    if source == "local":
        raise UsageError(f"model {files.id!r} is a folder or package of your own", "remove it yourself")
    nothing = ModelUnavailable(
        f"nothing of model {files.model!r} is here", Remedy("see_models", "{ls}", ls=Command("models ls"))
    )
    if source == "file":
        path = cached_file(files)
        if not path.is_file():
            raise nothing
        size = path.stat().st_size
        path.unlink()
        return size
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cache = scan_cache_dir(hub_folder())
    except CacheNotFound:
        raise nothing from None
    ours = [one for one in cache.repos if one.repo_type == "model" and one.repo_id == files.id]
    commit = folder.name if (folder := snapshot(files)) is not None else None
    found = [
        revision.commit_hash
        for repository in ours
        for revision in repository.revisions
        if files.revision is None or revision.commit_hash == commit
    ]
    if not found:
        raise nothing
    before = _bytes_in(hub_folder())
    # A copy of a repository has the original's commits, so only this one is searched for them.
    replace(cache, repos=frozenset(ours)).delete_revisions(*found).execute()
    return before - _bytes_in(hub_folder())


def _bytes_in(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _links(path: Path) -> list[Path]:
    """`path` and, if it is a link, each further link that it leads through."""
    found = []
    while path.is_symlink():
        found.append(path)
        path = path.parent / path.readlink()
    return found


def _checked_file(files: ModelFiles) -> Checked:
    path = cached_file(files)
    if not path.is_file():
        return Checked(path.name, "missing", "not downloaded")
    if files.sha256 is not None:
        return _compared(path.name, _digest(path, hashlib.sha256()), files.sha256)
    size = path.stat().st_size / 1e6
    if files.size_mb and abs(size - files.size_mb) > 0.01 * files.size_mb:
        return Checked(path.name, "damaged", f"it has {size:.1f} MB, not {files.size_mb:.1f}")
    return Checked(path.name, "unchecked", "no published checksum")


def _checked_blob(name: str, path: Path) -> Checked:
    # One step only: newer caches link on, to a store whose names are not checksums of the contents.
    known = path.readlink().name if path.is_symlink() else ""
    if re.fullmatch(r"[0-9a-f]{64}", known):
        return _compared(name, _digest(path, hashlib.sha256()), known)
    if re.fullmatch(r"[0-9a-f]{40}", known):
        header = f"blob {path.stat().st_size}\0".encode()
        return _compared(name, _digest(path, hashlib.sha1(header, usedforsecurity=False)), known)
    return Checked(name, "unchecked", "the cache keeps no checksum of it")


def _compared(name: str, found: str, known: str) -> Checked:
    if found == known:
        return Checked(name, "ok")
    return Checked(name, "damaged", f"its checksum is {found[:12]}…, not {known[:12]}…")


def _digest(path: Path, digest: hashlib._Hash) -> str:
    with path.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()
