"""Two whole prompts → what differs between them, as noun phrases: changes, and also what is only in one of them."""

from __future__ import annotations

from dataclasses import replace
from difflib import SequenceMatcher

from gas.errors import PlanUnreadable
from gas.plan.phrases import normalise_phrase
from gas_planners.rules import lexicon as lex
from gas_planners.rules.caption import Chunk, chunks, text, tokens
from gas_planners.rules.items import Item
from gas_planners.rules.noun_phrase import Phrase, phrase
from gas_planners.rules.tokens import low

MAX_CHARACTERS = 2000
MAX_CHUNKS = 128
EXAMPLE = 'write them alike, such as "a dog on grass" and "a cat with a hat on grass"'
_ATTACHED = frozenset({"with", "wearing", "holding", "carrying", "having", "in", "on"})


def read_prompts(source: str, target: str) -> list[Item]:
    """The items that lead from one prompt to the other, in the order of the prompts.

    Prompts are compared noun phrase by noun phrase. Each phrase that has another in its place is a change, one that
    was put in an addition (anchored at what it stands with), one that was left out a removal. PlanUnreadable when the
    prompts are too long, or differ in nothing that can be edited.
    """
    for name, prompt in (("source", source), ("target", target)):
        if len(prompt) > MAX_CHARACTERS:
            raise PlanUnreadable(
                f"the {name} prompt has {len(prompt)} characters", f"at most {MAX_CHARACTERS} are read"
            )
        if not any(chunk.noun for chunk in chunks(tokens(prompt))):
            raise PlanUnreadable(f"the {name} prompt {prompt[:60]!r} names nothing", EXAMPLE)
    before, after = chunks(tokens(source)), chunks(tokens(target))
    if max(len(before), len(after)) > MAX_CHUNKS:
        raise PlanUnreadable(f"a prompt names more than {MAX_CHUNKS // 2} things", EXAMPLE)
    matcher = SequenceMatcher(None, [_key(c) for c in before], [_key(c) for c in after], autojunk=False)
    items: list[Item] = []
    lost: list[str] = []
    for kind, a0, a1, b0, b1 in matcher.get_opcodes():
        if kind == "equal":
            continue
        found = _block(before, a0, a1, after, b0, b1)
        items += found
        if not found:
            lost.append(f"{text(before[a0:a1])!r} → {text(after[b0:b1])!r}")
    items = _moved(items, lost)
    if not items:
        what = f"only in {', '.join(lost)}" if lost else "in nothing"
        raise PlanUnreadable(f"the two prompts differ {what[:200]}, which cannot be made into an edit", EXAMPLE)
    if lost:
        note = f"not part of any subtask: {', '.join(lost)}"
        items[0] = replace(items[0], warnings=(*items[0].warnings, note[:200]))
    return items


def _moved(items: list[Item], lost: list[str]) -> list[Item]:
    """The items without what is taken out at one place and put in at another: that is only the order of the words."""
    out = [i.source.plain.casefold() for i in items if i.action == "remove" and i.source]
    back = [i.target.plain.casefold() for i in items if i.action == "add" and i.target]
    moved = set(out) & set(back)
    lost += [f"where {name!r} stands" for name in sorted(moved)]
    named = [(i.target if i.action == "add" else i.source) for i in items]
    return [
        i
        for i, p in zip(items, named, strict=True)
        if i.action == "change" or p is None or p.plain.casefold() not in moved
    ]


def _key(chunk: Chunk) -> str:
    return normalise_phrase(phrase(chunk.words).plain) if chunk.noun else f"({' '.join(low(chunk.words))})"


def _block(before: list[Chunk], a0: int, a1: int, after: list[Chunk], b0: int, b1: int) -> list[Item]:
    """The items of one stretch that differs."""
    old = [i for i in range(a0, a1) if before[i].noun]
    new = [j for j in range(b0, b1) if after[j].noun]
    if not old:
        return [_added(after, j, before) for j in new]
    if not new:
        return [_removed(before, i) for i in old]
    if len(old) == 1:  # "a dog" → "a cat with a hat"
        whole = _span(after, new[0], new[-1])
        return _change(phrase(before[old[0]].words), whole)
    if len(old) == len(new):
        return [
            item
            for i, j in zip(old, new, strict=True)
            for item in _change(phrase(before[i].words), phrase(after[j].words))
        ]
    return _matched(before, old, after, new)


def _matched(before: list[Chunk], old: list[int], after: list[Chunk], new: list[int]) -> list[Item]:
    """Unequal numbers: what has the same main noun belongs together, then the rest in order; what is left over is put
    in or taken out. A guess, and said to be one."""
    pairs: dict[int, int] = {}
    free = list(new)
    for i in old:
        head = phrase(before[i].words).head
        match = next((j for j in free if phrase(after[j].words).head == head), None)
        if match is not None:
            pairs[i] = match
            free.remove(match)
    for i in old:
        if i not in pairs and free:
            pairs[i] = free.pop(0)
    items: list[Item] = []
    for i in old:
        if i in pairs:
            items += _change(phrase(before[i].words), phrase(after[pairs[i]].words))
        else:
            items.append(_removed(before, i))
    items += [_added(after, j, before) for j in free]
    if items:
        note = f"the prompts differ much here, check the pairs: {text([before[i] for i in old])!r}"
        items[0] = replace(items[0], warnings=(*items[0].warnings, note))
    return items


def _change(old: Phrase, new: Phrase) -> list[Item]:
    return [] if normalise_phrase(old.plain) == normalise_phrase(new.plain) else [Item("change", old, new)]


def _span(parts: list[Chunk], first: int, last: int) -> Phrase:
    """The phrase from one noun phrase to another with all between them: "a cat with a hat"."""
    words = tuple(word for chunk in parts[first : last + 1] for word in chunk.words)
    head = phrase(parts[first].words)
    return Phrase(words[len(parts[first].words) - len(head.words) :], head.countable)


def _added(parts: list[Chunk], at: int, source: list[Chunk]) -> Item:
    """An addition, anchored at the phrase that it stands with, else at the ground of the source."""
    anchor = _stands_with(parts, at)
    known = {_key(chunk) for chunk in source if chunk.noun}
    if anchor is not None and normalise_phrase(anchor.plain) not in known:
        anchor = None  # it is new itself
    return Item("add", target=phrase(parts[at].words), anchor=anchor or _ground(source), place="to")


def _removed(parts: list[Chunk], at: int) -> Item:
    gone = phrase(parts[at].words)
    anchor = _stands_with(parts, at) or _ground(parts)
    same = anchor is not None and anchor.head == gone.head
    return Item("remove", source=gone, anchor=None if same else anchor)


def _stands_with(parts: list[Chunk], at: int) -> Phrase | None:
    """B of "B with A" and of "B on A", where A is the phrase at `at`."""
    if at < 2 or parts[at - 1].noun or not parts[at - 2].noun:
        return None
    return phrase(parts[at - 2].words) if low(parts[at - 1].words)[0] in _ATTACHED else None


def _ground(parts: list[Chunk]) -> Phrase | None:
    found = [phrase(chunk.words) for chunk in parts if chunk.noun]
    return next((p for p in reversed(found) if p.head in lex.GROUNDS), None)
