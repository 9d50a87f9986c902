"""Captions, phrases and requests about scenes: everything that the diorama's networks are told in words. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gas_diorama.world.scene import Edit, Scene, Thing


def article(noun: str) -> str:
    """The noun after "a" or "an"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def name(what: Thing | str) -> str:
    """ "red car" of a thing, "grass" of a ground, "clear sky" of a sky."""
    if isinstance(what, Thing):
        return f"{what.colour} {what.kind}"
    return f"{what} sky" if what in ("clear", "sunset", "night") else what


def phrase(what: Thing | str) -> str:
    """The plain phrase: "a red car", "grass", "a clear sky"."""
    return name(what) if what in ("grass", "snow", "sand", "water") else article(name(what))


def _choice(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def joined(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def caption(scene: Scene, rng: np.random.Generator | None = None) -> str:
    """A whole sentence that names everything, such as "a red car and a blue tree on grass under a clear sky".

    Without `rng` the plain form, things in the scene's order; with it one of several forms, things in any order.
    """
    things = list(scene.objects)
    if rng is not None:
        things = [things[i] for i in rng.permutation(len(things))]
    ground, sky = name(scene.ground), name(scene.sky)
    if rng is None:
        listed = joined([phrase(thing) for thing in things]) + " on " if things else ""
        return f"{listed}{ground} under {article(sky)}"
    form = int(rng.integers(10))
    with_article = article if form != 7 else (lambda noun: f"the {noun}") if rng.random() < 0.6 else str
    listed = joined([with_article(name(thing)) for thing in things]) if things else ""
    on = _choice(rng, ("on", "on", "on the", "standing on" if form == 4 else "on"))
    if not things:
        return _choice(
            rng, (f"{ground} under {article(sky)}", f"{article(sky)} over {ground}", f"{ground}, {article(sky)}")
        )
    if form <= 4:
        return f"{listed} {on} {ground} under {_choice(rng, (article(sky), article(sky), f'the {sky}', sky))}"
    if form == 5:
        return f"{article(sky)} over {ground} with {listed}"
    if form == 6:
        medium = _choice(rng, ("a picture of", "a drawing of", "an image of"))
        return f"{medium} {listed} {on} {ground} under {article(sky)}"
    commas = [with_article(name(thing)) for thing in things]
    tail = [_choice(rng, (ground, f"the {ground}")), _choice(rng, (article(sky), f"the {sky}", sky))]
    if form == 7:
        return joined([*commas, *tail])
    if form == 8:
        return ", ".join([*commas, *tail])
    return f"{listed}, {on} {ground}, {article(sky)}"


def _thing_phrase(thing: Thing, rng: np.random.Generator) -> str:
    noun = name(thing) if rng.random() < 0.88 else thing.kind
    draw = rng.random()
    return article(noun) if draw < 0.55 else f"the {noun}" if draw < 0.75 else noun


def _ground_phrase(ground: str, rng: np.random.Generator) -> str:
    return _choice(rng, (ground, ground, f"the {ground}"))


def _sky_phrase(sky: str, rng: np.random.Generator) -> str:
    return _choice(rng, (article(name(sky)), f"the {name(sky)}", name(sky)))


def short_phrase(scene: Scene, rng: np.random.Generator) -> str:
    """A true phrase that names only a part of the scene: "the red car", "grass", "a ball on sand", "sunset sky"."""
    things = list(scene.objects)
    draw = rng.random()
    if not things or draw < 0.16:
        return _ground_phrase(scene.ground, rng)
    if draw < 0.32:
        return _sky_phrase(scene.sky, rng)
    if draw < 0.38:
        return f"{_ground_phrase(scene.ground, rng)} under {_sky_phrase(scene.sky, rng)}"
    thing = things[int(rng.integers(len(things)))]
    one = _thing_phrase(thing, rng)
    if draw < 0.72:
        return one
    if draw < 0.84:
        return f"{one} on {_ground_phrase(scene.ground, rng)}"
    if draw < 0.88:
        return f"{_ground_phrase(scene.ground, rng)} with {one}"
    if draw < 0.92:
        return f"{one} under {_sky_phrase(scene.sky, rng)}"
    some = [things[i] for i in rng.permutation(len(things))[:2]]
    return joined([article(name(thing)) for thing in some])


def training_text(scene: Scene, rng: np.random.Generator, empty: float = 0.1, short: float = 0.35) -> str:
    """What a network is told of the scene in training: nothing with chance `empty`, a short phrase with chance `short`,
    else a whole sentence."""
    draw = rng.random()
    if draw < empty:
        return ""
    return short_phrase(scene, rng) if draw < empty + short else caption(scene, rng)


def edit_phrases(edit: Edit, scene: Scene) -> tuple[str, str]:
    """(source, target) phrases of a subtask: ("a red car", "a blue house"), ("grass", "snow"). An added thing is told
    as ("grass", "grass with a red ball"), a removed one as ("a red ball on grass", "grass")."""
    if edit.action == "add":
        return phrase(scene.ground), f"{phrase(scene.ground)} with {phrase(edit.target)}"  # type: ignore[arg-type]
    if edit.action == "remove":
        return f"{phrase(edit.source)} on {phrase(scene.ground)}", phrase(scene.ground)  # type: ignore[arg-type]
    return phrase(edit.source), phrase(edit.target)  # type: ignore[arg-type]


def _referred(thing: Thing, scene: Scene | None, rng: np.random.Generator) -> str:
    """ "red car", or "car" where it is the only one of its kind."""
    alone = scene is not None and sum(other.kind == thing.kind for other in scene.objects) == 1
    return thing.kind if alone and rng.random() < 0.25 else name(thing)


_CHANGE = (
    "change the {a} into {b}",
    "change the {a} to {b}",
    "turn the {a} into {b}",
    "make the {a} {b}",
    "make the {a} into {b}",
    "replace the {a} with {b}",
    "replace the {a} by {b}",
    "swap the {a} for {b}",
    "swap the {a} with {b}",
    "transform the {a} into {b}",
    "convert the {a} into {b}",
    "let the {a} become {b}",
    "the {a} should be {b}",
    "put {b} in place of the {a}",
    "I want {b} instead of the {a}",
)
_RECOLOUR = (
    "make the {a} {c}",
    "paint the {a} {c}",
    "colour the {a} {c}",
    "color the {a} {c}",
    "turn the {a} {c}",
    "change the colour of the {a} to {c}",
    "change the color of the {a} to {c}",
    "recolour the {a} in {c}",
    "the {a} should be {c}",
)
_ADD = (
    "add {b}",
    "add {b} to the picture",
    "add {b} on the {g}",
    "add {b} to the {g}",
    "put {b} on the {g}",
    "place {b} on the {g}",
    "insert {b}",
    "draw {b} on the {g}",
    "give the scene {b}",
    "there should be {b} on the {g}",
)
_REMOVE = (
    "remove the {a}",
    "remove the {a} from the picture",
    "delete the {a}",
    "erase the {a}",
    "get rid of the {a}",
    "take away the {a}",
    "take the {a} out of the picture",
    "make the {a} disappear",
    "without the {a}",
)
_SKY = ("make it a {b}", "make it {w}", "make the sky {w}", "give it a {b}")
_SKY_WORDS = {"clear": ("clear", "a clear day"), "sunset": ("sunset", "a sunset"), "night": ("night", "a night")}


def instruction(edit: Edit, rng: np.random.Generator | None = None, scene: Scene | None = None) -> str:
    """A request for the edit: "change the red car into a blue house" without `rng`, with it one of the many forms that
    people use. A `scene` lets the request leave a colour out where it stays clear what is meant, and name the
    ground."""
    if rng is None:
        if edit.action == "add":
            return f"add {phrase(edit.target)}"  # type: ignore[arg-type]
        if edit.action == "remove":
            return f"remove the {name(edit.source)}"  # type: ignore[arg-type]
        return f"change the {name(edit.source)} into {phrase(edit.target)}"  # type: ignore[arg-type]
    ground = scene.ground if scene is not None else "ground"
    if edit.action == "add":
        return _choice(rng, _ADD).format(b=phrase(edit.target), g=ground)  # type: ignore[arg-type]
    if edit.action == "remove":
        assert isinstance(edit.source, Thing)
        return _choice(rng, _REMOVE).format(a=_referred(edit.source, scene, rng))
    if isinstance(edit.source, Thing) and isinstance(edit.target, Thing):
        a = _referred(edit.source, scene, rng)
        if edit.source.kind == edit.target.kind and rng.random() < 0.6:
            return _choice(rng, _RECOLOUR).format(a=a, c=edit.target.colour)
        keeps_colour = edit.source.colour == edit.target.colour and rng.random() < 0.2
        return _choice(rng, _CHANGE).format(a=a, b=article(edit.target.kind) if keeps_colour else phrase(edit.target))
    source, target = str(edit.source), str(edit.target)
    if edit.part == "sky" and rng.random() < 0.3:
        return _choice(rng, _SKY).format(b=name(target), w=_choice(rng, _SKY_WORDS[target]))
    a = name(source) if edit.part == "ground" or rng.random() < 0.7 else "sky"
    return _choice(rng, _CHANGE).format(a=a, b=phrase(target))


def request(edits: Sequence[Edit], rng: np.random.Generator | None = None, scene: Scene | None = None) -> str:
    """One sentence that asks for all `edits`: their instructions with commas between them."""
    return ", ".join(instruction(edit, rng, scene) for edit in edits)
