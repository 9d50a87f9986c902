"""Remedies in the words of the command line: with flags, ready to be pasted into a shell."""

from __future__ import annotations

from gas.errors import GasError
from gas_shell.words import flag_words


def remedy(error: GasError) -> str:
    """What to do about `error`, in flags; empty where nothing is advised."""
    return error.hint.worded(flag_words)
