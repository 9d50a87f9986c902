"""How much may be spent on trying again: seconds, or rows of the networks."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gas.errors import UsageError
from gas.remedies import Remedy, Setting

_BUDGET = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(s|rows)")


@dataclass
class Budget:
    """An amount of seconds or rows (None: no limit), and what of it is spent; seconds count from its making."""

    amount: float | None = None
    unit: Literal["s", "rows"] = "s"
    rows: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, text: str | None) -> Budget:
        """The budget that "60s" or "500rows" means. UsageError (exit 2) for anything else."""
        if text is None:
            return cls()
        match = _BUDGET.fullmatch(text.strip())
        if match is None:
            raise UsageError(
                f"{text!r} is not a budget",
                Remedy(
                    "write_budget",
                    "seconds or rows: {seconds} or {rows}",
                    seconds=Setting("budget", "60s"),
                    rows=Setting("budget", "500rows"),
                ),
            )
        return cls(float(match[1]), "rows" if match[2] == "rows" else "s")

    @property
    def spent(self) -> float:
        return self.rows if self.unit == "rows" else time.monotonic() - self.began

    @property
    def over(self) -> bool:
        """Whether nothing more may be begun."""
        return self.amount is not None and self.spent >= self.amount

    def __str__(self) -> str:
        return "" if self.amount is None else f"{self.amount:g} {'rows' if self.unit == 'rows' else 's'}"


def rows_of(log: Mapping[str, Any]) -> float | None:
    """How many rows the networks of an edit were given, as its log says; None where it does not."""
    if isinstance(log.get("evaluations"), int | float):
        return float(log["evaluations"])
    batch = log.get("batch")
    if isinstance(batch, Mapping) and isinstance(batch.get("rows"), int | float):
        return float(batch["rows"])
    turns = log.get("turns")
    if isinstance(turns, list | tuple) and turns:
        each = [rows_of(turn.get("log", {})) for turn in turns if isinstance(turn, Mapping)]
        known = [one for one in each if one is not None]
        return sum(known) if len(known) == len(turns) else None
    return None
