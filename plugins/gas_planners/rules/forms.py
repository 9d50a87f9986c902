"""The plain forms that the rules of clauses end in: each reads the words in its places as items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gas_planners.rules import lexicon as lex
from gas_planners.rules.additions import addition, given, in_place_of_the_last, is_new, removal
from gas_planners.rules.changes import (
    become,
    changed,
    changed_from,
    colour_of,
    extended,
    is_colour_of,
    is_plain,
    is_position,
    qualified,
)
from gas_planners.rules.items import TOPIC, Item, Reading, is_pronoun, made_before, named, noted, rewritten, things
from gas_planners.rules.noun_phrase import (
    coordinates,
    is_participle,
    is_phrase,
    is_plural,
    phrase,
    split_determiner,
    with_quality,
)
from gas_planners.rules.qualities import are_qualities, is_adjective, is_pure_adjective
from gas_planners.rules.rewriting import Clause, Form
from gas_planners.rules.tokens import Words, low

KEEP_SHAPE = "keep the shape"
"""The note of a reading that asks the outlines of what was read before to stay."""


def _change(c: Clause, source: Words, target: Words, by: str) -> Reading | None:
    target = target[2:] if low(target)[:2] in {("the", "colour"), ("the", "color")} and len(target) > 2 else target
    return changed(source, target, c.carry(), c.context, by=by)


def _made(c: Clause, source: Words, target: Words) -> Reading | None:
    """make/turn A B without a word between: the plate a wooden board, the house blue, the grass snow, the sky water."""
    lower, before = low(target), low(source)[-1]
    if before in lex.FORMS_OF_BE or (lex.ACTS & {*low(source)[2:]} and not is_plain(source)):
        return None  # "let the man ride a horse", "the van which is | white black"
    quality = are_qualities(target) or is_colour_of(source, target) or (len(target) == 1 and lower[0] in lex.DOING)
    if quality or is_pronoun(source):
        return become(source, target, c.carry("make"), c.context, strict=True)
    begins = low(source)[0] in lex.DETERMINERS | lex.QUANTIFIERS and not is_adjective(before)
    begins = begins and not {"to", "with", "for", "from"} & set(low(source))  # "the cat to a lynx"
    if c.verb in {"let", "have"} and (before in lex.SKY or not is_plain(source)):
        return None  # "let the sky rain"
    new = lower[0] in lex.DETERMINERS or _is_bare_target(before, target)
    return changed(source, target, c.carry("make"), c.context) if begins and new else None


def _is_bare_target(before: str, target: Words) -> bool:
    """Whether a target without article can be told from the thing before it: "the grass snow", "the cats dogs"."""
    lower = low(target)
    plain = len(target) == 1 or (len(target) == 2 and is_adjective(lower[0]))
    mass = lower[-1] in lex.MASS and before in lex.MASS | lex.GROUNDS | lex.SKY
    return plain and is_phrase(target) and (mass or (is_plural(lower[-1]) and is_plural(before)))


def _swap(c: Clause, source: Words, target: Words) -> Reading | None:
    """replace A with B; of several "with" one parts old from new: "replace the man with a hat with a robot", "… with a
    car with big wheels"."""
    if "with" not in low(target)[1:]:
        return _change(c, source, target, "with")
    at = low(target).index("with", 1)
    worn = split_determiner(target[:at])[1]
    if worn and phrase(worn).head in {phrase((part,)).head for part in lex.PARTS}:
        source, target = (*source, "with", *target[:at]), target[at + 1 :]
    note = f"'with' stands there twice; read as {' '.join(source) + ' | ' + ' '.join(target)!r}"
    return noted(_change(c, source, target, "with"), (note,))


def _substitute(c: Clause, new: Words, old: Words) -> Reading | None:
    """substitute B for A; "substitute the apple for an orange" as people use it."""
    if low(new)[0] in lex.DEFINITE and low(old)[0] in lex.INDEFINITE:
        return changed(new, old, c.carry(), c.context, by="for")
    return changed(old, new, (), c.context, by="for")


def _exchange(c: Clause, words: Words) -> Reading | None:
    both = [phrase(part) for part in coordinates(words)]
    if len(both) != 2 or "of" in low(words) or both[0].head in lex.ABSTRACT | {"colour", "color"}:
        return None
    a, b = both
    note = f"read as an exchange: {a.plain} and {b.plain} take each other's place"
    return Reading((Item("change", a, b, warnings=(note,)), Item("change", b, a)), carry=c.carry())


def _quality(c: Clause, source: Words, qualities: Words, strict: str = "") -> Reading | None:
    if strict and is_pure_adjective(low(source)[-1]):
        return None
    return qualified(source, qualities, c.carry("make"), c.context, strict=bool(strict))


def _become(c: Clause, source: Words, target: Words | str, more: Words = ()) -> Reading | None:
    words = (target, *more) if isinstance(target, str) else (*target, *more)
    return become(source, words, c.carry("make"), c.context)


def _material(c: Clause, source: Words, material: Words) -> Reading | None:
    return become(source, ("made", "of", *material), c.carry(), c.context)


def _cover(c: Clause, source: Words, cover: Words, verb: Words) -> Reading | None:
    """cover A with B: A becomes A covered with B."""
    word = {"wrap": "wrapped", "coat": "coated"}.get(low(verb)[0], "covered")
    return become(source, (word, "in" if word == "wrapped" else "with", *cover), c.carry(), c.context)


def _state(c: Clause, source: Words, verb: Words) -> Reading | None:
    return qualified(source, (lex.INTO_STATE[low(verb)[0]],), c.carry(), c.context)


def _dress(c: Clause, source: Words, clothes: Words) -> Reading | None:
    """put him in a suit: what somebody wears is put on him, not him into it."""
    return become(source, ("in", *clothes), (), c.context) if phrase(clothes).head in lex.CLOTHING else None


def _not_so(c: Clause, first: Words, old: Words) -> Reading | None:
    """make the dress yellow instead of red: it is a red dress now."""
    reading = c.read(first, c.context)
    if reading is None or not all(item.quality and item.source for item in reading.items):
        return None
    items = tuple(
        replace(item, source=replace(item.source, words=with_quality(item.source.words, old)))
        for item in reading.items
        if item.source
    )
    return replace(reading, items=items)


def _bare(c: Clause, source: Words, target: Words) -> Reading | None:
    """A into B and A to B without any verb."""
    return changed(source, target, (), c.context, by="to") if _begins(source) and not is_position(target) else None


def _bare_colour(c: Clause, source: Words, colour: Words) -> Reading | None:
    """the left car blue."""
    return _quality(c, source, colour, "strict") if _begins(source) else None


def _bare_quality(c: Clause, source: Words, quality: Words) -> Reading | None:
    """the lake frozen; but "my hair looks flat" asks for nothing."""
    return _bare_colour(c, source, quality) if is_plain(source) else None


def _begins(source: Words) -> bool:
    """Whether it is believable that a clause begins with a thing and no verb."""
    return len(source) <= 8 and low(source)[0] not in lex.WISHES | lex.VERBS.keys() | lex.OTHER_VERBS


def _rather(c: Clause, wanted: Words) -> Reading | None:
    """the dog is great, but I would prefer a cat; … but a cat would be better."""
    topic = c.context.group[-1] if c.context.group else None
    if topic is None or topic.action != TOPIC or topic.source is None or low(wanted)[0] not in lex.INDEFINITE:
        return None
    return changed(("the", *topic.source.words), wanted, ("change",), c.context, by="into")


# --- add, remove, give ------------------------------------------------------------------------------------------------


def _add(c: Clause, words: Words) -> Reading | None:
    placing = c.verb in {"put", "place", "hang", "stick", "set", "lay", "draw"}
    return addition(words, (c.verb,) if placing else ("add",), c.context)


def _put(c: Clause, words: Words, verb: Words) -> Reading | None:
    """put, draw, hang B: a new thing, since nothing can be moved."""
    there = low(words)[0] in lex.DEFINITE or is_pronoun(words[:1])
    return None if there or low(verb) == ("use",) else _add(c, words)


def _wanted(c: Clause, words: Words) -> Reading | None:
    there = low(words)[0] in lex.DEFINITE | {"it", "them", "all", "both"}
    if there or not is_phrase(words):
        return None if there else addition(words, ("add",), c.context)
    found = phrase(words)
    if found.head in lex.SKY | lex.GROUNDS and are_qualities(found.words[:-1]):  # "I want green grass"
        note = f"read as a change of the {found.head} that is there"
        return noted(changed(("the", found.head), words, (), c.context, by="into"), (note,))
    return addition(words, ("add",), c.context)


def _remove(c: Clause, words: Words, place: Words = ()) -> Reading | None:
    if place and is_participle(low(words)[-1]):  # "the cables hanging from the ceiling"
        words, place = (*words, "from", *place), ()
    return removal(words, c.context, place)


def _clear(c: Clause, words: Words, verb: Words) -> Reading | None:
    """cut out A, clear away A; but "clean up the room" does not take the room away."""
    cleaning = low(verb)[0] in {"clean", "clear", "wipe", "scrub", "filter"} and not is_pronoun(words)
    loose = cleaning and (phrase(words).head in lex.MASS or any(is_plural(word) for word in low(words)))
    return removal(words, c.context) if loose or not cleaning else None


def _given(c: Clause, owner: Words, thing: Words) -> Reading | None:
    return given(owner, thing, c.context)


def _give(c: Clause, owner: Words, thing: Words) -> Reading | None:
    """give A B: B begins with its article, or is a plural or a material after a complete thing."""
    lower = low(thing)
    starts = lower[0] in lex.INDEFINITE | {"no"} or lower[0] in lex.NUMBERS
    complete = low(owner)[0] in lex.DETERMINERS and not is_adjective(low(owner)[-1])
    bare = is_phrase(thing) and (is_plural(lower[-1]) or lower[-1] in lex.MASS) and all(map(is_adjective, lower[:-1]))
    sure = is_pronoun(owner) and lower[0] not in lex.DEFINITE
    return given(owner, thing, c.context) if starts or sure or (complete and bare) else None


def _fill(c: Clause, owner: Words, thing: Words, verb: Words) -> Reading | None:
    """fill A with B, decorate A with B, dress A in B: B is added to A."""
    again = made_before(owner, c.context)
    if again and all(is_new(c.context.items[i]) for i in again):
        return rewritten(again, c.context, lambda item: extended(item, ("with", *thing)), c.carry())
    places = things(owner, c.context)
    if places is None or len(places) != 1:
        return None
    where = {"fill": "in", "surround": "around"}.get(low(verb)[0], "to")
    anchor = phrase(places[0])
    items = tuple(Item("add", target=phrase(part), anchor=anchor, place=where) for part in coordinates(thing))
    return Reading(items, carry=c.carry())


def _in_its_place(c: Clause, words: Words) -> Reading | None:
    return in_place_of_the_last(words, c.context)


# --- what asks for nothing --------------------------------------------------------------------------------------------


def _nothing(c: Clause) -> Reading:
    return Reading(())


def _topic(c: Clause, words: Words) -> Reading | None:
    """see the cat? something to be spoken of."""
    known = named(colour_of(words) or words, c.context)
    return Reading((Item(TOPIC, source=phrase(known)),), cost=1.0) if is_phrase(known) else None


def _told(c: Clause, subject: Words, told: Words, seems: str = "") -> Reading | None:
    """the car is red: something to be spoken of. A complaint ("is too dark") or a negation is not read."""
    if any(word in lex.NEGATIONS | {"too", "supposed", "meant"} for word in low(told)):
        return None
    if low(told)[0] in lex.PRAISE or (seems and are_qualities(told)):
        return _topic(c, subject)
    return _topic(c, ("the", *with_quality(split_determiner(subject)[1], told))) if are_qualities(told) else None


def _keep(c: Clause, words: Words, verb: Words) -> Reading | None:
    """keep B, leave B as it is: nothing to do, nothing outside the regions changes; "keep the shape" is heeded."""
    rest = low(words)
    states = {"as", "alone", "unchanged", "untouched", "same", "is", "intact"}
    if low(verb) == ("leave",) and not states & set(rest) and not (is_phrase(words) and rest[0] in lex.DEFINITE):
        return None
    if not {"shape", "outline", "form", "pose", "silhouette", "shapes", "outlines"} & set(rest):
        return Reading(())
    about = words[rest.index("of") + 1 :] if "of" in rest else ()
    topic = (Item(TOPIC, source=phrase(about)),) if is_phrase(about) else ()
    return Reading(topic, cost=1.0 if topic else 0.0, notes=(KEEP_SHAPE,))


FORMS: Mapping[str, Form] = {
    "change": _change, "made": _made, "swap": _swap, "substitute": _substitute, "exchange": _exchange,
    "from": lambda c, source, old, new: changed_from(source, old, new, c.carry(), c.context),
    "quality": _quality, "become": _become, "material": _material, "cover": _cover, "state": _state, "dress": _dress,
    "not-so": _not_so, "bare": _bare, "bare-colour": _bare_colour, "bare-quality": _bare_quality,
    "rather": _rather, "add": _add, "put": _put, "wanted": _wanted,
    "remove": _remove, "clear": _clear, "given": _given, "give": _give, "fill": _fill,
    "in-its-place": _in_its_place, "nothing": _nothing, "topic": _topic, "told": _told, "keep": _keep,
}  # fmt: skip
