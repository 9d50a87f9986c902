"""`gas diff`: what differs between two plans or two records, in words."""

from __future__ import annotations

from pathlib import Path

from gas.run.differences import differences, read_plan_or_record
from gas.types import EditPlan
from gas_cli.output import people, print_json, print_text


def diff(a: Path, b: Path, *, as_json: bool) -> None:
    """Prints a line for each difference from `a` to `b`."""
    one, other = read_plan_or_record(a), read_plan_or_record(b)
    found = differences(one, other)
    plans_alone = isinstance(one, EditPlan) or isinstance(other, EditPlan)
    if as_json:
        print_json("diff", {"compared": "plans" if plans_alone else "records", "differences": found})
        return
    if isinstance(one, EditPlan) != isinstance(other, EditPlan):
        people().print("one of the two is a plan, so the plans alone are compared", markup=False)
    for sentence in found:
        print_text(sentence)
    if not found:
        what = "ask for the same" if plans_alone else "are of the same edit"
        people().print(f"no difference: both {what}", markup=False)
