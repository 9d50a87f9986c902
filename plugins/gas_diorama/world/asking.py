"""Phrases asked of a scene and which of its things each one means: what the detector is trained and judged with. No
torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gas_diorama.world.drawing import masks
from gas_diorama.world.language import article, name, phrase
from gas_diorama.world.scene import COLOURS, GROUNDS, KINDS, SIZE, SKIES, Scene, Thing

STRANGERS = (
    "dog", "cat", "man", "woman", "child", "bird", "horse", "bicycle", "bus", "boat", "train", "table", "chair", "cup",
    "book", "flower", "mountain", "road", "bridge", "tower", "cloud", "moon", "river", "fish", "hat", "door", "window",
    "robot", "lamp", "apple", "castle", "aeroplane", "fence", "bench", "shoe", "guitar", "cake", "rabbit", "rock",
)  # fmt: skip
"""Nouns that mean nothing in the diorama."""


@dataclass(frozen=True)
class Asked:
    """A phrase and the things that it means: indices into `things(scene)`, none when it is absent."""

    text: str
    answers: tuple[int, ...]


def things(scene: Scene) -> list[Thing | str]:
    """What can be found in a scene: its objects in their order, then "ground", then "sky"."""
    return [*scene.objects, "ground", "sky"]


def visible_boxes(scene: Scene) -> NDArray[np.float32]:
    """The tight boxes (x0, y0, x1, y1) in pixels around what is visible of each of `things(scene)`: float32 (n, 4).

    A pixel counts when at least half of it is covered.
    """
    visible = masks(scene)
    boxes = []
    for what in things(scene):
        rows, columns = np.nonzero(visible[what] >= 0.5)
        boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
    return np.array(boxes, np.float32)


def cell_owners(scene: Scene, side: int) -> NDArray[np.int64]:
    """Which of `things(scene)` covers most of each of side x side cells: int64 (side, side)."""
    visible = masks(scene)
    cell = SIZE // side
    share = np.stack([visible[what].reshape(side, cell, side, cell).sum((1, 3)) for what in things(scene)])
    return share.argmax(0)


LABELS = [*KINDS, *COLOURS, *GROUNDS, *SKIES]
"""What a cell can be."""


def cell_labels(scene: Scene, sides: Sequence[int]) -> NDArray[np.bool_]:
    """For each cell of levels of `sides` cells a side, which of LABELS are true of what covers most of it: bool (cells,
    labels)."""
    of = [[one.kind, one.colour] if isinstance(one, Thing) else [] for one in [*scene.objects, "", ""]]
    of[-2], of[-1] = [scene.ground], [scene.sky]
    table = np.array([[label in some for label in LABELS] for some in of])
    return np.concatenate([table[cell_owners(scene, side)].reshape(-1, len(LABELS)) for side in sides])


def _meant(scene: Scene, colour: str | None, kind: str) -> tuple[int, ...]:
    return tuple(i for i, thing in enumerate(scene.objects) if thing.kind == kind and colour in (None, thing.colour))


def _dressed(noun: str, rng: np.random.Generator) -> str:
    """The noun with "a", with "the" or bare."""
    draw = rng.random()
    return article(noun) if draw < 0.5 else f"the {noun}" if draw < 0.75 else noun


def ask_thing(scene: Scene, thing: Thing, rng: np.random.Generator) -> Asked:
    """A phrase for one of the scene's objects, in one of the ways in which people name it."""
    colour = None if rng.random() < 0.2 else thing.colour
    text = _dressed(thing.kind if colour is None else name(thing), rng)
    if rng.random() < 0.08:
        text += f" on {'the ' if rng.random() < 0.3 else ''}{scene.ground}"
    return Asked(text, _meant(scene, colour, thing.kind))


def _ground(ground: str, rng: np.random.Generator) -> str:
    return ground if rng.random() < 0.6 else f"the {ground}"


def ask_ground(scene: Scene, rng: np.random.Generator) -> Asked:
    """A phrase for the ground."""
    return Asked(_ground("ground" if rng.random() < 0.15 else scene.ground, rng), (len(scene.objects),))


def ask_sky(scene: Scene, rng: np.random.Generator) -> Asked:
    """A phrase for the sky."""
    plain = ("the sky", "sky")[int(rng.integers(2))]
    return Asked(plain if rng.random() < 0.2 else _dressed(name(scene.sky), rng), (len(scene.objects) + 1,))


def _other(rng: np.random.Generator, names: Sequence[str], not_these: Sequence[str]) -> str:
    return str(rng.choice([one for one in names if one not in not_these]))


ABSENT = ("colour", "kind", "thing", "kind alone", "ground", "sky", "stranger")
"""How a phrase can name what is not there; the first two are the nearest misses."""


def ask_absent(scene: Scene, rng: np.random.Generator, form: str) -> Asked:
    """A phrase for something that is not in the scene.

    Args:
        scene: the scene.
        rng: all randomness comes from it.
        form: "colour": a kind that is there in a colour that it has not (the colour of something else when there is
            one); "kind": the other way round; "thing": any colour and kind; "kind alone"; "ground"; "sky"; "stranger":
            a noun that means nothing here.

    Raises:
        ValueError: another `form`.
    """
    taken = {thing.name for thing in scene.objects}
    some = scene.objects[int(rng.integers(len(scene.objects)))]
    if form in ("colour", "kind", "thing"):
        colours = [thing.colour for thing in scene.objects] if rng.random() < 0.5 else []
        kinds = [thing.kind for thing in scene.objects] if rng.random() < 0.5 else []
        pairs = {
            "colour": [(colour, some.kind) for colour in colours] or [(colour, some.kind) for colour in COLOURS],
            "kind": [(some.colour, kind) for kind in kinds] or [(some.colour, kind) for kind in KINDS],
            "thing": [(colour, kind) for colour in COLOURS for kind in KINDS],
        }[form]
        free = [pair for pair in pairs if pair not in taken]
        if not free:
            free = [(colour, kind) for colour in COLOURS for kind in KINDS if (colour, kind) not in taken]
        return Asked(_dressed(" ".join(free[int(rng.integers(len(free)))]), rng), ())
    if form == "kind alone":
        return Asked(_dressed(_other(rng, KINDS, [thing.kind for thing in scene.objects]), rng), ())
    if form == "ground":
        return Asked(_ground(_other(rng, GROUNDS, [scene.ground]), rng), ())
    if form == "sky":
        return Asked(_dressed(name(_other(rng, SKIES, [scene.sky])), rng), ())
    if form == "stranger":
        noun = str(rng.choice(STRANGERS))
        return Asked(_dressed(f"{rng.choice(COLOURS)} {noun}" if rng.random() < 0.4 else noun, rng), ())
    raise ValueError(f"unknown form {form!r}: use one of {ABSENT}")


def ask(scene: Scene, rng: np.random.Generator) -> list[Asked]:
    """One to a dozen phrases in any order, some of which may be absent: a training caption.

    Most captions ask much more than a person would: words cost a network little beside a picture, and each teaches.
    """
    full = rng.random() < 0.7
    present, again = (0.9, 0.5) if full else (0.5, 0.0)
    asked = [ask_thing(scene, thing, rng) for thing in scene.objects if rng.random() < present]
    asked += [ask_thing(scene, thing, rng) for thing in scene.objects if rng.random() < again]
    asked += [ask_ground(scene, rng)] * int(rng.random() < present / 1.5)
    asked += [ask_sky(scene, rng)] * int(rng.random() < present / 1.5)
    absent = int(rng.integers(2, 6)) if full else int(rng.integers(0, 3))
    chances = (0.32, 0.22, 0.12, 0.08, 0.1, 0.1, 0.06)
    for form in rng.choice(ABSENT, size=max(absent, 0 if asked else 1), p=chances):
        asked.append(ask_absent(scene, rng, str(form)))
    distinct = list({one.text: one for one in asked}.values())
    return [distinct[i] for i in rng.permutation(len(distinct))]


def plain(scene: Scene) -> list[Asked]:
    """The plain phrase of every one of `things(scene)`."""
    named: list[Thing | str] = [*scene.objects, scene.ground, scene.sky]
    return [Asked(phrase(what), (i,)) for i, what in enumerate(named)]
