"""The planner that needs no model: reads the request forms that people use, and refuses by name what it cannot read."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from pydantic import ValidationError

from gas.errors import PlanUnreadable
from gas.interfaces import Planner
from gas.plan.phrases import normalise_phrase
from gas.types import MAX_SUBTASKS, Attribute, EditPlan, Provenance, Subtask
from gas_planners.rules import lexicon as lex
from gas_planners.rules.grammar import Request, read_request
from gas_planners.rules.items import Item
from gas_planners.rules.noun_phrase import Phrase
from gas_planners.rules.prompt_syntax import Prompt, without_syntax
from gas_planners.rules.qualities import are_colours, is_degree, kinds
from gas_planners.rules.refusals import EXAMPLES
from gas_planners.rules.sentences import in_caption, sure, without_caption
from gas_planners.rules.spelling import warnings_of_spelling

if TYPE_CHECKING:
    from gas.types import EditRequest

_NO_MATERIAL_OF_ITS_OUTLINE = frozenset({"lego", "knitted", "fluffy", "furry", "mosaic", "papier-mâché"})
"""Materials that give a thing another outline."""

_OF_A_COLOUR = lex.SHADES.union(*lex.SHADES_OF.values()) | {"lighter", "paler", "deeper"}


class RulesPlanner(Planner):
    """Plans by grammar. With `request.source` and `request.target` it plans by the difference of the two prompts."""

    def plan(self, request: EditRequest) -> EditPlan:
        """The plan for the request. PlanUnreadable (4) names the part that cannot be read, why, and how to write it;
        warnings say what was read in one of several ways."""
        if request.source is not None or request.target is not None:
            return _of_prompts(request.source, request.target)
        read = read_request(request.instruction)
        items = list(read.items)
        if request.caption and request.caption.strip():
            items, source, target, warnings = in_caption(items, request.caption)
        else:
            source, target = without_caption(items)
            warnings = ()
        return _plan(items, source, target, (*read.notes, *_twice(items), *warnings), read)


def _of_prompts(source: str | None, target: str | None) -> EditPlan:
    from gas_planners.rules.prompt_diff import read_prompts

    if source is None or target is None:
        missing = "source" if source is None else "target"
        raise PlanUnreadable(f"the {missing} prompt is missing", "give both whole prompts, before and after")
    before, after = without_syntax(source), without_syntax(target)
    items = read_prompts(before.text, after.text)
    notes = dict.fromkeys((*before.notes, *after.notes))
    read = Request(tuple(items), tuple(notes), (*after.weights, *before.weights))
    return _plan(items, " ".join(before.text.split()), " ".join(after.text.split()), read.notes, read)


def _plan(items: list[Item], source: str, target: str, warnings: tuple[str, ...], read: Request) -> EditPlan:
    if len(items) > MAX_SUBTASKS:
        raise PlanUnreadable(
            f"the request asks for {len(items)} things; a plan holds {MAX_SUBTASKS}", "ask for less at once"
        )
    for item in items:
        if item.action == "change" and item.source and item.target and _same(item.source, item.target):
            raise PlanUnreadable(
                f"{item.source.plain!r} would become {item.target.plain!r}, which is the same", EXAMPLES
            )
    try:
        return EditPlan(
            subtasks=tuple(_subtask(item, read) for item in items),
            source_prompt=source,
            target_prompt=target,
            warnings=tuple(
                dict.fromkeys(
                    (*(w for item in items for w in (*item.warnings, *_of_shape(item), *_of_spelling(item))), *warnings)
                )
            ),
            provenance=Provenance(planner="rules", version=_version()),
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise PlanUnreadable(f"the request makes no valid plan: {first['msg']}", EXAMPLES) from None


def _same(a: Phrase, b: Phrase) -> bool:
    return normalise_phrase(a.plain) == normalise_phrase(b.plain)


# --- one subtask ------------------------------------------------------------------------------------------------------


def _subtask(item: Item, read: Request) -> Subtask:
    assert item.action != "topic"
    source, target = (phrase.text if phrase else "" for phrase in (item.source, item.target))
    strength = Prompt("", read.weights).strength((source, target)) if item.look is None else item.look.amount
    return Subtask(
        action=item.action,
        source=source,
        target=target,
        instruction=_instruction(item),
        anchor=item.anchor.text if item.anchor else None,
        preserve_shape=_keeps_shape(item),
        strength=strength,
        attribute=_attribute(item) if item.look is None else item.look.attribute,
        where=item.where,
        count=_count(item),
    )


def _count(item: Item) -> int | str | None:
    place = item.anchor if item.action == "add" else item.source
    return place.count if place is not None and item.where == "region" else None


def _instruction(item: Item) -> str:
    """The item as a request of its own."""
    if item.own:
        return item.own
    if item.look is not None:
        return item.look.request(item.source, item.where)
    if item.action == "add":
        thing = sure(item.target)
        return f"add {thing.text}" + (f" {item.place or 'to'} {item.anchor.definite}" if item.anchor else "")
    if item.action == "remove":
        return f"remove {sure(item.source).definite}" + (f" from {item.anchor.definite}" if item.anchor else "")
    return f"change {sure(item.source).definite} into {sure(item.target).text}"


def _changing(old: Phrase, new: Phrase) -> set[str]:
    """The words in which two phrases differ, without those that only say how much of a quality."""
    words = set(normalise_phrase(old.plain).split()) ^ set(normalise_phrase(new.plain).split())
    return {word for word in words if not is_degree(word) and word not in lex.ORDINALS | {"and", "made", "of", "in"}}


def _attribute(item: Item) -> Attribute | None:
    """What of the thing changes; None where that is not plain from the words."""
    if item.action != "change" or item.source is None or item.target is None or item.where != "region":
        return None
    if item.source.head != item.target.head:
        return "kind"
    if item.quality and are_colours(item.quality) and item.quality[-1] not in lex.SUBSTANCES | lex.MASS:
        return "colour"
    changed = _changing(item.source, item.target)
    found = {word: kinds((word,)) for word in changed}
    colours = [word for word, kind in found.items() if "colour" in kind]
    if colours and all(w in _OF_A_COLOUR or k & {"colour", "tone"} for w, k in found.items()):
        return "colour"
    return "material" if changed and all(kind == {"material"} for kind in found.values()) else None


def _keeps_shape(item: Item) -> bool:
    """Whether the outline surely stays: where only colour, material, surface or weather of a thing changes. What covers
    the ground or the sky has no outline of its own (Ground-A-Score: 0 when unsure)."""
    if item.look is not None:
        return True
    old, new = item.source, item.target
    if old is None or new is None or item.where != "region" or old.head != new.head:
        return False
    if old.head in lex.GROUNDS or old.head in lex.SKY:
        return False
    changed = _changing(old, new)
    return bool(changed) and all(_leaves_outline(word) for word in changed)


def _leaves_outline(word: str) -> bool:
    known = (
        kinds((word,)) & lex.KEEPS_OUTLINE
        or word in _OF_A_COLOUR
        or word in lex.PAINT_COLOURS
        or word in lex.SUBSTANCES
    )
    return bool(known) and word not in _NO_MATERIAL_OF_ITS_OUTLINE


def _of_shape(item: Item) -> tuple[str, ...]:
    """A warning where the outline was asked to stay and cannot."""
    if not item.keep or _keeps_shape(item) or item.source is None or item.target is None:
        return ()
    return (f"the outline of {item.source.plain!r} is not kept: {item.target.plain!r} has another",)


def _of_spelling(item: Item) -> list[str]:
    """Of what should be there: what is there is looked for, and not found under a wrong name."""
    return warnings_of_spelling(item.target.plain.split()) if item.target is not None else []


def _twice(items: list[Item]) -> tuple[str, ...]:
    """A note for each phrase that is named more than once: several things of that name are then looked for."""
    counts: dict[str, int] = {}
    for item in items:
        if item.source is not None:
            counts[item.source.plain.casefold()] = counts.get(item.source.plain.casefold(), 0) + 1
    return tuple(
        f"{name!r} is named {n} times: {n} different ones are looked for" for name, n in counts.items() if n > 1
    )


def _version() -> str | None:
    try:
        return version("gas-edit")
    except PackageNotFoundError:
        return None
