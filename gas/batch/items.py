"""What a batch has to do: each row with its place, its output's name, its recipe, and whether it is done already."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from gas import files
from gas.batch import places
from gas.batch.ledger import Ledger
from gas.batch.manifest import Manifest, checked
from gas.batch.places import Seen, check_out, inside
from gas.batch.recipes import Recipe, Recipes
from gas.batch.rows import Row
from gas.checkpoint import run_digest
from gas.errors import GasError, InputRefused, UsageError
from gas.picture.containers import SUFFIXES
from gas.plan.file import read_plan
from gas.remedies import Remedy, Setting
from gas.types import EditPlan

_WRITABLE = {suffix for suffixes in SUFFIXES.values() for suffix in suffixes}


@dataclass(frozen=True)
class Common:
    """What holds for every item of a batch. `store`: the address that pictures are written to (empty: the output
    folder); `anywhere`: whether a manifest may name files outside its folder."""

    out: Path
    work: str = "auto"
    gps: bool = False
    store: str = ""
    anywhere: bool = False


@dataclass(frozen=True)
class Item:
    """One row: `place` is where its picture is, `masks` where its masks are (phrase and place; an empty phrase for a
    folder), `out` the output's name in the output folder. `twin` counts rows that are the same, from 0."""

    row: Row
    place: str
    plan_place: str
    masks: tuple[tuple[str, str], ...]
    out: str
    recipe: Recipe
    twin: int = 0

    @property
    def name(self) -> str:
        """The picture as the manifest names it."""
        return self.row.image


@dataclass(frozen=True)
class Keyed:
    """An item with what identifies its edit. `problem` is why it cannot be made."""

    item: Item
    key: str
    seed: int
    seen: Seen | None
    plan: EditPlan | None = None
    problem: GasError | None = None


def items_of(manifest: Manifest, recipes: Recipes, common: Common) -> list[Item]:
    """The items of all rows. InputRefused (exit 3) lists rows whose paths are not allowed; errors as `Recipes.of`.

    Names of outputs: a row's own, else the picture's with an extension that can be written; of several with one name
    the second gets `-2`, and so on.
    """
    recipe_of = [recipes.of(row, where) for where, row in manifest.rows]
    anywhere = manifest.own or common.anywhere

    def make(number: int, where: str, row: Row) -> Item:
        try:
            return Item(
                row=row,
                place=inside(manifest.root, row.image, anywhere=anywhere),
                plan_place=inside(manifest.root, row.plan, anywhere=anywhere) if isinstance(row.plan, str) else "",
                masks=tuple((phrase, inside(manifest.root, file, anywhere=anywhere)) for phrase, file in _masks(row)),
                out=check_out(row.out, common.out) if row.out else "",
                recipe=recipe_of[number],
            )
        except InputRefused as error:
            raise InputRefused(f"{where}: {error.message}", error.hint) from None

    made = [
        item
        for _, item in checked(
            manifest.name,
            (
                (where, lambda number=number, where=where, row=row: make(number, where, row))  # type: ignore[misc]
                for number, (where, row) in enumerate(manifest.rows)
            ),
        )
    ]
    return _with_names(_with_twins(made), common)


def keyed(item: Item, common: Common, ledger: Ledger, *, check_inputs: bool = False) -> Keyed:
    """The item with its key: a hash of picture, request or plan, regions, backends, options, models and seed.

    The hash of a picture's bytes is the ledger's where size and time of its file are what they were, unless
    `check_inputs`. What cannot be read is no error here: the item has it as its `problem`. The seed is the row's, else
    the user's, else one made of picture and request.
    """
    seen, plan, problem = None, None, None
    masks: list[Any] = []
    try:
        seen = _seen(item, ledger, check_inputs)
        plan = _plan(item)
        masks = [[phrase, _hash(place)] for phrase, place in item.masks]
    except GasError as error:
        problem = error
    row, recipe = item.row, item.recipe
    asked: Any = row.instruction if row.plan is None else (plan.model_dump(mode="json") if plan else item.plan_place)
    boxes = None if row.boxes is None else row.model_dump(mode="json", include={"boxes"})["boxes"]
    about = run_digest(
        image=item.name,
        input=seen.sha256 if seen else "",
        asked=asked,
        boxes=boxes,
        masks=masks,
        recipe=recipe.digest,
        planner="" if row.plan is not None else recipe.plan_digest,
        work=common.work,
        gps=common.gps,
        twin=item.twin,
    )
    seed = row.seed if row.seed is not None else recipe.session.settings.seed
    if seed is None:
        said = json.dumps([seen.sha256 if seen else "", asked, item.twin], sort_keys=True)
        seed = int.from_bytes(hashlib.sha256(said.encode()).digest()[:4], "big") % 2**31
    return Keyed(item, run_digest(about=about, seed=seed)[:40], seed, seen, plan, problem)


@dataclass(frozen=True)
class Todo:
    """What is to be done, and how the rest stands: `done` and `skipped` (failed before) are left alone, `failed` of
    `items` are tried again, `redone` of them were made before otherwise (another option, request or picture)."""

    items: list[Item]
    done: int = 0
    failed: int = 0
    skipped: int = 0
    redone: int = 0


def todo(
    items: Sequence[Item], common: Common, ledger: Ledger, *, skip_failed: bool = False, check_inputs: bool = False
) -> Todo:
    """What of `items` is to be done. Only what the ledger knows is looked at, so that a first run starts at once."""
    left: list[Item] = []
    counts: Counter[str] = Counter()
    tried = set(ledger.by_out)
    for item in items:
        if item.out not in tried and item.name not in ledger.inputs:
            left.append(item)
            continue
        key = keyed(item, common, ledger, check_inputs=check_inputs).key
        known = ledger.known.get(key)
        if known is not None and known.status == "done" and is_there(item, common):
            counts["done"] += 1
        elif known is not None and known.status == "failed" and skip_failed:
            counts["skipped"] += 1
        else:
            left.append(item)
            if known is not None and known.status == "failed":
                counts["failed"] += 1
            elif item.out in tried:
                counts["redone"] += 1
    return Todo(left, counts["done"], counts["failed"], counts["skipped"], counts["redone"])


def is_there(item: Item, common: Common) -> bool:
    """Whether the item's output is there; believed of what is behind an address."""
    return bool(common.store) or os.path.lexists(common.out / item.out)


def refuse_outputs(items: Sequence[Item], common: Common, ledger: Ledger, *, overwrite: bool) -> None:
    """Refuses outputs that would replace a file of somebody else (UsageError, exit 2), or a picture that is to be
    edited, under whatever name."""
    if common.store:
        return
    inputs = {os.path.realpath(item.place) for item in items if not places.is_url(item.place)}
    root = os.path.realpath(common.out)
    for item in items:
        path = os.path.join(root, item.out)
        if os.path.lexists(path):
            if os.path.realpath(path) in inputs:
                raise UsageError(f"{item.out}: is one of the pictures to be edited", "choose another output folder")
            if item.out not in ledger.names and not overwrite:
                raise files.OutputExists(
                    f"{common.out / item.out}: is there already, and this batch has not made it",
                    Remedy(
                        "overwrite",
                        "choose another output folder, or allow it with {overwrite}",
                        overwrite=Setting("overwrite", True),
                    ),
                )


def _masks(row: Row) -> list[tuple[str, str]]:
    return [("", row.masks)] if isinstance(row.masks, str) else row.mask_files()


def _with_twins(items: Sequence[Item]) -> list[Item]:
    """The items, with those counted that are the same but for their output."""
    counts: Counter[tuple[str, int]] = Counter()
    out = []
    for item in items:
        same = (item.row.model_dump_json(exclude={"out"}, exclude_none=True), item.recipe.number)
        out.append(replace(item, twin=counts[same]) if counts[same] else item)
        counts[same] += 1
    return out


def _with_names(items: Sequence[Item], common: Common) -> list[Item]:
    """The items, each with an output's name of its own. InputRefused (exit 3) for two rows that say the same one."""
    taken: set[str] = set()
    for item in items:
        if item.out:
            if item.out.casefold() in taken:
                raise InputRefused(f"two rows write to {item.out!r}", "give each an output of its own")
            taken.add(item.out.casefold())
    out, numbers = [], Counter[str]()
    for item in items:
        if not item.out:
            stem, suffix = _default(item)
            name = f"{stem}{suffix}"
            first = name.casefold()
            while name.casefold() in taken:
                numbers[first] += 1
                name = f"{stem}-{numbers[first] + 1}{suffix}"
            taken.add(name.casefold())
            item = replace(item, out=check_out(name, common.out))
        out.append(item)
    return out


def _default(item: Item) -> tuple[str, str]:
    """The stem, with folders, and the extension of an item's output where its row says none: a picture inside the
    manifest's folder keeps its place there."""
    name = PurePosixPath(item.name.replace(os.sep, "/"))
    within = not (places.is_url(item.name) or name.is_absolute() or ".." in name.parts)
    path = name if within else PurePosixPath(PurePosixPath(item.place.replace(os.sep, "/")).name)
    suffix = path.suffix if path.suffix.lower() in _WRITABLE else ".png"
    stem = path.with_suffix("").as_posix()
    if path.parts[0].casefold() in places.OWN_NAMES:
        stem = f"pictures/{stem}"
    return stem, suffix


def _seen(item: Item, ledger: Ledger, check_inputs: bool) -> Seen:
    known = ledger.inputs.get(item.name)
    if known is not None and not check_inputs and places.look(item.place) == known[:2]:
        return Seen(*known)
    return places.seen(item.place)


def _plan(item: Item) -> EditPlan | None:
    if not item.plan_place:
        return item.row.plan if isinstance(item.row.plan, EditPlan) else None
    with places.local(item.plan_place) as path:
        return read_plan(path)


def _hash(place: str) -> Any:
    """The hash of a mask's file; of a folder those of its files by name."""
    if not places.is_url(place) and Path(place).is_dir():
        return [[one.name, places.seen(str(one)).sha256] for one in sorted(Path(place).iterdir()) if one.is_file()]
    return places.seen(place).sha256
