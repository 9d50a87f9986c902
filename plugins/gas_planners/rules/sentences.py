"""The two sentences of a plan, the whole picture as it is and as it should be: made of the phrases, or of a caption."""

from __future__ import annotations

from dataclasses import replace

from gas.errors import PlanUnreadable
from gas_planners.rules import lexicon as lex
from gas_planners.rules.caption import Caption
from gas_planners.rules.items import PICTURE, Item
from gas_planners.rules.noun_phrase import Phrase, with_quality

MAX_CAPTION = 2000
MAX_CHUNKS = 128


def sure(phrase: Phrase | None) -> Phrase:
    """A phrase that an item of its kind always has."""
    assert phrase is not None
    return phrase


def without_caption(items: list[Item]) -> tuple[str, str]:
    """Source and target prompt made of the phrases: "a dog and a house on grass under a clear sky"."""
    before: list[Phrase] = []
    after: list[Phrase] = []
    weather = ""
    for item in items:
        if item.action == "add" and item.anchor is None and sure(item.target).head in lex.WEATHER.values():
            weather = f" in {sure(item.target).text}"  # "let it snow" is no ground
        elif item.where == "picture":
            before.append(PICTURE)
            after.append(sure(item.target))
        elif item.where == "outside":
            thing, look = sure(item.source), sure(item.target)
            before.append(thing)
            after.append(Phrase((*look.words, "with", *thing.text.split(" ")), look.countable))
        elif item.action == "change":
            before.append(sure(item.source))
            after.append(sure(item.target))
        elif item.action == "remove":
            _put(sure(item.source), item.anchor, before, after)
        else:
            _put(sure(item.target), item.anchor, after, before)
    whole = _sentence(after)
    return _sentence(before), f"{whole}{weather}" if whole else weather.removeprefix(" in ")


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


# --- with a caption ---------------------------------------------------------------------------------------------------


def in_caption(items: list[Item], caption: str) -> tuple[list[Item], str, str, tuple[str, ...]]:
    """The items with the caption's fuller phrases, the caption before and after, and what was not found in it."""
    if len(caption) > MAX_CAPTION:
        length = f"the caption is {len(caption)} characters long"
        raise PlanUnreadable(f"{length}; at most {MAX_CAPTION} are read", "say in one sentence what is there")
    edited = Caption(caption)
    if len(edited) > MAX_CHUNKS:
        raise PlanUnreadable(
            f"the caption names more than {MAX_CHUNKS // 2} things", "say in one sentence what is there"
        )
    source = edited.text
    warnings: list[str] = []
    out = [_follow(item, edited, warnings) for item in items]
    looks = [sure(item.target).text for item in out if item.where != "region"]
    return out, source, ", ".join([edited.text, *looks]), tuple(warnings)


def _follow(item: Item, edited: Caption, warnings: list[str]) -> Item:
    """The item as the caption has it; the caption says afterwards what the item makes of it."""
    if item.where == "picture":
        return item
    if item.source is None:
        return _anchored(item, edited, warnings)
    node, several = edited.find(item.source)
    if node is None:
        said = f"the caption does not name {item.source.plain!r}: the sentence after the edit leaves it out"
        warnings.append(said)
        return item
    item = _described(item, node.phrase, several, warnings)
    if item.action == "remove":
        ground = item.anchor or edited.last(lex.GROUNDS)
        same = ground is not None and ground.head == sure(item.source).head
        edited.remove(node)
        return replace(item, anchor=None if same else ground)
    if item.where == "region":
        edited.replace(node, sure(item.target))
    return item


def _described(item: Item, full: Phrase, several: bool, warnings: list[str]) -> Item:
    """The item about the caption's phrase: "the car" of the request is "a red car" there."""
    named = sure(item.source)
    if several and named.count is None:
        warnings.append(f"the caption names more than one {named.plain!r}: {full.plain!r} was taken")
    if len(full.words) <= len(named.words):
        return item
    full = replace(full, count=named.count)
    if item.look is not None:
        return replace(item, source=full, target=item.look.on(full) if item.where == "region" else item.target)
    if item.quality:
        return replace(item, source=full, target=Phrase(with_quality(full.words, item.quality), full.countable))
    return replace(item, source=full)


def _anchored(item: Item, edited: Caption, warnings: list[str]) -> Item:
    """An addition with its anchor as the caption has it; without one it goes to the ground, or to the sky what
    flies."""
    target = sure(item.target)
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
