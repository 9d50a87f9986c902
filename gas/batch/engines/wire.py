"""How tasks, outcomes and errors pass between processes: as lines of JSON. Nothing in them can run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from gas import errors
from gas.batch.engines.interface import Worker, WorkerSpec
from gas.errors import GasError
from gas.remedies import remedy_from


def line(**values: Any) -> bytes:
    """The values as one line of JSON."""
    return json.dumps(values, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def error_values(error: GasError) -> dict[str, Any]:
    """The error as a table of JSON values."""
    hint = error.hint
    return {
        "kind": next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__),
        "exit_code": error.exit_code,
        "message": error.message,
        "code": hint.code,
        "template": hint.template,
        "arguments": hint.arguments(),
    }


def error_from(values: Mapping[str, Any]) -> GasError:
    """The error whose `error_values` these are."""
    hint = remedy_from(str(values["code"]), str(values["template"]), values["arguments"])
    kind = getattr(errors, str(values["kind"]), GasError)
    error: GasError = kind(str(values["message"]), hint)
    error.exit_code = int(values["exit_code"])
    return error


def make_worker(work: WorkerSpec) -> Worker:
    """The worker that `work` names, made with its setup."""
    module, _, name = work.target.partition(":")
    worker: Worker = getattr(import_module(module), name)(work.setup)
    return worker


def bug(error: Exception) -> GasError:
    """The error for an exception that is none of gas.errors."""
    words = " ".join(str(error).split())[:300]
    return GasError(f"internal error: {type(error).__name__}: {words}", "this is a bug of gas; report it")
