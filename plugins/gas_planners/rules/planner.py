"""The planner that needs no model: reads the request forms that people use, and refuses by name what it cannot read."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from pydantic import ValidationError

from gas.errors import PlanUnreadable
from gas.interfaces import Options, Planner
from gas.plan.phrases import normalise_phrase
from gas.types import MAX_SUBTASKS, Attribute, EditPlan, Provenance, Subtask
from gas_planners.rules import lexicon as lex
from gas_planners.rules.caption import Caption
from gas_planners.rules.grammar import EXAMPLES, read
from gas_planners.rules.items import Item
from gas_planners.rules.noun_phrase import Phrase, kinds, with_quality
from gas_planners.rules.retouch_requests import PICTURE

if TYPE_CHECKING:
    from gas.types import EditRequest


MAX_CAPTION = 2000
MAX_CHUNKS = 128

_OF_COLOURS = lex.SHADES | lex.ADVERBS | {"and", "lighter", "paler", "deeper"}
"""Words beside those of colours that speak of a colour: "dark", "a bit more"."""


class RulesPlanner(Planner[Options]):
    """Plans by grammar. With `request.source` and `request.target` it plans by the difference of the two prompts."""

    def plan(self, request: EditRequest) -> EditPlan:
        """The plan for the request. PlanUnreadable (4) names the part that cannot be read; warnings say what was
        guessed."""
        if request.source is not None or request.target is not None:
            from gas_planners.rules.prompt_diff import read_prompts

            if request.source is None or request.target is None:
                missing = "source" if request.source is None else "target"
                raise PlanUnreadable(f"the {missing} prompt is missing", "give both whole prompts, before and after")
            items = read_prompts(request.source, request.target)
            return _plan(items, request.source.strip(), request.target.strip(), ())
        items = read(request.instruction)
        if request.caption and request.caption.strip():
            if len(request.caption) > MAX_CAPTION:
                length = f"the caption is {len(request.caption)} characters long"
                raise PlanUnreadable(f"{length}; at most {MAX_CAPTION} are read", "say in one sentence what is there")
            items, source, target, warnings = _in_caption(items, request.caption)
        else:
            source, target = _without_caption(items)
            warnings = ()
        return _plan(items, source, target, (*_twice(items), *warnings))


def _plan(items: list[Item], source: str, target: str, warnings: tuple[str, ...]) -> EditPlan:
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
            subtasks=tuple(_subtask(item) for item in items),
            source_prompt=source,
            target_prompt=target,
            warnings=tuple(dict.fromkeys((*(w for item in items for w in item.warnings), *warnings))),
            provenance=Provenance(planner="rules", version=_version()),
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise PlanUnreadable(f"the request makes no valid plan: {first['msg']}", EXAMPLES) from None


def _same(a: Phrase, b: Phrase) -> bool:
    return normalise_phrase(a.plain) == normalise_phrase(b.plain)


def _subtask(item: Item) -> Subtask:
    if item.look is not None:
        return Subtask(
            source=item.source.text if item.source else "",
            target=_sure(item.target).text,
            instruction=item.look.request(item.source, item.where),
            preserve_shape=True,
            strength=item.look.amount,
            attribute=item.look.attribute,
            where=item.where,
        )
    return Subtask(
        action=item.action,
        source=item.source.text if item.source else "",
        target=item.target.text if item.target else "",
        instruction=_instruction(item),
        anchor=item.anchor.text if item.anchor else None,
        preserve_shape=_keeps_shape(item),
        attribute=_attribute(item),
    )


def _instruction(item: Item) -> str:
    """The item as a request of its own."""
    if item.action == "add":
        assert item.target is not None
        return f"add {item.target.text}" + (f" {item.place or 'to'} {item.anchor.definite}" if item.anchor else "")
    assert item.source is not None
    if item.action == "remove":
        return f"remove {item.source.definite}" + (f" from {item.anchor.definite}" if item.anchor else "")
    assert item.target is not None
    return f"change {item.source.definite} into {item.target.text}"


def _attribute(item: Item) -> Attribute | None:
    """What of the thing changes; None where that is not plain from the words."""
    if item.action != "change" or item.source is None or item.target is None:
        return None
    old, new = item.source, item.target
    if old.head != new.head:
        return "kind"
    changed = set(normalise_phrase(old.plain).split()) ^ set(normalise_phrase(new.plain).split())
    of_colour = [word for word in changed if "colour" in kinds((word,))]
    if of_colour and all(word in of_colour or word in _OF_COLOURS or "tone" in kinds((word,)) for word in changed):
        return "colour"
    return "material" if changed and kinds(tuple(changed)) == {"material"} else None


def _keeps_shape(item: Item) -> bool:
    """Whether the outline surely stays: another colour, or one animal for another (Ground-A-Score: 0 when unsure)."""
    if item.source is None or item.target is None:
        return False
    old, new = item.source, item.target
    if old.head == new.head and old.head != "sky":
        changed = set(normalise_phrase(old.plain).split()) ^ set(normalise_phrase(new.plain).split())
        if changed <= lex.COLOURS | lex.SHADES | {"and"} and old.head not in lex.GROUNDS:
            return True
    # "a tiger on the snow", "a cat with a top hat": more than the animal changes.
    plain = new.plain.split()
    return (
        old.head in lex.ANIMALS and new.head in lex.ANIMALS and plain[-1].casefold().rstrip("s") == new.head.rstrip("s")
    )


def _twice(items: list[Item]) -> tuple[str, ...]:
    """A note for each phrase that is named more than once: several things of that name are then looked for."""
    counts: dict[str, int] = {}
    for item in items:
        if item.source is not None:
            counts[item.source.plain.casefold()] = counts.get(item.source.plain.casefold(), 0) + 1
    return tuple(
        f"{name!r} is named {n} times: {n} different ones are looked for" for name, n in counts.items() if n > 1
    )


# --- whole prompts ----------------------------------------------------------------------------------------------------


def _without_caption(items: list[Item]) -> tuple[str, str]:
    """Source and target prompt made of the phrases: "a dog and a house on grass under a clear sky"."""
    before: list[Phrase] = []
    after: list[Phrase] = []
    weather = ""
    for item in items:
        if item.action == "add" and item.anchor is None and _sure(item.target).head in lex.WEATHER.values():
            weather = f" in {_sure(item.target).text}"  # "let it snow" is no ground
        elif item.where == "picture":
            before.append(PICTURE)
            after.append(_sure(item.target))
        elif item.where == "outside":
            thing, look = _sure(item.source), _sure(item.target)
            before.append(thing)
            after.append(Phrase((*look.words, "with", *thing.text.split(" ")), look.countable))
        elif item.action == "change":
            before.append(_sure(item.source))
            after.append(_sure(item.target))
        elif item.action == "remove":
            _put(_sure(item.source), item.anchor, before, after)
        else:
            _put(_sure(item.target), item.anchor, after, before)
    whole = _sentence(after)
    return _sentence(before), f"{whole}{weather}" if whole else weather.removeprefix(" in ")


def _sure(phrase: Phrase | None) -> Phrase:
    assert phrase is not None
    return phrase


def _put(thing: Phrase, anchor: Phrase | None, there: list[Phrase], absent: list[Phrase]) -> None:
    """Names `thing` in the one sentence, and its anchor in both, unless an item names that already: "a man with a
    hat"."""
    if anchor is None or any(anchor.head == known.head for known in there):
        there.append(thing)
        return
    absent.append(anchor)
    if anchor.head in lex.GROUNDS or anchor.head in lex.SKY:
        there += [thing, anchor]
    else:
        there.append(Phrase((*anchor.words, "with", *thing.text.split(" ")), anchor.countable))


def _sentence(phrases: list[Phrase]) -> str:
    """Things first, then what they stand on, then the sky, as captions have it: it reads as one picture to a text
    encoder."""
    things = [p.text for p in phrases if p.head not in lex.GROUNDS and p.head not in lex.SKY]
    grounds = [p.text for p in phrases if p.head in lex.GROUNDS]
    skies = [p.text for p in phrases if p.head in lex.SKY]
    listed = _joined(things)
    if len(grounds) == 1 and listed:
        listed = f"{listed} on {grounds[0]}"
    else:
        listed = _joined([*things, *grounds])
    if len(skies) == 1 and listed:
        return f"{listed} under {skies[0]}"
    return _joined([*things, *grounds, *skies]) if skies else listed


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def _in_caption(items: list[Item], caption: str) -> tuple[list[Item], str, str, tuple[str, ...]]:
    """The items with the caption's fuller phrases, the caption before and after, and what was not found in it."""
    edited = Caption(caption)
    if len(edited) > MAX_CHUNKS:
        raise PlanUnreadable(
            f"the caption names more than {MAX_CHUNKS // 2} things", "say in one sentence what is there"
        )
    source = edited.text
    out: list[Item] = []
    warnings: list[str] = []
    looks: list[Phrase] = []
    for item in items:
        if item.where == "picture":
            looks.append(_sure(item.target))
            out.append(item)
        elif item.source is not None:
            node, several = edited.find(item.source)
            if node is None:
                warnings.append(
                    f"the caption does not name {item.source.plain!r}: the sentence after the edit leaves it out"
                )
                out.append(item)
                continue
            item = _described(item, node.phrase, several, warnings)
            if item.where == "outside":
                looks.append(_sure(item.target))
            elif item.action == "remove":
                ground = item.anchor or edited.last(lex.GROUNDS)
                item = replace(
                    item, anchor=None if ground is not None and ground.head == _sure(item.source).head else ground
                )
                edited.remove(node)
            else:
                edited.replace(node, _sure(item.target))
            out.append(item)
        else:
            out.append(_anchored(item, edited, warnings))
    return out, source, ", ".join([edited.text, *(look.text for look in looks)]), tuple(warnings)


def _described(item: Item, full: Phrase, several: bool, warnings: list[str]) -> Item:
    """The item about the caption's phrase: "the car" of the request is "a red car" there."""
    named = _sure(item.source)
    if several:
        warnings.append(f"the caption names more than one {named.plain!r}: {full.plain!r} was taken")
    if len(full.words) <= len(named.words):
        return item
    if item.look is not None:
        return replace(item, source=full, target=item.look.on(full) if item.where == "region" else item.target)
    if item.quality:
        return replace(item, source=full, target=Phrase(with_quality(full.words, item.quality), full.countable))
    return replace(item, source=full)


def _anchored(item: Item, edited: Caption, warnings: list[str]) -> Item:
    """An addition with its anchor as the caption has it; without one it goes to the ground, or to the sky what
    flies."""
    target = _sure(item.target)
    anchor = item.anchor
    if anchor is None and target.head not in lex.WEATHER.values():
        anchor = edited.last(lex.SKY if target.head in lex.IN_THE_SKY else lex.GROUNDS)
    node = None
    if anchor is not None:
        node, _ = edited.find(anchor, take=False)
        if node is None:
            warnings.append(f"the caption does not name {anchor.plain!r}")
        else:
            anchor = node.phrase
    edited.add(target, node)
    return replace(item, anchor=anchor)


def _version() -> str | None:
    try:
        return version("gas-edit")
    except PackageNotFoundError:
        return None
