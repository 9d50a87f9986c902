"""Downloads of models: hub repositories through huggingface_hub, other files over https and checked by SHA-256.

Only what a user asks for by name is downloaded, nothing at all while the settings say offline.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from gas.errors import GasError, ModelUnavailable, OutOfResources, ServiceUnavailable, UsageError
from gas.files import DISK_FULL
from gas.folders import hub_folder
from gas.models.cache import cached_file, look, source_of
from gas.models.manifest import ModelFiles
from gas.remedies import Remedy, Setting, install
from gas.version import __version__

USEFUL = ("*.json", "*.jinja", "*.txt", "*.safetensors", "*.model", "tokenizer*", "vocab*")
SPARE_BYTES = 100_000_000  # that a disk keeps free
SECONDS = 30.0  # for a connection, and between two pieces of a file
_BLOCK = 2**20
_LOCAL = {"localhost", "127.0.0.1", "::1"}

Report = Callable[[int], None]
"""Told how many more bytes have come (a negative number: they had to be given up)."""


@dataclass(frozen=True)
class Download:
    """What `get` will do for a model: the names of its files that are to come, and their size in bytes."""

    files: ModelFiles
    names: tuple[str, ...]
    bytes: int
    folder: Path


def refuse_offline(offline: bool, origin: str) -> None:
    """UsageError (exit 2) when the settings, by `origin`, say that the network must not be used."""
    if offline:
        raise UsageError(f"nothing can be downloaded: offline is set ({origin})", "unset it for this command")


def announced(files: ModelFiles) -> Download | None:
    """What `prepare` would say of a model of which nothing is here, as its profile says it, without network; None where
    the profile does not say its size."""
    if files.size_mb is None:
        return None
    folder = cached_file(files).parent if source_of(files) == "file" else hub_folder()
    return Download(files, files.files, round(files.size_mb * 1e6), folder)


def prepare(files: ModelFiles, *, variant: str | None = None, allow_pickle: bool = False) -> Download | None:
    """What is to be downloaded of a model; None when all is here. The hub is asked for names and sizes.

    `variant` ("fp16") takes weights of that kind instead of the plain ones, part by part. `allow_pickle` takes `.bin`
    weights where there are no others. ModelUnavailable (exit 6): gated, no such
    model, revision or variant, a local model that is not there. ServiceUnavailable (exit 8): the network.
    """
    match source_of(files):
        case "local":
            found = look(files)
            if found.state != "there":
                raise ModelUnavailable(
                    f"model {files.id!r} is missing, and cannot be downloaded",
                    "reinstall its package, or correct it",
                )
            return None
        case "file":
            path = cached_file(files)
            if path.is_file():
                return None
            whole = round((files.size_mb or 0) * 1e6)
            have = _part(path).stat().st_size if _part(path).is_file() else 0
            return Download(files, (path.name,), max(whole - have, 0), path.parent)
    if variant is None and files.files and look(files).state == "there":
        return None
    snapshot_download = _snapshot_download()
    with _explained(files):
        listed = snapshot_download(files.id, revision=files.revision, dry_run=True, tqdm_class=_silent())
    names = needed([one.filename for one in listed], files.files, variant, allow_pickle=allow_pickle)
    both = zip(_as_variant(files.files, variant), files.files, strict=True)
    absent = [half for half, plain in both if not any(fnmatch(name, half) or fnmatch(name, plain) for name in names)]
    if absent or not names:
        raise ModelUnavailable(
            f"model {files.model!r} has no files {', '.join(absent or _as_variant(USEFUL, variant))}",
            Remedy("no_variant", "it has no such variant: leave {variant} out", variant=Setting("variant"))
            if variant
            else "correct `files` in the profile",
        )
    coming = [one for one in listed if one.filename in names and one.will_download]
    if not coming and look(files).state == "there":
        return None
    return Download(files, tuple(names), sum(one.file_size or 0 for one in coming), hub_folder())


def needed(
    names: Sequence[str], wanted: Sequence[str] = (), variant: str | None = None, *, allow_pickle: bool = False
) -> list[str]:
    """Of the `names` of a repository's files those that are `wanted`; `.bin` weights only with `allow_pickle`, where
    there are no safetensors.

    Where nothing is said settings, tokenizer and safetensors are: in a repository of diffusers those in its folders,
    without other variants and without the same weights once more in its root. A part without the `variant` comes in
    its plain form, as it is read then.
    """
    if wanted:
        patterns = _as_variant(wanted, variant)
        fits = [new if any(fnmatch(n, new) for n in names) else old for new, old in zip(patterns, wanted, strict=True)]
        fits = patterns if variant and fits == list(wanted) else fits
        return [name for name in names if any(fnmatch(name, pattern) for pattern in fits)]
    useful = [name for name in names if any(fnmatch(name.rpartition("/")[2], pattern) for pattern in USEFUL)]
    if "model_index.json" in names:
        useful = [name for name in useful if "/" in name or name == "model_index.json"]
        halves = {_folder(name) for name in useful if _is_safe(name) and _variant_of(name) == variant}
        if variant is not None and not halves:
            return []
        useful = [
            name
            for name in useful
            if not _is_safe(name) or _variant_of(name) == ((variant or "") if _folder(name) in halves else "")
        ]
        if not any(map(_is_safe, useful)):
            return [*useful, *_pickles(names)] if allow_pickle else []
        return useful
    found = [name for name in useful if not _is_safe(name) or variant is None or _variant_of(name) == variant]
    return [*found, *_pickles(names)] if allow_pickle and not any(map(_is_safe, found)) else found


def _is_safe(name: str) -> bool:
    return name.endswith(".safetensors")


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _pickles(names: Sequence[str]) -> list[str]:
    """Weights as transformers and diffusers once saved them, without variants."""
    return [
        name for name in names if re.fullmatch(r"(.*/)?(pytorch|diffusion_pytorch)_model(-[\d-]+of-\d+)?\.bin", name)
    ]


def check_space(downloads: Sequence[Download]) -> None:
    """OutOfResources (exit 7) naming the folder when what is to come does not fit on a disk."""
    need: dict[int, tuple[int, Path]] = {}
    for download in downloads:
        there = next(p for p in (download.folder, *download.folder.absolute().parents) if p.exists())
        device = there.stat().st_dev
        need[device] = (need.get(device, (0, there))[0] + download.bytes, there)
    for size, there in need.values():
        free = shutil.disk_usage(there).free
        if size + SPARE_BYTES > free:
            raise OutOfResources(
                f"{size / 1e9:.1f} GB are to be downloaded to {there}, and {free / 1e9:.1f} GB are free there",
                "free some space, or name another disk with HF_HOME (GAS_HOME for files that are not from the hub)",
            )


def get(download: Download, report: Report = lambda count: None) -> Path:
    """The model's folder or file, downloaded.

    What is complete is kept when it is interrupted, and taken up when it is run again; nothing incomplete or unchecked
    ever has its final name. Errors as `prepare`; ModelUnavailable (exit 6) for a file with another checksum than
    the profile's; OutOfResources (exit 7) when the disk is full.
    """
    files = download.files
    if source_of(files) == "file":
        return _get_file(files, report)
    snapshot_download = _snapshot_download()
    with _explained(files):
        return Path(
            snapshot_download(
                files.id,
                revision=files.revision,
                allow_patterns=[_literally(name) for name in download.names],
                tqdm_class=_counting(report),
            )
        )


# A file behind an address


class _SafeRedirects(HTTPRedirectHandler):
    """Follows a redirection only to where the file might have been to begin with."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        _refuse_unsafe(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _refuse_unsafe(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
        raise ServiceUnavailable(f"{url.partition('?')[0]} is not https", "correct `url` in the profile")


def _get_file(files: ModelFiles, report: Report) -> Path:
    path = cached_file(files)
    part = _part(path)
    with _disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as stream:
            _append(files, stream, report)
            stream.flush()
            os.fsync(stream.fileno())
    if files.sha256 is not None:
        with part.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != files.sha256:
            part.unlink()
            raise ModelUnavailable(
                f"{path.name} from {urlsplit(files.url or '').hostname} has the checksum {digest[:12]}…, "
                f"not {files.sha256[:12]}…",
                "it is not the file that the profile means and was removed; try again, or get it from its authors",
            )
    with _disk(path):
        os.replace(part, path)
    return path


def _append(files: ModelFiles, stream: BinaryIO, report: Report) -> None:
    """Brings `stream`, which may hold the beginning of the file already, to its end."""
    url = str(files.url)
    _refuse_unsafe(url)
    name, most = cached_file(files).name, round((files.size_mb or 50_000) * 1e6 * 1.01) + 1_000_000
    have = stream.seek(0, os.SEEK_END)
    request = Request(url, headers={"User-Agent": f"gas/{__version__}", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with build_opener(_SafeRedirects()).open(request, timeout=SECONDS) as reply:
            length = reply.headers.get("Content-Length")
            if have and not (
                reply.status == 206 and str(reply.headers.get("Content-Range")).startswith(f"bytes {have}-")
            ):
                stream.truncate(0)  # the server begins anew
                report(-have)
                have = 0
            whole = have + int(length) if length and length.isdigit() else None
            while block := reply.read(_BLOCK):
                have += len(block)
                if have > most:
                    raise ServiceUnavailable(
                        f"{name} is larger than {most / 1e6:.0f} MB, which the profile does not say", "check its url"
                    )
                stream.write(block)
                report(len(block))
    except HTTPError as error:
        error.close()
        if error.code == 416:  # what is there is as long as the file, or longer; the checksum has the last word
            if files.sha256 is None:
                stream.truncate(0)
                raise ServiceUnavailable(f"the download of {name} cannot be resumed", "run the command again") from None
            return
        if error.code in {401, 403, 404, 410}:
            raise ModelUnavailable(
                f"{name} cannot be downloaded: {urlsplit(url).hostname} answers {error.code} {error.reason}",
                "check `url` in the profile, or get the file from its authors",
            ) from None
        raise ServiceUnavailable(
            f"{name}: {urlsplit(url).hostname} answers {error.code} {error.reason}", "try again later"
        ) from None
    except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise ServiceUnavailable(
            f"{name}: {urlsplit(url).hostname} cannot be reached: {reason}",
            "check the network and run the command again: the download resumes",
        ) from None
    if whole is not None and have != whole:
        raise ServiceUnavailable(
            f"{name}: the connection ended after {have} of {whole} bytes",
            "run the command again: the download resumes",
        )


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


# The hub


def _snapshot_download() -> Callable[..., Any]:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ModelUnavailable(
            f"models of the hub need the Python package huggingface_hub: {error}", install("gas-edit[diffusion]")
        ) from error
    return snapshot_download


def _as_variant(wanted: Sequence[str], variant: str | None) -> list[str]:
    """The patterns with the variant's name in those of weights: `unet/model.fp16.safetensors`."""
    if variant is None:
        return list(wanted)
    ending = ".safetensors"
    return [w.removesuffix(ending) + f".{variant}{ending}" if w.endswith(ending) else w for w in wanted]


def _variant_of(name: str) -> str:
    """The middle part of a file's name: "fp16" of `model.fp16.safetensors`, "" of `model-00001-of-2.safetensors`."""
    return name.rpartition("/")[2].removesuffix(".safetensors").partition(".")[2].partition("-")[0]


def _literally(name: str) -> str:
    """A pattern that fits `name` only."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


@contextlib.contextmanager
def _explained(files: ModelFiles) -> Iterator[None]:
    """Turns what huggingface_hub raises into the error that it means, whatever it is wrapped in; its log is silent."""
    from huggingface_hub import errors as hub
    from huggingface_hub.utils import logging

    # The network's own errors are of the class beneath the hub's; the HTTP library that it is from has changed.
    network: type[BaseException] = hub.HfHubHTTPError.__bases__[0]
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with _disk(hub_folder()):
            yield
    except GasError:
        raise
    except (network, hub.OfflineModeIsEnabled, hub.DryRunError, OSError, ValueError) as error:
        chain = list(_causes(error))
        # The innermost error that says something about the model or the network.
        kinds: tuple[tuple[type[BaseException], GasError], ...] = (
            (
                hub.OfflineModeIsEnabled,
                UsageError("nothing can be downloaded: HF_HUB_OFFLINE is set", "unset it for this command"),
            ),
            (
                hub.GatedRepoError,
                ModelUnavailable(
                    f"model {files.id!r} is gated: its licence has to be accepted first",
                    f"accept it on https://huggingface.co/{files.id}, set HF_TOKEN, and run the command again",
                ),
            ),
            (
                hub.RevisionNotFoundError,
                ModelUnavailable(f"model {files.id!r} has no revision {files.revision!r}", "check what follows @"),
            ),
            (
                hub.RepositoryNotFoundError,
                ModelUnavailable(
                    f"there is no model {files.id!r} on the hub, or it is private", "check the name, or set HF_TOKEN"
                ),
            ),
        )
        for kind, meant in kinds:
            if any(isinstance(one, kind) for one in chain):
                raise meant from error
        status = next((one.response.status_code for one in chain if isinstance(one, hub.HfHubHTTPError)), None)
        if status in {401, 403}:
            raise ModelUnavailable(
                f"the hub does not give {files.id!r} to this login ({status})",
                f"accept its licence on https://huggingface.co/{files.id} if it asks for that, and check HF_TOKEN",
            ) from error
        # huggingface_hub's own words are about its arguments, the innermost ones about what happened.
        first = " ".join(str(chain[-1]).split())[:200] or type(chain[-1]).__name__
        raise ServiceUnavailable(
            f"model {files.id!r} cannot be downloaded: {first}",
            "check the network and run the command again: complete files are kept",
        ) from error
    finally:
        logging.set_verbosity(verbosity)


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Within it, a full disk is OutOfResources, and a folder that may not be written to UsageError."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise OutOfResources(f"{path}: the disk is full", "free some space, then run the command again") from error
        if isinstance(error, PermissionError | NotADirectoryError | FileExistsError):
            raise UsageError(
                f"{path}: cannot be written: {error.strerror or error}", "name another folder with HF_HOME or GAS_HOME"
            ) from error
        raise


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__  # type: ignore[assignment]


def _silent() -> type:
    return _counting(lambda count: None)


def _counting(report: Report) -> type:
    """A class like tqdm's that draws nothing and tells `report` of the bytes of a whole snapshot."""
    from tqdm.auto import tqdm

    class Counting(tqdm):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            # Two bars may count the same bytes: those received, and those written, whose description comes first.
            written = str(named.get("desc") or "").startswith(("Reconstructing", "Downloading (incomplete"))
            self.counts = written and named.get("unit") == "B"
            named.pop("name", None)
            super().__init__(*arguments, **{**named, "disable": True})

        def update(self, n: float | None = 1) -> None:
            if self.counts and n:
                report(int(n))

    return Counting
