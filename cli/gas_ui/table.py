"""The plan as the table that the page shows: rows that are changed, switched off, added and removed by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from gas.errors import InputRefused, UsageError
from gas.plan.revise import revised
from gas.run.job import Planned
from gas.types import EditPlan, Subtask
from gas.validation import explain


@dataclass
class Row:
    """A row. `was` is what the planner said (None: the user has added it); `on`: it counts."""

    id: str
    now: Subtask
    was: Subtask | None = None
    on: bool = True


class Table:
    """The rows, and the plan that they came from: `base`, what the planner gave or what the user wrote."""

    def __init__(self, new_id: Callable[[], str], base: Planned | EditPlan | None = None) -> None:
        self._new_id = new_id
        self.base = base
        self.rows = [] if self.source is None else [Row(new_id(), one, one) for one in self.source.subtasks]

    @property
    def source(self) -> EditPlan | None:
        """The plan that the rows came from."""
        return self.base.plan if isinstance(self.base, Planned) else self.base

    @property
    def empty(self) -> bool:
        """Whether nothing is asked for."""
        return not any(row.on for row in self.rows)

    def row(self, id: str) -> Row:
        """The row with this id. UsageError for one that is gone."""
        for row in self.rows:
            if row.id == id:
                return row
        raise UsageError("this change is no longer there", "reload the page")

    def indices(self) -> dict[str, int]:
        """For each row that is on the index of its subtask in the plan."""
        return {row.id: index for index, row in enumerate(row for row in self.rows if row.on)}

    def change(self, rows: Sequence[Mapping[str, object]], source: str, target: str) -> set[str]:
        """Takes the rows, and the two sentences for the whole picture, as they are on the page; the ids of the rows
        whose thing is still the same. InputRefused names the row that cannot be; then everything stays."""
        old, shown = {row.id: row for row in self.rows}, self.sentences()
        fresh = []
        for number, told in enumerate(rows, 1):
            before = old.get(str(told.get("id")))
            try:
                now = Subtask.model_validate({k: v for k, v in told.items() if k not in {"id", "on"}})
            except ValidationError as error:
                raise InputRefused(f"change {number}: {explain(error)}", "correct it, or switch it off") from None
            id = before.id if before else self._new_id()
            fresh.append(Row(id, now, before.was if before else None, bool(told.get("on"))))
        if not any(row.on for row in fresh):
            raise InputRefused("every change is switched off", "switch one on")
        self.rows = fresh
        if (source, target) != shown:
            self._write_sentences(source, target)
        return {row.id for row in fresh if row.id in old and _same_thing(old[row.id].now, row.now)}

    def plan(self) -> EditPlan:
        """The plan that the rows make: the planner's own where nothing was changed. UsageError where all are off."""
        if self.empty:
            raise UsageError("nothing is asked for yet", "say what to change, or add a change by hand")
        on = [(row.was, row.now if row.on else None) for row in self.rows]
        base = self.source or EditPlan(subtasks=tuple(row.now for row in self.rows if row.on))
        removed = [one for one in base.subtasks if self.source and all(row.was != one for row in self.rows)]
        return revised(base, [*on, *((one, None) for one in removed)])

    def asked(self) -> Planned | None:
        """What the planner gave, where nothing was changed by hand."""
        if not isinstance(self.base, Planned) or any(not row.on or row.now != row.was for row in self.rows):
            return None
        return self.base if [row.was for row in self.rows] == list(self.base.plan.subtasks) else None

    def sentences(self) -> tuple[str, str]:
        """The whole picture as it is and as it should be, in the plan's words."""
        if self.empty:
            return "", ""
        plan = self.plan()
        return plan.source_prompt, plan.target_prompt

    def _write_sentences(self, source: str, target: str) -> None:
        """The whole sentences as the user wrote them; the plan is then the user's own."""
        plan = self.plan().model_copy(update={"source_prompt": source[:2000], "target_prompt": target[:2000]})
        self.base = EditPlan.model_validate(plan.model_dump())
        for row, now in zip([row for row in self.rows if row.on], self.base.subtasks, strict=True):
            row.was = now


def _same_thing(was: Subtask, now: Subtask) -> bool:
    """Whether what is looked for stays the same."""
    return (was.region_phrase, was.where, was.count) == (now.region_phrase, now.where, now.count)
