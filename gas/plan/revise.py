"""A plan after a person has changed some of its subtasks: its whole sentences follow as far as they can."""

from __future__ import annotations

from collections.abc import Sequence

from gas.types import EditPlan, Subtask

CHECK = "subtasks were changed by hand: check the sentences for the whole picture"

Change = tuple[Subtask | None, Subtask | None]
"""A subtask as it was (None: it is new) and as it is (None: it is left out)."""


def revised(plan: EditPlan, changes: Sequence[Change]) -> EditPlan:
    """`plan` with the subtasks as they are now, in the order of `changes`; at least one must be left (ValueError).

    Where the whole sentences hold the phrase that was changed, word for word, it is changed there too: "a red car on
    grass" for the target "a blue car" becomes "a green car on grass" for "a green car", and says the source again for
    a change that is left out. Where that cannot be done the plan warns `CHECK`.
    """
    subtasks = tuple(now for _, now in changes if now is not None)
    if subtasks == plan.subtasks:
        return plan
    source, target, sure = plan.source_prompt, plan.target_prompt, True
    for was, now in changes:
        if was == now:
            continue
        source, target, fits = _followed(source, target, was, now)
        sure = sure and fits
    warnings = tuple(one for one in plan.warnings if one != CHECK)
    if not sure and (source or target):
        warnings = (*warnings, CHECK)
    return EditPlan.model_validate(
        {
            **plan.model_dump(),
            "subtasks": [one.model_dump() for one in subtasks],
            "source_prompt": source,
            "target_prompt": target,
            "warnings": warnings,
        }
    )


def _followed(source: str, target: str, was: Subtask | None, now: Subtask | None) -> tuple[str, str, bool]:
    """The two sentences after one change, and whether they say it."""
    if was is None or was.action != "change" or (now is not None and now.action != "change"):
        return source, target, False
    wanted = was.source if now is None else now.target
    if not was.target or (was.target != wanted and was.target not in target):
        return source, target, False
    target = target.replace(was.target, wanted, 1)
    if now is None or now.source == was.source:
        return source, target, True
    fits = bool(was.source) and was.source in source
    return source.replace(was.source, now.source, 1) if fits else source, target, fits
