"""Exact edit pairs: a scene, one edit of it, the scene after it, and an instruction that asks for it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gas_diorama.world.language import instruction, name, phrase
from gas_diorama.world.scene import EDIT_FORMS, Edit, Scene, apply, roomiest, sample_edits, sample_scene, split

_INVERSE = {"add": "remove", "remove": "add", "change": "change"}


@dataclass(frozen=True)
class Pair:
    """`render(before)` is the source picture, `render(after)` the exact result of `edit`; `form` is one of
    EDIT_FORMS."""

    form: str
    before: Scene
    edit: Edit
    after: Scene


def inverse(pair: Pair) -> Pair:
    """The pair that undoes `pair`: what was added is removed, what was removed is added where it was."""
    edit = Edit(_INVERSE[pair.edit.action], pair.edit.part, pair.edit.target, pair.edit.source)
    return Pair(_INVERSE.get(pair.form, pair.form), pair.after, edit, pair.before)


def sample_pair(rng: np.random.Generator, shares: Mapping[str, float], part: str) -> Pair:
    """A random pair of a form drawn by `shares` (form: weight), its first scene from the split `part`.

    For "train" the second one is from it too, so that no network sees a held-out scene; and what is added there stands
    where there is most room. An instruction says nothing of places, and a model that has seen things added anywhere
    smears one over several.
    """
    forms, weights = list(shares), np.array(list(shares.values()))
    form = str(rng.choice(forms, p=weights / weights.sum()))
    while True:
        scene = sample_scene(rng, part=part)
        edits = sample_edits(scene, rng, [form])
        if edits is None:
            continue
        if part == "train" and form == "add":
            spot = roomiest(scene.horizon, scene.objects)
            if spot is None:
                continue
            x, y, size = spot
            edits = (replace(edits[0], target=replace(edits[0].target, x=x, y=y, size=size)),)  # type: ignore[type-var]
        pair = Pair(form, scene, edits[0], apply(scene, edits))
        if part != "train" or split(pair.after) == part:
            return pair


def held_out(count: int, part: str, seed: int = 0) -> list[tuple[Pair, str]]:
    """`count` pairs of the split `part` with their instructions, the forms in turn, always the same. A smaller count's
    are the first ones of a larger count's."""
    found = []
    for number in range(count):
        rng = np.random.default_rng((seed, 21, number))
        pair = sample_pair(rng, {EDIT_FORMS[number % len(EDIT_FORMS)]: 1.0}, part)
        found.append((pair, instruction(pair.edit, rng, pair.before)))
    return found


def training_instruction(pair: Pair, rng: np.random.Generator) -> str:
    """An instruction for the pair: mostly as people say it, in 10 % the plain form, in 10 % as an editor words a plan's
    subtask: "turn A into B", "add B to C", "remove A from C" with the plan's phrases."""
    draw, edit, ground = rng.random(), pair.edit, name(pair.before.ground)
    if draw < 0.1:
        return instruction(edit)
    if draw >= 0.2:
        return instruction(edit, rng, pair.before)
    if edit.target is None:
        return f"remove {phrase(edit.source)} from {ground}"  # type: ignore[arg-type]
    if edit.source is None:
        return f"add {phrase(edit.target)} to {ground}"
    return f"turn {phrase(edit.source)} into {phrase(edit.target)}"
