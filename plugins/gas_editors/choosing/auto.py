"""The editor `auto`: each subtask by the editor that a table names for its sort, in one picture with one record."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from gas.errors import GasError, ModelUnavailable, UsageError
from gas.interfaces import Edited, EditJob, Editor, Options
from gas.masks import union
from gas.remedies import Option, Remedy
from gas.run.turns import Part, edit_in_parts, part_of_plan
from gas_editors.choosing.sorts import SORTS, Sort, sort_of
from gas_editors.job_regions import region_mask, subtask_regions

if TYPE_CHECKING:
    from gas.types import EditPlan, Image

OTHERWISE = "otherwise"


@contextlib.contextmanager
def _options_of(name: str) -> Iterator[None]:
    """Within it, options that the remedy of an error names are those of the editor `name`: auto has none of them."""
    try:
        yield
    except GasError as error:
        error.hint = error.hint.of(name)
        raise


class AutoOptions(Options):
    """The table. Each editor in it has its own options, as the settings say."""

    table: Mapping[str, str] = Field(
        {},
        description=f"which editor makes which sort of subtask ({', '.join(SORTS)}); "
        f"{OTHERWISE}: all that have no line, or that their own editor cannot make",
    )

    @field_validator("table")
    @classmethod
    def _of_known_sorts(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        if strange := sorted(value.keys() - {*SORTS, OTHERWISE}):
            raise ValueError(f"{strange[0]!r} is not a sort of subtask; sorts: {', '.join((*SORTS, OTHERWISE))}")
        if "auto" in value.values():
            raise ValueError("auto cannot hand a subtask to itself")
        return value


class AutoEditor(Editor[AutoOptions]):
    """Hands each subtask to the editor of its sort.

    Subtasks of one editor that confines them are made together, those of another one by one; what has the largest
    region comes first, and a part sees what earlier ones have made where their regions meet its own. Outside all
    regions the picture is the job's own, bit for bit.
    """

    options_type: ClassVar[type[AutoOptions]] = AutoOptions
    needs_regions = True
    edits_pictures = False
    confines = True

    @property
    def helpers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.options.table.values()))

    def resolution(self) -> int | None:
        """That of the first editor of the table that has one; None where all work on the photograph's own pixels."""
        for name in self.helpers:
            with _options_of(name):
                if (side := self._helper(name).resolution()) is not None:
                    return side
        return None

    def multiple(self) -> int:
        """A number that suits every editor of the table."""
        return math.lcm(*(self._helper(name).multiple() for name in self.helpers)) if self.resolution() else 1

    def check_plan(self, plan: EditPlan) -> None:
        """UsageError (exit 2) without a table, and for an addition that it says nothing of; the editor of the additions
        is asked too. Other sorts are not known before there are regions."""
        if not self.options.table:
            raise UsageError(
                "auto has no table of editors",
                Remedy("name_table", "use a profile that has one, or set {table}", table=Option({"table": None})),
            )
        if added := [index for index, subtask in enumerate(plan.subtasks) if subtask.action == "add"]:
            self._maker(plan, added, "add")

    def check(self, image: Image) -> None:
        for name in self.helpers:
            with _options_of(name):
                self._helper(name).check(image)

    def coded(self, image: Image) -> Image | None:
        """What the first editor of the table that has a model makes of it."""
        return next((one for name in self.helpers if (one := self._helper(name).coded(image)) is not None), None)

    def edit(self, job: EditJob) -> Edited:
        """The picture with every subtask made; `log["chosen"]` says which sort each is and who made it. UsageError
        (exit 2) for a sort without an editor; InputRefused (exit 3) for a subtask without a region; errors of the
        editors."""
        self.check_plan(job.plan)
        chosen = [self._chosen(job, index) for index in range(len(job.plan.subtasks))]
        parts: list[Part] = []
        for name in dict.fromkeys(name for _, name in chosen):
            editor = self._helper(name)
            own = tuple(index for index, (_, other) in enumerate(chosen) if other == name)
            if editor.confines:
                parts.append(Part(editor, own, grounded=True))
            else:
                parts += [Part(editor, (index,)) for index in own]
        edited = edit_in_parts(parts, job)
        told = [{"subtask": index + 1, "sort": sort, "editor": name} for index, (sort, name) in enumerate(chosen)]
        return Edited(edited.image, edited.mask, edited.stopped, {**edited.log, "chosen": told}, edited.unedited)

    def _chosen(self, job: EditJob, index: int) -> tuple[Sort, str]:
        """The sort of a subtask and the name of its editor."""
        sort = sort_of(job.plan.subtasks[index], union([region_mask(one) for one in subtask_regions(job, index)]))
        return sort, self._maker(job.plan, [index], sort)

    def _maker(self, plan: EditPlan, subtasks: Sequence[int], sort: Sort) -> str:
        """The name of the editor of these subtasks of one sort, which takes them. UsageError (exit 2) where the table
        has none; the last one's own error where it does not take them."""
        table, last, part = self.options.table, self.options.table.get(OTHERWISE), part_of_plan(plan, subtasks)
        name = table.get(sort, last)
        if name is None:
            raise UsageError(
                f"auto's table has no editor for subtask {subtasks[0] + 1}, which is of the sort {sort!r}",
                Remedy("name_table", "name one for it, or {otherwise} for all the rest", otherwise=OTHERWISE),
            )
        try:
            with _options_of(name):
                self._helper(name).check_plan(part)
        except ModelUnavailable:
            if last is None or name == last:
                raise
            name = last
            with _options_of(name):
                self._helper(name).check_plan(part)
        return name

    def _helper(self, name: str) -> Editor:
        if self.find_editor is None:
            raise UsageError("auto works in a session, which knows the other editors", "use Session.edit")
        return self.find_editor(name)
