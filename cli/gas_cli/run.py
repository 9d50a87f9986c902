"""Runs the command line and turns whatever happens into an exit code and at most two lines on standard error."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any, TextIO

import typer

from gas import notes
from gas.characters import visible
from gas.errors import GasError, OutOfResources, UsageError
from gas.process import own_process
from gas_cli import stdout
from gas_cli.arguments import arranged
from gas_cli.output import command, people, print_error, warn

# Newer versions of typer carry their own copy of click; these are the classes that the installed one raises.
_WrongUsage: Any
_WrongCommandLine: Any
_WrongUsage, _WrongCommandLine = typer.BadParameter.__mro__[1:3]

NOBODY_READS = 141
"""The exit code where whoever read the output has gone, as a shell has it for a program that SIGPIPE ended."""

# Libraries that would report usage or look for updates are told not to before they are imported.
QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}


def run(app: typer.Typer) -> None:
    """Runs `app` with the arguments of the process and exits. Tracebacks are shown with --debug only."""
    debug = "--debug" in sys.argv
    as_json = "--json" in sys.argv
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    _show_warnings(debug)
    with stdout.for_data() as data, command(data):
        code = _run(app, as_json, debug)
    if not stdout.flushed():
        code = code or NOBODY_READS
    sys.exit(code if isinstance(code, int) else 0)


def _run(app: typer.Typer, as_json: bool, debug: bool) -> Any:
    """Runs `app`; its exit code, or what it returned."""
    try:
        return _ended(app, as_json, debug)
    except SystemExit as end:
        # click and rich say so where whoever read our output has gone: there is nobody left to tell.
        if isinstance(end.__context__, BrokenPipeError):
            return NOBODY_READS
        raise
    except OSError as error:
        full = OutOfResources(f"there is no room to write: {error.strerror}", "make room on the disk")
        return _told(full, False, debug, cause=error)


def _ended(app: typer.Typer, as_json: bool, debug: bool) -> Any:
    """Runs `app`; its exit code, or what it returned. SystemExit while a BrokenPipeError is handled, where nobody reads
    what is printed; OSError where there is no room for it."""
    arguments = arranged(sys.argv[1:])
    try:
        with own_process():
            code = app(args=arguments, standalone_mode=False)
    except typer.Abort:
        code = 130
    except _WrongCommandLine as error:
        usage = error.ctx.command_path if isinstance(error, _WrongUsage) and error.ctx else "gas"
        complaint = error.format_message()
        code = UsageError.exit_code  # without arguments there is no complaint: the help was shown already
        if complaint:
            code = _told(UsageError(complaint, f"see: {usage} --help"), as_json, debug)
    except GasError as error:
        code = _told(error, as_json, debug)
    except KeyboardInterrupt:
        code = 130
    except MemoryError:
        code = _told(
            OutOfResources("not enough memory", "give a smaller picture, or close other programs"), as_json, debug
        )
    except Exception as error:  # the last place where a bug of ours can be given its exit code
        if _is_full(error):
            raise
        if _is_out_of_memory(error):
            code = _told(OutOfResources("not enough memory on the device", "try --device cpu"), as_json, debug)
        else:
            code = _bug(error, as_json, debug)
    return code


# Said to programmers, of code that is not the user's.
_NOT_FOR_USERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning, ResourceWarning)


def _show_warnings(debug: bool) -> None:
    """Warnings of libraries and backends reach the user: each is shown once, and kept for --json and the record."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        sentence = str(message)
        notes.keep(sentence, category)
        warn(people(), [sentence])

    warnings.showwarning = show
    warnings.simplefilter("always")
    if not debug:
        for category in _NOT_FOR_USERS:
            warnings.simplefilter("ignore", category)


def _told(error: GasError, as_json: bool, debug: bool, cause: BaseException | None = None) -> int:
    if debug:
        _traceback(cause or error)
    print_error(error, as_json=as_json)
    return error.exit_code


def _bug(error: Exception, as_json: bool, debug: bool) -> int:
    problem = GasError(
        f"internal error: {type(error).__name__}: {' '.join(str(error).split())[:300]}",
        "this is a bug of gas; run again with --debug and report what it prints",
    )
    return _told(problem, as_json, debug, cause=error)


def _traceback(error: BaseException) -> None:
    """The traceback without local variables: those have printed keys elsewhere."""
    import traceback

    sys.stderr.write(visible("".join(traceback.format_exception(error))))


def _is_full(error: Exception) -> bool:
    from gas.files import DISK_FULL

    return isinstance(error, OSError) and error.errno in DISK_FULL


def _is_out_of_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)
