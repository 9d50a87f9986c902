"""What differs between two plans, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gas.plan.words import what

if TYPE_CHECKING:
    from gas.types import EditPlan, Subtask

_Pair = tuple[int, int]

# By what two subtasks are taken for the same one that was changed: the first that fits.
_ALIKE: tuple[Callable[[Subtask], Any], ...] = (
    lambda one: one,
    lambda one: (one.action, one.where, _plain(one.source), _plain(one.anchor or "") if one.action == "add" else ""),
    lambda one: (one.where, _plain(one.region_phrase)),
    lambda one: (one.action, _plain(one.target)),
)


def plan_differences(a: EditPlan, b: EditPlan) -> list[str]:
    """A sentence for each difference between two plans, from `a` to `b`; none where they ask for the same.

    Subtasks belong together that change the same thing, wherever they stand. Who made a plan counts; how its maker
    explains it, and what was warned of, do not.
    """
    pairs = _pairs(a.subtasks, b.subtasks)
    out = [sentence for i, j in pairs for sentence in _of_subtasks(a.subtasks[i], b.subtasks[j])]
    out += [f"no more: {what(one)}" for i, one in enumerate(a.subtasks) if i not in {i for i, _ in pairs}]
    out += [f"new: {what(one)}" for j, one in enumerate(b.subtasks) if j not in {j for _, j in pairs}]
    if [j for _, j in pairs] != sorted(j for _, j in pairs):
        out.append("the order is now: " + "; ".join(what(one) for one in b.subtasks))
    out += changed("the whole picture as it is", a.source_prompt, b.source_prompt)
    out += changed("the whole picture after the edit", a.target_prompt, b.target_prompt)
    out += changed("the outline of the whole picture is kept", a.preserve_shape, b.preserve_shape)
    out += changed("planned by", a.provenance.planner, b.provenance.planner)
    out += changed("the planner's model", a.provenance.model, b.provenance.model)
    return out


def _pairs(before: Sequence[Subtask], after: Sequence[Subtask]) -> list[_Pair]:
    """Which subtasks belong together, by their indices, in the order of `before`."""
    left, right = list(range(len(before))), list(range(len(after)))
    found: list[_Pair] = []
    for key in _ALIKE:
        for i in list(left):
            j = next((j for j in right if key(before[i]) == key(after[j])), None)
            if j is not None:
                found.append((i, j))
                left.remove(i)
                right.remove(j)
    return sorted(found)


def _of_subtasks(a: Subtask, b: Subtask) -> Iterator[str]:
    """What differs between two subtasks that belong together."""
    name = what(b)
    if what(a) != name:
        yield f"{what(a)}: now {name}"
    if b.action != "add" and a.anchor != b.anchor:
        yield from changed(f"{name}: what lies behind it", a.anchor, b.anchor)
    yield from changed(f"{name}: keeps its shape", a.preserve_shape, b.preserve_shape)
    yield from changed(f"{name}: strength", a.strength, b.strength)
    yield from changed(f"{name}: what of it changes", a.attribute, b.attribute)
    yield from changed(f"{name}: where", a.where, b.where)
    yield from changed(f"{name}: how many", a.count or "one", b.count or "one")
    if what(a) == name or _beside_phrases(a) != _beside_phrases(b):  # else only the phrases in it are other ones
        yield from changed(f"{name}: in words", a.instruction, b.instruction)


def _beside_phrases(subtask: Subtask) -> list[str]:
    """The words of a subtask's instruction but for those of its phrases."""
    phrases = {word for phrase in (subtask.source, subtask.target, subtask.anchor or "") for word in _words(phrase)}
    return [word for word in _words(subtask.instruction) if word not in phrases]


def changed(name: str, was: Any, now: Any) -> list[str]:
    """One sentence where two values differ, "steps: 30, now 50"; none where they are equal."""
    return [] if was == now else [f"{name}: {_shown(was)}, now {_shown(now)}"]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if value is None or value == "":
        return "not said"
    return str(value)


def _plain(phrase: str) -> str:
    return " ".join(_words(phrase))


def _words(text: str) -> list[str]:
    return text.casefold().split()
