"""Errors that a user can act on. Each names the value and the remedy and has its own exit code.

The codes are the command line's contract (docs/cli.md); an error that is none of these is a bug and exits with 1.
"""

from __future__ import annotations

from gas.remedies import Remedy, remedy_of


class GasError(Exception):
    """An error with what went wrong, what to do next, and the process exit code that stands for it.

    `message` says what and which value; `remedy` (may be empty) what to do next. Neither may hold a secret or a
    traceback. A remedy that names settings, options or commands is a `gas.remedies.Remedy`, kept as `hint`: Python
    words it with arguments, the command line with flags. A plain sentence is enough where it names none.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str | Remedy = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = remedy_of(remedy)

    @property
    def remedy(self) -> str:
        """What to do next, in the words of a Python program."""
        return str(self.hint)

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message


class UsageError(GasError):
    """A wrong command line, option name or option value, or an unknown backend name."""

    exit_code = 2


class InputRefused(GasError):
    """A picture, mask, box or plan file that cannot be used."""

    exit_code = 3


class PlanUnreadable(GasError):
    """A planner's reply, or a request, that could not be understood. `reply` keeps the raw text."""

    exit_code = 4

    def __init__(self, message: str, remedy: str | Remedy = "", *, reply: str | None = None) -> None:
        super().__init__(message, remedy)
        self.reply = reply


class ObjectNotFound(GasError):
    """A phrase of the plan has no region in the picture."""

    exit_code = 5


class ModelUnavailable(GasError):
    """A model file or an optional package that is missing, gated, of the wrong kind, or refused."""

    exit_code = 6


class OutOfResources(GasError):
    """Not enough memory or disk."""

    exit_code = 7


class OutOfMemory(OutOfResources):
    """Not enough memory. A run may be tried again with networks placed by a lower rung (`gas.placement`)."""


class ServiceUnavailable(GasError):
    """Network failure, time-out, or refused login of a remote service."""

    exit_code = 8


class PluginBroken(GasError):
    """A named backend's plugin cannot be imported or does not keep its contract."""

    exit_code = 9


class BatchIncomplete(GasError):
    """A batch that ran to its end with some items failed."""

    exit_code = 10


class ResultRefused(GasError):
    """A result that is not finite, all black, or unchanged: not success."""

    exit_code = 11


class ReplayDiffers(GasError):
    """A replay whose file has other bytes than the one that its record is of."""

    exit_code = 12


class NotVerified(GasError):
    """An edit of which some subtask is not done, as its verifier says. The picture was written."""

    exit_code = 12


class Interrupted(GasError):
    """Stopped by the user; the latest state was kept. The exit code is 128 + the signal: 130 for Ctrl-C."""

    exit_code = 130

    def __init__(self, message: str, remedy: str | Remedy = "", *, signal: int = 2) -> None:
        super().__init__(message, remedy)
        self.exit_code = 128 + signal
