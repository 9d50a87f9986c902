"""A part of a batch for each of several machines, as a Slurm array runs them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gas.errors import ModelUnavailable, ServiceUnavailable, UsageError
from gas.remedies import install

_SHARD = re.compile(r"(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True)
class Shard:
    """Part `number` of `count`, from 1: every `count`-th item. 1 of 1 is the whole."""

    number: int = 1
    count: int = 1

    @property
    def whole(self) -> bool:
        return self.count == 1

    @property
    def part(self) -> int:
        """The ledger's part that it writes: 0 for the whole, else its number."""
        return 0 if self.whole else self.number

    def has(self, index: int) -> bool:
        """Whether the item `index`, from 0, is in it."""
        return index % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


WHOLE = Shard()


def shard_of(text: str | None, environ: Mapping[str, str] = os.environ) -> Shard:
    """The shard that `text` says ("3/16"); without one, that of the Slurm array that the process runs in, or the whole.
    UsageError (exit 2) for anything else."""
    if text is None:
        if "SLURM_ARRAY_TASK_ID" not in environ:
            return WHOLE
        try:
            first, step = int(environ.get("SLURM_ARRAY_TASK_MIN", "0")), int(environ.get("SLURM_ARRAY_TASK_STEP", "1"))
            number = (int(environ["SLURM_ARRAY_TASK_ID"]) - first) // max(step, 1) + 1
            text = f"{number}/{int(environ.get('SLURM_ARRAY_TASK_COUNT', '1'))}"
        except ValueError:
            raise UsageError("Slurm's array variables are not numbers", "say which part with shard i/n") from None
    match = _SHARD.fullmatch(text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"shard {text!r} is not of the form i/n", "write 3/16 for the third of sixteen")
    return Shard(int(match[1]), int(match[2]))


def submit_array(
    command: Sequence[str], count: int, logs: Path, options: Mapping[str, Any], *, cluster: str | None = None
) -> list[str]:
    """The ids of the `count` jobs of an array, sent to Slurm by submitit: each runs `command` with the words of its
    shard, "3/16", behind it.

    `options` are submitit's, e.g. `slurm_partition` or `timeout_min`; `cluster` is "local" for processes of this
    machine (None: Slurm). ModelUnavailable (exit 6) without submitit, ServiceUnavailable (exit 8) where Slurm refuses.
    """
    try:
        import submitit
    except ImportError:
        raise ModelUnavailable(
            "sending an array needs the package submitit, which is missing", install("gas-edit[batch]")
        ) from None
    try:
        executor = submitit.AutoExecutor(folder=str(logs), cluster=cluster)
        executor.update_parameters(name="gas-batch", **options)
        commands = [[*command, f"{number}/{count}"] for number in range(1, count + 1)]
        jobs = executor.map_array(_run, commands)
    except (RuntimeError, OSError, TypeError, NameError, ValueError, submitit.core.utils.FailedJobError) as error:
        raise ServiceUnavailable(f"the array cannot be sent: {error}", "check Slurm, and the options for it") from None
    return [str(job.job_id) for job in jobs]


def _run(command: Sequence[str]) -> int:
    """The exit code of a shard: 10 is no fault of the job, whose ledger says what failed."""
    import subprocess

    code = subprocess.run(list(command), check=False).returncode
    if code not in {0, 10}:
        raise RuntimeError(f"{' '.join(command)} ended with code {code}")
    return code
