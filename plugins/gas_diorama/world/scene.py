"""Scenes, edits of scenes, how both are drawn at random, and which scenes no network ever sees. Plain values, no
torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

SIZE = 128
"""Side of a picture in pixels."""
CELL = 8
"""Side of one latent cell in pixels: the factor of the diorama's VAE."""
GRID = SIZE // CELL
"""Cells on a side of a picture's latents."""
SMALL_AREA = 0.05
"""A thing is small when its bounding square covers less than this share of the picture."""

KINDS = ("car", "house", "tree", "ball", "igloo", "snowman", "tent", "balloon")
COLOURS = ("red", "yellow", "green", "blue", "purple", "white")
GROUNDS = ("grass", "snow", "sand", "water")
SKIES = ("clear", "sunset", "night")

_LARGE = (36, 64)
_LITTLE = (22, 28)
_SMALL_SHARE = 0.15
_HORIZON = (52, 80)
_EDGE = 3


@dataclass(frozen=True)
class Thing:
    """One object: `kind` and `colour` by name, `x` the middle and `y` the base line in pixels (origin top left), `size`
    the side in pixels of the square above the base line that it fills."""

    kind: str
    colour: str
    x: int
    y: int
    size: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The square it fills: (x0, y0, x1, y1) in pixels."""
        half = self.size // 2
        return self.x - half, self.y - self.size, self.x - half + self.size, self.y

    @property
    def is_small(self) -> bool:
        """Whether its square covers less than 5 % of the picture."""
        return self.size**2 < SMALL_AREA * SIZE**2

    @property
    def name(self) -> tuple[str, str]:
        """(colour, kind): no two things of one scene share it."""
        return self.colour, self.kind


@dataclass(frozen=True)
class Scene:
    """A picture as values: names of sky and ground, the `horizon` row in pixels, one to three `objects`, and a `seed`
    that only moves the tints a little. Nearer things (lower base line) hide farther ones."""

    sky: str
    ground: str
    horizon: int
    objects: tuple[Thing, ...]
    seed: int = 0


@dataclass(frozen=True)
class Edit:
    """One exact change of a scene.

    `action` is "change", "add" or "remove"; `part` is "thing", "ground" or "sky". `source` and `target` are a Thing for
    a thing and a name for ground and sky; `source` is None for add, `target` is None for remove. A changed thing may
    take another kind, another colour or both; it keeps its place and size unless the target says otherwise.
    """

    action: str
    part: str
    source: Thing | str | None
    target: Thing | str | None

    def __post_init__(self) -> None:
        if self.action not in ("change", "add", "remove"):
            raise ValueError(f"unknown action {self.action!r}: use change, add or remove")
        if self.part not in ("thing", "ground", "sky"):
            raise ValueError(f"unknown part {self.part!r}: use thing, ground or sky")
        if self.part != "thing" and self.action != "change":
            raise ValueError(f"the {self.part} can only be changed, not {self.action!r}")
        if (self.source is None) != (self.action == "add") or (self.target is None) != (self.action == "remove"):
            raise ValueError(f"{self.action!r} does not go with source {self.source!r} and target {self.target!r}")


def check(scene: Scene) -> Scene:
    """The scene itself when it can be drawn; ValueError names what is wrong otherwise."""
    if scene.sky not in SKIES or scene.ground not in GROUNDS:
        raise ValueError(f"unknown sky {scene.sky!r} or ground {scene.ground!r}: use {SKIES} and {GROUNDS}")
    for thing in scene.objects:
        if thing.kind not in KINDS or thing.colour not in COLOURS:
            raise ValueError(f"unknown thing {thing.colour!r} {thing.kind!r}: use {COLOURS} and {KINDS}")
    if len({thing.name for thing in scene.objects}) < len(scene.objects):
        raise ValueError(f"two things of one kind and colour in {scene.objects}: give one another colour")
    return scene


def apply(scene: Scene, edits: Sequence[Edit]) -> Scene:
    """The scene after all `edits`, which is what a perfect editor would make. Each edit's source is looked up in
    `scene` itself, so their order does not matter.

    Raises ValueError when a source is not in the scene or the result would hold two things of one kind and colour.
    """
    sky, ground = scene.sky, scene.ground
    objects: list[Thing | None] = list(scene.objects)
    added: list[Thing] = []
    for edit in edits:
        if edit.part == "thing":
            if edit.action == "add":
                assert isinstance(edit.target, Thing)
                added.append(edit.target)
                continue
            if edit.source not in scene.objects:
                raise ValueError(f"{edit.source} is not in the scene: take a source from its objects")
            assert isinstance(edit.source, Thing) and not isinstance(edit.target, str)
            objects[scene.objects.index(edit.source)] = edit.target  # None: it is removed
            continue
        present = scene.sky if edit.part == "sky" else scene.ground
        if edit.source != present:
            raise ValueError(f"the {edit.part} is {present!r}, not {edit.source!r}")
        if edit.part == "sky":
            sky = str(edit.target)
        else:
            ground = str(edit.target)
    kept = tuple(thing for thing in objects if thing is not None) + tuple(added)
    return check(replace(scene, sky=sky, ground=ground, objects=kept))


def split(scene: Scene) -> str:
    """ "train", "validation" or "test", by a hash of what the scene is made of: sky, ground and the kinds and colours
    of its things, not where they stand. No whole caption of a held-out scene therefore describes any training scene.
    80, 10, 10 %."""
    names = sorted(f"{thing.colour} {thing.kind}" for thing in scene.objects)
    digest = hashlib.sha256("|".join([scene.sky, scene.ground, *names]).encode()).digest()
    tenth = digest[0] % 10
    return "test" if tenth == 0 else "validation" if tenth == 1 else "train"


def is_held_out(scene: Scene) -> bool:
    """Whether no network was trained on scenes of this make-up (split is "validation" or "test")."""
    return split(scene) != "train"


def _overlap(a: Thing, b: Thing) -> float:
    """Share of the smaller square that lies inside the other one."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = a.box, b.box
    wide, high = min(ax1, bx1) - max(ax0, bx0), min(ay1, by1) - max(ay0, by0)
    return max(wide, 0) * max(high, 0) / min(a.size, b.size) ** 2


def place(rng: np.random.Generator, horizon: int, others: Sequence[Thing], small: bool) -> tuple[int, int, int] | None:
    """(x, y, size) of a free place whose base line is on the ground, or None when thirty tries found none."""
    for attempt in range(30):
        low, high = _LITTLE if small else _LARGE
        size = int(rng.integers(low, (high if attempt < 10 else (low + high) // 2) + 1))
        half = size // 2
        x = int(rng.integers(half + _EDGE, SIZE - half - _EDGE + 1))
        y = int(rng.integers(max(horizon + 4, size + _EDGE), SIZE - _EDGE))
        here = Thing("ball", "red", x, y, size)
        if all(_overlap(here, other) <= 0.08 for other in others):
            return x, y, size
    return None


def roomiest(horizon: int, others: Sequence[Thing]) -> tuple[int, int, int] | None:
    """(x, y, size) of the place on the ground that is farthest from all `others`, as large as possible and then as near
    the middle; None when there is none. A scene has one such place, where `place` draws any."""
    for size in range(_LARGE[1], _LARGE[0] - 1, -4):
        half, y = size // 2, max(horizon + 4, size + _EDGE, (horizon + SIZE) // 2)
        found = []
        for x in range(half + _EDGE, SIZE - half - _EDGE + 1, 4):
            here = Thing("ball", "red", x, y, size)
            if all(_overlap(here, other) == 0 for other in others):
                away = min((abs(other.x - x) for other in others), default=SIZE)
                found.append((-away, abs(x - SIZE // 2), x))
        if found:
            return min(found)[2], y, size
    return None


def sample_scene(
    rng: np.random.Generator,
    *,
    count: int | None = None,
    part: str | None = None,
    small: bool | None = None,
    twins: bool | None = None,
) -> Scene:
    """A random scene.

    Args:
        rng: all randomness comes from it.
        count: number of things, 1 to 3; by default one or two in 70 %.
        part: only scenes of this split ("train", "validation", "test"); by default of any.
        small: True makes the first thing small (< 5 % of the picture), False none; by default 15 % of things are.
        twins: True gives the first two things one kind in two colours, False all different kinds; by default chance
            decides.
    """
    if twins and count == 1:
        raise ValueError("twins need a count of 2 or 3")
    while True:
        n = count or int(rng.choice((1, 2, 3), p=(0.34, 0.36, 0.30)))
        if twins and n == 1:
            continue
        horizon = int(rng.integers(_HORIZON[0], _HORIZON[1] + 1))
        things: list[Thing] = []
        for index in range(n):
            little = bool(rng.random() < _SMALL_SHARE) if small is None else (small and index == 0)
            spot = place(rng, horizon, things, little)
            if spot is None:
                break
            kind = things[0].kind if twins and index == 1 else str(rng.choice(KINDS))
            things.append(Thing(kind, str(rng.choice(COLOURS)), *spot))
        names, kinds = {thing.name for thing in things}, {thing.kind for thing in things}
        if len(things) < n or len(names) < n or (twins is False and len(kinds) < n):
            continue
        order = rng.permutation(n) if small is None and not twins else range(n)
        scene = Scene(
            str(rng.choice(SKIES)),
            str(rng.choice(GROUNDS)),
            horizon,
            tuple(things[i] for i in order),
            int(rng.integers(0, 1 << 16)),
        )
        if part is None or split(scene) == part:
            return scene


EDIT_FORMS = ("kind", "colour", "both", "ground", "sky", "add", "remove")


def _other(rng: np.random.Generator, names: Sequence[str], present: str) -> str:
    return str(rng.choice([name for name in names if name != present]))


def sample_edit(scene: Scene, rng: np.random.Generator, form: str, among: Sequence[Thing] | None = None) -> Edit | None:
    """A random edit of the asked form (one of EDIT_FORMS) that `apply` accepts, or None when the scene has no room for
    it. `among` limits which things may be changed or removed."""
    if form not in EDIT_FORMS:
        raise ValueError(f"unknown form {form!r}: use one of {EDIT_FORMS}")
    if form == "ground":
        return Edit("change", "ground", scene.ground, _other(rng, GROUNDS, scene.ground))
    if form == "sky":
        return Edit("change", "sky", scene.sky, _other(rng, SKIES, scene.sky))
    taken = {thing.name for thing in scene.objects}
    if form == "add":
        free = [(c, k) for c in COLOURS for k in KINDS if (c, k) not in taken]
        spot = place(rng, scene.horizon, scene.objects, small=False)
        if spot is None or len(scene.objects) >= 3:
            return None
        colour, kind = free[int(rng.integers(len(free)))]
        return Edit("add", "thing", None, Thing(kind, colour, *spot))
    things = scene.objects if among is None else among
    if not things:
        return None
    source = things[int(rng.integers(len(things)))]
    if form == "remove":
        return Edit("remove", "thing", source, None)
    for _ in range(20):
        kind = source.kind if form == "colour" else _other(rng, KINDS, source.kind)
        colour = source.colour if form == "kind" else _other(rng, COLOURS, source.colour)
        if (colour, kind) not in taken:
            return Edit("change", "thing", source, replace(source, kind=kind, colour=colour))
    return None


def sample_edits(scene: Scene, rng: np.random.Generator, forms: Sequence[str]) -> tuple[Edit, ...] | None:
    """One random edit for each of `forms`, no thing touched twice, all together accepted by `apply`; None when this
    scene cannot have them (ask again with another scene)."""
    edits: list[Edit] = []
    free = list(scene.objects)
    for form in forms:
        edit = sample_edit(scene, rng, form, free)
        if edit is None:
            return None
        if isinstance(edit.source, Thing):
            free.remove(edit.source)
        edits.append(edit)
    try:
        apply(scene, edits)
    except ValueError:
        return None
    return tuple(edits)
