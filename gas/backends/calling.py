"""Around every call of a backend: whatever its code raises or leaves behind becomes the error that it means.

What a third party's code does wrong is its own fault (PluginBroken, exit 9) with its distribution and version, and not
a bug of the toolkit. What it returns is looked at in `gas.run.answers`.
"""

from __future__ import annotations

import contextlib
import dis
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from gas.backends.running import marked
from gas.errors import GasError, ModelUnavailable, OutOfMemory, PluginBroken
from gas.notes import plain
from gas.process import backend_at_work
from gas.remedies import Remedy

if TYPE_CHECKING:
    from gas.backends.registry import Registered


def fault(entry: Registered, reason: str, remedy: str | Remedy | None = None) -> PluginBroken:
    """The error that names the backend, and the distribution and version that it came with."""
    broken = entry.plugin.broken(reason, entry.role, entry.spec.name)
    return PluginBroken(str(broken), remedy or f"repair or reinstall {entry.plugin.distribution}")


@contextlib.contextmanager
def calling(entry: Registered, *, importing: bool = False, runs: Path | None = None) -> Iterator[None]:
    """Within it the code of the backend `entry` may be run.

    * A missing package becomes ModelUnavailable with the command that installs it; memory that does not suffice,
      OutOfMemory.
    * Any other exception that is none of gas.errors becomes PluginBroken for a third party's backend, and while
      importing for every backend; else it passes, being a bug of ours. So do errors of gas.errors without a message or
      with an exit code that is not their own. Ctrl-C passes; a KeyboardInterrupt that the backend raises does not.
    * A third party's backend that goes to another folder is brought back, and named.
    * A forked child that comes back from the call is ended: only one process may go on.

    `runs` is the folder in which a third party's backend is marked as being at work (`gas.backends.running`).
    """
    foreign = not entry.plugin.builtin
    process, folder = os.getpid(), _folder() if foreign else None
    with backend_at_work(), marked(runs if foreign else None, entry):
        try:
            yield
        except BaseException as error:
            _end_child(entry, process)
            _go_back(folder)
            if (meant := _meaning(entry, error, importing)) is not None:
                raise meant from error
            raise
        _end_child(entry, process)
        if _go_back(folder):
            raise fault(entry, "has changed the working folder of the process")


def _meaning(entry: Registered, error: BaseException, importing: bool) -> GasError | None:
    """The error to raise in the place of `error`; None: itself."""
    foreign = not entry.plugin.builtin
    if isinstance(error, GasError):
        if foreign and (wrong := _unsound(error)):
            return fault(entry, wrong)
        error.hint = error.hint.of(entry.spec.name)  # options that it names are this backend's
        return None
    if isinstance(error, MemoryError) or _of_the_device(error):
        return OutOfMemory(
            f"{entry.spec.name} has not enough memory", "give a smaller picture, close other programs, or use the CPU"
        )
    if isinstance(error, ModuleNotFoundError):
        package = str(error.name or "").partition(".")[0]
        if not package or package == entry.spec.module.partition(".")[0]:
            return fault(entry, f"cannot be imported: {_words(error)}")
        return ModelUnavailable(
            f"{entry.spec.name} needs the Python package {package!r}, which is missing",
            entry.remedy() or f"pip install what provides {package!r}, or reinstall {entry.plugin.distribution}",
        )
    if isinstance(error, ImportError):
        return fault(entry, f"cannot be imported: {_words(error)}", entry.remedy(upgrade=True))
    if isinstance(error, KeyboardInterrupt) and not (foreign and _raised_by(entry, error.__traceback__)):
        return None
    if importing or foreign:
        return fault(entry, f"failed: {type(error).__name__}: {_words(error)}")
    return None


def _unsound(error: GasError) -> str | None:
    """What is wrong with an error that a third party's code has made."""
    words = getattr(error, "message", None)
    if not isinstance(words, str) or not words.strip() or not isinstance(getattr(error, "hint", None), Remedy):
        return f"failed: {type(error).__name__} without a message"
    home: Any = next(kind for kind in type(error).__mro__ if kind.__module__ == GasError.__module__)
    code, own = error.exit_code, home.exit_code
    if home is GasError or (code != own and not (own > 128 and isinstance(code, int) and 128 < code < 128 + 65)):
        return f"failed: {type(error).__name__} (exit code {code!r}): {plain(words)[:300]}"
    return None


def _words(error: BaseException) -> str:
    """What an exception says, on one line; its own code may fail too."""
    try:
        return plain(str(error))[:300]
    except Exception:  # noqa: BLE001 - an exception of a stranger, whose text is all that is asked
        return "(its message cannot be shown)"


def _of_the_device(error: BaseException) -> bool:
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def _raised_by(entry: Registered, trace: TracebackType | None) -> bool:
    """Whether the plugin's own code has a `raise` where the exception began, and no signal did it."""
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    frame = trace.tb_frame
    own = str(frame.f_globals.get("__name__", "")).partition(".")[0] == entry.spec.module.partition(".")[0]
    return own and dis.opname[frame.f_code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # the folder is gone
        return None


def _go_back(folder: str | None) -> bool:
    """Whether the process was elsewhere, and had to be brought back to `folder` (None: it does not matter)."""
    if folder is None or _folder() == folder:
        return False
    with contextlib.suppress(OSError):
        os.chdir(folder)
    return True


def _end_child(entry: Registered, process: int) -> None:
    """Ends this process if it is a copy that the backend has forked from `process`, whose work it must not do again."""
    if os.getpid() != process:
        os.write(2, f"error: {fault(entry, 'has forked a process that came back from its call').message}\n".encode())
        os._exit(PluginBroken.exit_code)
