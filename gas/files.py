"""Files: written whole or not at all, never over another by accident, under names that no system trips over.

Nothing here knows about pictures. A name that comes from a phrase passes `slug`; a phrase never becomes a path.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import re
import secrets
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from gas import locks
from gas.errors import GasError, InputRefused, OutOfResources, UsageError
from gas.remedies import Remedy, Setting

MAX_SLUG = 60
# Names that Windows gives to devices, whatever follows the first full stop.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in "0123456789¹²³")}
TEMPORARY = ".gas-tmp"
"""Last part of the names of files that are being written: `.NAME.0123456789ab.gas-tmp`."""
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class OutputExists(UsageError):
    """An output file that is there already and may not be replaced."""


@contextlib.contextmanager
def atomic(path: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A binary stream whose content becomes `path` when the block ends well; else nothing is left behind.

    The bytes go to a new file in the same folder, which is flushed to the disk and then renamed, so that whatever
    happens `path` is the old file, the new one, or absent. Without `overwrite` an existing file stays and OutputExists
    (exit 2) is raised, also when it appears meanwhile. OutOfResources (exit 7) when the disk is full, UsageError (exit
    2) as `check_target`. What a process that was killed leaves behind is removed by `gas.reserve.remove_abandoned`.
    """
    path = real_path(path)
    check_target(path, overwrite=overwrite)
    with explained(path):
        temporary, opened, lock = _open_temporary(path)
    try:
        with explained(path), opened as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        with explained(path):
            if overwrite:
                os.replace(temporary, path)
            else:
                _move_to_new(temporary, path)
            _sync_folder(path.parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        if lock is not None:
            os.close(lock)


def write_bytes(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Writes a whole file; errors as `atomic`."""
    with atomic(path, overwrite=overwrite) as stream:
        stream.write(data)


def write_text(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Writes a whole UTF-8 file; errors as `atomic`."""
    write_bytes(path, text.encode("utf-8"), overwrite=overwrite)


def open_regular(path: Path) -> BinaryIO:
    """A binary stream of a regular file.

    InputRefused for anything else: a folder, pipe, device, dangling link, nothing. It never
    waits: a pipe that nobody writes to is recognised without reading.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        what = "is a link to a file that is not there" if Path(path).is_symlink() else "there is no such file"
        raise InputRefused(f"{path}: {what}", "check the name") from None
    except PermissionError:
        what = "is a folder" if Path(path).is_dir() else "may not be read"
        raise InputRefused(f"{path}: {what}", "check the name and its permissions") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputRefused(f"{str(path)!r}: cannot be opened: {reason}", "check the name") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
        what = kinds.get(stat.S_IFMT(mode), "not a regular file")
        raise InputRefused(f"{path}: is {what}", "give a file")
    return os.fdopen(descriptor, "rb")


def read_text(path: Path, *, max_bytes: int) -> str:
    """The text of a UTF-8 file. InputRefused as `open_regular`, and when it is longer than `max_bytes` or not UTF-8."""
    with open_regular(path) as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise InputRefused(f"{path}: is longer than {max_bytes} bytes", "is it the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputRefused(f"{path}: is not UTF-8 text (byte {error.start})", "is it the right file?") from None


def sha256(stream: BinaryIO) -> str:
    """The SHA-256 of all of a stream as hexadecimal digits; the stream is left at its start."""
    stream.seek(0)
    digest = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]  # wants readinto by name
    stream.seek(0)
    return digest


def sha256_of(path: Path) -> str:
    """As `sha256`, of the file `path`. Errors as `open_regular`."""
    with open_regular(path) as stream:
        return sha256(stream)


def slug(phrase: str, *, empty: str = "region") -> str:
    """A file name's stem for a phrase: small letters and digits of any script, with hyphens; `empty` if none is left.

    It holds no separator, dot, control or direction character, is at most 60 bytes long, and is no name that Windows
    reserves.
    """
    text = unicodedata.normalize("NFKC", phrase).casefold()
    text = unicodedata.normalize("NFC", text)
    words = re.findall(r"[^\W_]+", re.sub(r"(?<=\w)['’](?=\w)", "", text))
    out = "-".join(words)
    while len(out.encode("utf-8", "replace")) > MAX_SLUG:
        out = out[:-1]
    out = out.rstrip("-") or empty
    return f"{out}-region" if out in _DEVICES else out


def unique_names(stems: Sequence[str], suffix: str) -> list[str]:
    """File names for the stems in order: the second of equal ones gets `-2`, and so on."""
    out: list[str] = []
    for stem in stems:
        name, number = f"{stem}{suffix}", 1
        while name in out:
            number += 1
            name = f"{stem}-{number}{suffix}"
        out.append(name)
    return out


def names_beside(path: Path, suffix: str, *, folder: Path | None = None, tag: str = "edited") -> Iterator[Path]:
    """Names beside `path`, without end: `photo-edited.png`, `photo-edited-2.png`, ...

    `suffix` is the extension with its full stop; `folder` another folder.
    """
    folder = path.parent if folder is None else folder
    stem = f"{path.stem[:200]}-{tag}"
    yield folder / f"{stem}{suffix}"
    for number in itertools.count(2):
        yield folder / f"{stem}-{number}{suffix}"


def name_beside(path: Path, suffix: str, *, folder: Path | None = None, tag: str = "edited") -> Path:
    """The first of `names_beside` that no file has yet."""
    return next(name for name in names_beside(path, suffix, folder=folder, tag=tag) if not os.path.lexists(name))


def check_output_name(path: Path) -> Path:
    """`path`, if its last part is a name that every common system can keep. UsageError (exit 2) says why not."""
    name = path.name
    bad = ""
    if not name or name in {".", ".."}:
        bad = "is no file name"
    elif any(unicodedata.category(c) in {"Cc", "Cf", "Cs"} for c in name):
        bad = "holds a control character"
    elif any(c in '<>:"|?*\\' for c in name):
        bad = 'holds one of < > : " | ? * \\'
    elif name.split(".")[0].strip().casefold() in _DEVICES:
        bad = "is reserved on Windows"
    elif name[-1] in ". ":
        bad = "ends with a full stop or a space"
    elif len(name.encode("utf-8", "surrogateescape")) > 240:
        bad = "is longer than 240 bytes"
    if bad:
        raise UsageError(f"output {name!r}: {bad}", "choose another name")
    return path


def make_folder(folder: Path) -> None:
    """Makes a folder and its parents. UsageError (exit 2) when that is not possible."""
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)


_OVERWRITE = Remedy(
    "overwrite", "choose another name, or allow it with {overwrite}", overwrite=Setting("overwrite", True)
)


def check_folder(folder: Path) -> None:
    """Refuses, before anything is computed, what `make_folder` would refuse; nothing is made."""
    there = next(one for one in (folder, *folder.absolute().parents) if os.path.lexists(one))
    if not there.is_dir():
        raise UsageError(f"{folder}: cannot be made: {there} is no folder", "choose another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"{folder}: cannot be written to: {there} may not be changed", "choose another folder")


def refuse_existing(paths: Sequence[Path]) -> None:
    """Raises OutputExists (exit 2) naming the first of `paths` that is there."""
    for path in paths:
        if os.path.lexists(path):
            raise OutputExists(f"{path}: is there already", _OVERWRITE)


def check_target(path: Path, *, overwrite: bool = False) -> None:
    """Refuses, before anything is computed, what writing the file `path` would refuse.

    OutputExists (exit 2) when something is there, unless it is a regular file and `overwrite` is set. UsageError (exit
    2) when the folder is missing or may not be written to: it is never made, for a wrong name would go unnoticed.
    """
    if not overwrite:
        refuse_existing([path])
    path = real_path(path)
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is not a file that could be replaced", "choose another name")
    folder = path.parent
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "there is no such folder"
        raise UsageError(f"{path}: cannot be written: {folder}: {what}", "make the folder first, or choose another")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path}: cannot be written: {folder} may not be written to", "choose another folder")


def refuse_same(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    """UsageError (exit 2) for an output that is one of the inputs, or another output, under whatever name.

    Links, hard links and other spellings of a name are seen through. What is made from a file cannot replace it: the
    record would speak of an input that is gone.
    """
    for number, output in enumerate(outputs):
        for other in inputs:
            if _is_same(output, other):
                same = "itself" if output == other else other
                raise UsageError(f"{output}: is the input {same}", "choose another name for the output")
        if any(_is_same(output, other) for other in outputs[:number]):
            raise UsageError(f"{output}: two outputs have this name", "choose another name for one of them")


def real_path(path: Path) -> Path:
    """Where the bytes really go: through a link to its target, since renaming onto a link would replace the link."""
    return Path(os.path.realpath(path)) if Path(path).is_symlink() else Path(path)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them is not there yet
        return os.path.realpath(one) == os.path.realpath(other)


def _open_temporary(path: Path) -> tuple[Path, BinaryIO, int | None]:
    """A new file beside `path`, open and locked, and the descriptor that holds the lock: the file is in use until that
    is closed. None where nothing can be locked."""
    while True:
        temporary = path.with_name(f".{path.name[:20]}.{secrets.token_hex(6)}{TEMPORARY}")
        # Not tempfile: its files are 0o600, which would make outputs that nobody else can read.
        stream = temporary.open("x+b")
        if os.name == "nt":  # nobody can remove a file that is open there, and nobody can rename it either
            return temporary, stream, None
        try:
            # Somebody may have taken it for abandoned between the two calls, and removed it.
            if locks.hold(stream.fileno()) and locks.is_named(stream.fileno(), temporary):
                return temporary, stream, os.dup(stream.fileno())
        except OSError:
            return temporary, stream, None
        stream.close()


def _move_to_new(temporary: Path, path: Path) -> None:
    if os.name == "nt":  # a rename there fails when the target exists
        os.rename(temporary, path)
        return
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise OutputExists(f"{path}: is there already", _OVERWRITE) from None
    except OSError as error:
        # File systems without hard links (FAT, some network shares): a look and a rename, with a small gap between.
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}:
            raise
        refuse_existing([path])
        os.rename(temporary, path)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder; the file itself is safe by then.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Within it, what the system says against writing `path` becomes the error that it means."""
    try:
        yield
    except GasError:
        raise
    except FileExistsError:
        raise OutputExists(f"{path}: is there already", "choose another name") from None
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in DISK_FULL:
            raise OutOfResources(f"{path}: cannot be written: {reason}", "free some disk space") from None
        raise UsageError(f"{path}: cannot be written: {reason}", "choose another place") from None
