"""What a subtask asks of the retoucher: another colour, a tone, an effect, a removal; or what it cannot do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from gas.picture.colour_names import Colour, colours_in, nearest_names
from gas.picture.tone import Tone
from gas.plan.phrases import content_words, main_noun, words
from gas.types import Subtask

Effect = Literal["blurred", "sharper", "pixelated"]
EFFECTS: tuple[Effect, ...] = get_args(Effect)

_TONE_WORDS: dict[str, Tone] = {
    "black and white": "black and white", "black-and-white": "black and white", "monochrome": "black and white",
    "greyscale": "black and white", "grayscale": "black and white", "sepia": "sepia",
    "more contrast": "more contrast", "contrasty": "more contrast", "less contrast": "less contrast",
    "more saturated": "more saturated", "more vivid": "more saturated", "more colourful": "more saturated",
    "more colorful": "more saturated", "vivid": "more saturated", "vibrant": "more saturated",
    "less saturated": "less saturated", "desaturated": "less saturated", "muted": "less saturated",
    "duller": "less saturated", "less colourful": "less saturated", "less colorful": "less saturated",
    "faded": "faded", "washed out": "faded", "washed-out": "faded",
    "brighter": "brighter", "bright": "brighter", "lighter": "brighter", "brightened": "brighter",
    "darker": "darker", "dark": "darker", "dimmer": "darker", "darkened": "darker",
    "warmer": "warmer", "warm": "warmer", "cooler": "cooler", "cool": "cooler", "colder": "cooler",
}  # fmt: skip
_EFFECT_WORDS: dict[str, Effect] = {
    "blurred": "blurred", "blurry": "blurred", "blurrier": "blurred", "softer": "blurred", "out of focus": "blurred",
    "sharper": "sharper", "sharp": "sharper", "crisp": "sharper", "crisper": "sharper", "sharpened": "sharper",
    "pixelated": "pixelated", "pixellated": "pixelated", "pixelised": "pixelated", "pixelized": "pixelated",
}  # fmt: skip


@dataclass(frozen=True)
class Recolour:
    """Another colour for what is of the colour `source`, or for everything in the region where it names none."""

    target: Colour
    source: Colour | None


@dataclass(frozen=True)
class Toned:
    """A tone for the region."""

    tone: Tone


@dataclass(frozen=True)
class Affected:
    """An effect on the region."""

    effect: Effect


@dataclass(frozen=True)
class Removed:
    """The region filled from around it."""


@dataclass(frozen=True)
class Unknown:
    """A colour that no table has: the word, and the names that are spelt most like it."""

    word: str
    nearest: tuple[str, ...]


Asked: TypeAlias = Recolour | Toned | Affected | Removed | Unknown | None


def asked(subtask: Subtask) -> Asked:
    """What the subtask asks for; None where it asks for what needs a model.

    The attribute of the plan says what kind of change it is; without one the phrases do.
    """
    if subtask.action == "remove":
        return Removed()
    if subtask.action != "change" or subtask.attribute == "kind":
        return None
    if subtask.attribute != "colour":
        effect = _first(subtask, _EFFECT_WORDS) if subtask.attribute in (None, "effect") else None
        if effect is not None:
            return Affected(effect)  # type: ignore[arg-type]
        tone = _first(subtask, _TONE_WORDS) if subtask.attribute in (None, "tone") else None
        if tone is not None and (subtask.attribute == "tone" or _same_thing(subtask)):
            return Toned(tone)  # type: ignore[arg-type]
        if subtask.attribute in ("tone", "effect"):
            return None
    return _recolour(subtask)


def _recolour(subtask: Subtask) -> Asked:
    old, new = colours_in(subtask.source), colours_in(subtask.target)
    fresh = [colour for colour in new if colour.name not in {one.name for one in old}]
    sure = subtask.attribute == "colour"
    if not sure and not _same_thing(subtask):
        return None
    if {colour.family for colour in new} == {"black", "white"} and len(new) == 2:
        return Toned("black and white")
    if len(fresh) == 1:
        # Outside a thing its colour says nothing of what is there.
        source = old[0] if len(old) == 1 and subtask.where == "region" else None
        return Recolour(fresh[0], source)
    if sure and not new:
        named = {*content_words(subtask.source), *words(subtask.source)}
        strange = [word for word in words(subtask.target) if word not in named and word not in {"a", "an", "the"}]
        if strange:
            return Unknown(strange[0], tuple(nearest_names(" ".join(strange))))
    return None


def _same_thing(subtask: Subtask) -> bool:
    """Whether source and target speak of the same thing, or of no thing at all."""
    return subtask.where != "region" or main_noun(subtask.source) == main_noun(subtask.target)


def _first(subtask: Subtask, known: dict[str, Tone] | dict[str, Effect]) -> str | None:
    """What the target says and the source does not: the longest words first, "black and white" before "black"."""
    target, source = f" {' '.join(words(subtask.target))} ", f" {' '.join(words(subtask.source))} "
    for phrase in sorted(known, key=len, reverse=True):
        if f" {phrase} " in target and f" {phrase} " not in source:
            return known[phrase]
    return None
