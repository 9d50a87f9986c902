"""A planner's side of its connection to a model: what goes wrong there, in a planner's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gas.chat.connection import Unusable
from gas.errors import GasError
from gas.remedies import Option, Remedy, Setting
from gas_planners.chat.reply import refused


@contextmanager
def planning_by(planner: str) -> Iterator[None]:
    """Within it, errors of a connection become those of the planner of that name, and their remedies name its options.

    PlanUnreadable (4) for a reply that cannot be used.
    """
    try:
        yield
    except Unusable as error:
        failed = refused(error.reason, error.reply.raw, error.remedy)
        failed.hint = failed.hint.of(planner)
        raise failed from None
    except GasError as error:
        error.hint = _for_planning(error.hint).of(planner)
        raise


def _for_planning(advice: Remedy) -> Remedy:
    """Advice of a connection, with what a planner can do besides."""
    if advice.code in ("start_ollama", "allow_network"):
        more, part = "or use {rules}", {"rules": Setting("planner", "rules")}
        return Remedy(advice.code, f"{advice.template}, {more}", **advice.parts, **part)
    if advice.code == "model_that_sees":
        more = "or send it the words alone: {blind}"
        return Remedy(advice.code, f"{advice.template}; {more}", **advice.parts, blind=Option({"picture": "no"}))
    return advice
